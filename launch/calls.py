"""Calls between the nodes of a program, through gRPC.

Launchpad's Courier unpickles what anybody sends to its port, which is open to
all networks. Here nothing is unpickled, and each call carries a secret of the
program. On one machine the calls go through Unix sockets in a folder that only
this user may enter.
"""

from concurrent import futures as futures_lib
import contextlib
import hmac
import os
import secrets
from typing import Any, Callable, Iterator, Optional

import grpc
import launchpad as lp
from launchpad import address as lp_address

from . import packing
from . import shutdown

_SECRET = 'secret'
_MAX_CALLS = 64  # At the same time; more wait.
_OPTIONS = [
    ('grpc.so_reuseport', 0),
    ('grpc.enable_http_proxy', 0),
    ('grpc.max_receive_message_length', -1),
    # A node that starts is found soon.
    ('grpc.initial_reconnect_backoff_ms', 100),
    ('grpc.min_reconnect_backoff_ms', 100),
    ('grpc.max_reconnect_backoff_ms', 1000),
]
# gRPC refuses 16 kB, and sends a character as up to 12 bytes.
_MAX_ERROR = 1000
# The longest path that Linux takes for a Unix socket.
_MAX_PATH = 107
# They have a meaning in gRPC's addresses.
_NOT_IN_PATH = frozenset('%?#,')


class RemoteError(Exception):
  """A called method has failed, or its node is gone."""


class Client:
  """Calls the methods of a node.

  Each method returns a `concurrent.futures.Future`. A call waits until the node
  is there.
  """

  def __init__(self, address: str, secret: str):
    """Creates a client.

    Args:
      address: of the node, in gRPC's syntax.
      secret: the node's.
    """
    self._address = address
    self._channel = grpc.insecure_channel(address, _OPTIONS)
    self._metadata = [(_SECRET, secret)]

  def __getattr__(self, method: str) -> Callable[..., futures_lib.Future]:
    if method.startswith('_'):
      raise AttributeError(method)
    return lambda *args: self._call(method, args)

  def _call(self, method: str, args: Any) -> futures_lib.Future:
    answer: futures_lib.Future = futures_lib.Future()

    def finish(call):
      with contextlib.suppress(futures_lib.InvalidStateError):  # Cancelled.
        try:
          answer.set_result(packing.unpack(call.result()))
        except (grpc.RpcError, grpc.FutureCancelledError):
          answer.set_exception(RemoteError(
              f'{method} at {self._address}: {call.details()}'))
        except Exception as e:  # Otherwise the caller would wait for ever.
          answer.set_exception(e)

    call = self._channel.unary_unary(f'/{method}').future(
        packing.pack(args), metadata=self._metadata, wait_for_ready=True)
    call.add_done_callback(finish)
    answer.add_done_callback(lambda _: answer.cancelled() and call.cancel())
    return answer


class _Methods(grpc.GenericRpcHandler):
  """The public methods of an object, for those who know the secret."""

  def __init__(self, instance: Any, secret: str):
    self._instance = instance
    self._secret = secret

  def service(self, handler_call_details):
    # gRPC calls this before it reads the arguments.
    given = dict(handler_call_details.invocation_metadata).get(_SECRET, '')
    method = handler_call_details.method.lstrip('/')
    if not hmac.compare_digest(given.encode(), self._secret.encode()):
      return grpc.unary_unary_rpc_method_handler(
          lambda _, context: context.abort(
              grpc.StatusCode.UNAUTHENTICATED, 'the secret is wrong'))
    if method.startswith('_') or method == 'run':
      return None

    def call(packed: bytes, context: grpc.ServicerContext) -> bytes:
      try:
        args = packing.unpack(packed)
        return packing.pack(getattr(self._instance, method)(*args))
      except Exception as e:
        what = f'{type(e).__name__}: {e}'
        context.abort(grpc.StatusCode.UNKNOWN, what[:_MAX_ERROR])
        raise  # Never reached.

    return grpc.unary_unary_rpc_method_handler(call)


@contextlib.contextmanager
def serve(instance: Any, address: str, secret: str) -> Iterator[None]:
  """Serves an object's public methods.

  Args:
    instance: the object.
    address: to listen at, in gRPC's syntax.
    secret: what calls must carry.
  """
  server = grpc.server(
      futures_lib.ThreadPoolExecutor(_MAX_CALLS),
      handlers=[_Methods(instance, secret)], options=_OPTIONS)
  server.add_insecure_port(address)
  server.start()
  try:
    yield
  finally:
    server.stop(None)


class _Handle(lp.CourierHandle):

  def __init__(self, address: lp.Address, secret: str):
    super().__init__(address)
    self._secret = secret

  def dereference(self) -> Client:
    return Client(self._address.resolve(), self._secret)


class _SocketAddress(lp_address.AbstractAddressBuilder):

  def __init__(self, path: str):
    self._path = path

  def build(self) -> str:
    return f'unix:{self._path}'


class Node(lp.CourierNode):
  """A node whose public methods other nodes call.

  Attributes:
    secret: what calls must carry.
    is_public: whether other machines call it, too.
    folder: where its Unix socket lies; otherwise it listens at a port.
  """

  def __init__(self, constructor: Callable[..., Any], *args: Any,
               secret: str, is_public: bool = False):
    """Initializes a node.

    Args:
      constructor: makes the object, in the node's process.
      *args: of the constructor.
      secret: see above; `make_secret` makes one.
      is_public: see above.
    """
    super().__init__(constructor, *args)
    self.secret = secret
    self.is_public = is_public
    self.folder: Optional[str] = None

  def create_handle(self) -> lp.CourierHandle:
    return self._track_handle(_Handle(self._address, self.secret))

  def bind_addresses(self, **kwargs: Any) -> None:
    path = os.path.join(self.folder or '', f'node_{self.py_node_id}')
    is_usable = (len(path.encode()) <= _MAX_PATH and
                 not _NOT_IN_PATH.intersection(path))
    if self.folder and not self.is_public and is_usable:
      self._address.bind(_SocketAddress(path))
    else:
      super().bind_addresses(**kwargs)

  def run(self) -> None:
    try:
      instance = self._construct_instance()
    except shutdown.Stopped:
      return
    address = self._address.resolve()
    if self.is_public:
      port = lp_address.get_port_from_address(address)
      address = f'[::]:{port}'
    with serve(instance, address, self.secret):
      instance.run()


def make_secret() -> str:
  return secrets.token_hex(16)


def use_sockets(program: lp.Program, folder: str) -> None:
  """Has the nodes of a program that only this machine calls use Unix sockets.

  Args:
    program: one that is not launched yet.
    folder: one that only this user may enter.
  """
  for node in program.get_all_nodes():
    if isinstance(node, Node):
      node.folder = folder
