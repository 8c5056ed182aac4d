"""Tests of calls between nodes: who may make them, and what they carry."""

import os
import pickle
import threading

from acme_msg.launch import calls
import grpc
import launchpad as lp
import numpy as np
import portpicker
import pytest


class _Code:

  def __reduce__(self):
    return os.mkdir, ('code_ran',)


class _Results:

  def __init__(self):
    self.reported = []
    self.go_on = threading.Event()

  def report(self, name, returns):
    self.reported.append((name, returns))
    return {'mean': np.float64(np.mean(returns)), 'weights': b'\x00\xff'}

  def fail(self, why='no such reader'):
    raise ValueError(why)

  def wait(self):
    self.go_on.wait()

  def run(self):
    raise AssertionError('run is the program\'s')

  def _hidden(self):
    raise AssertionError('private')


@pytest.fixture(name='address', params=['unix', 'port'])
def _address(request, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  if request.param == 'unix':
    return 'unix:socket'
  return f'localhost:{portpicker.pick_unused_port()}'


def test_calls_carry_values_and_errors(address):
  results = _Results()
  client = calls.Client(address, 'secret')
  early = client.report('early', [1, 3])  # Waits for the server.
  with calls.serve(results, address, 'secret'):
    answer = early.result(60)
    assert answer == {'mean': 2., 'weights': b'\x00\xff'}
    assert isinstance(answer['mean'], np.float64)
    assert results.reported == [('early', [1, 3])]
    with pytest.raises(calls.RemoteError, match='ValueError: no such reader'):
      client.fail().result(60)
    with pytest.raises(calls.RemoteError, match='ValueError: éééé'):
      client.fail('é' * 20_000).result(60)
    waiting = client.wait()
    assert client.report('meanwhile', [0]).result(60)['mean'] == 0
    assert waiting.cancel()
    results.go_on.set()
    with pytest.raises(ValueError, match='cannot be sent between nodes'):
      client.report('lost', [pytest.approx])


def _raw(address, method, request, secret):
  with grpc.insecure_channel(address) as channel:
    with pytest.raises(grpc.RpcError) as error:
      channel.unary_unary(method)(
          request, metadata=[('secret', secret)] if secret else None,
          wait_for_ready=True, timeout=60)
  return error.value.code()


def test_forged_calls_are_refused_and_run_no_code(address, tmp_path):
  results = _Results()
  with calls.serve(results, address, 'secret'):
    for secret in ('', 'guess', 'secret '):
      with pytest.raises(calls.RemoteError, match='the secret is wrong'):
        calls.Client(address, secret).report('evaluator_0', [1e9]).result(60)
      assert (_raw(address, '/report', pickle.dumps(_Code()), secret)
              is grpc.StatusCode.UNAUTHENTICATED)
    assert (_raw(address, '/report', pickle.dumps(_Code()), 'secret')
            is grpc.StatusCode.UNKNOWN)
    for method in ('/run', '/_hidden', '/__class__', '/none', '/reported'):
      assert (_raw(address, method, b'', 'secret')
              is not grpc.StatusCode.OK)
  assert not results.reported
  assert not (tmp_path / 'code_ran').exists()


@pytest.mark.parametrize('name, kind', [
    ('my dir', 'unix'), ('job,1', 'localhost'), ('a%20b', 'localhost'),
    ('a?b', 'localhost'), ('a' * 108, 'localhost')])
def test_paths_that_grpc_does_not_take_become_ports(name, kind):
  node = calls.Node(_Results, secret='secret')
  node.folder = f'/tmp/{name}'
  node._initialize_context(
      lp.context.LaunchType.LOCAL_MULTI_PROCESSING, launch_config=None)
  node.bind_addresses()
  assert node.courier_address.resolve().split(':')[0] == kind
