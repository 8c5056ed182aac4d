"""Many steps as one compiled program, with a small gradient step."""

from acme_msg.agents import metrics
import jax
import numpy as np
import pytest
import toy


def test_batches_are_taken_in_turn():
  order = []

  def step(state, transition):
    # Sums alone would not show the order of minibatches.
    jax.debug.callback(
        lambda rewards: order.append(rewards.tolist()), transition.reward,
        ordered=False)
    total = 10. * state.total + transition.reward[0]
    return state._replace(total=total), metrics.step_metrics(1.)

  program = toy.make_program(step=step)
  program.run_batches(toy.make_data(6))
  jax.effects_barrier()
  assert sorted(order) == [[0., 1.], [2., 3.], [4., 5.]]
  assert program.get('total') == 24.


def test_refuses_batches_of_another_size():
  program = toy.make_program(num_sgd_steps_per_step=3, batch_size=2)
  with pytest.raises(ValueError, match='have 5 transitions.*needs 6'):
    program.run_batches(toy.make_data(5))
  assert program.num_traces == 0


def test_resident_rows_are_drawn_with_replacement_from_all():
  program = toy.make_program(num_sgd_steps_per_step=200, batch_size=20)
  data = program.put_dataset(toy.make_data(10))
  batches = metrics.to_host(program.run_resident(data))
  # The mean reward is 4.5, with a standard error of 0.05 per row.
  np.testing.assert_allclose(batches['batch'], 90., atol=5.)

  def step(state, transition):
    counts = (transition.reward[:, None] == np.arange(10)).sum(axis=0)
    return state, metrics.step_metrics(1., scalars={
        'repeats': (counts > 1).sum(), 'rows': counts.max(),
        'fewest': counts.min()})

  program = toy.make_program(50, 10, step=step)
  counted = metrics.to_host(program.run_resident(data))
  # Without replacement, ten draws from ten rows have no repetitions.
  assert counted['repeats'] > 1 and counted['fewest'] < 1


def test_calls_differ_and_equal_states_give_equal_minibatches():
  data = toy.make_data(10)

  def run(program, state, times):
    program.state = state
    resident = program.put_dataset(data)
    return [metrics.to_host(program.run_resident(resident))['batch']
            for _ in range(times)]

  program = toy.make_program()
  batches = run(program, toy.make_state(), 4)
  assert len(set(batches)) > 1
  assert batches == run(program, toy.make_state(), 4)
  assert program.num_traces == 1


@pytest.mark.parametrize('steps', [1, 2, 4])
def test_minibatches_do_not_depend_on_steps_per_call(steps):
  program = toy.make_program(num_sgd_steps_per_step=steps)
  resident = program.put_dataset(toy.make_data(10))
  for _ in range(4 // steps):
    program.run_resident(resident)
  single = toy.make_program(num_sgd_steps_per_step=1)
  for _ in range(4):
    single.run_resident(single.put_dataset(toy.make_data(10)))
  jax.tree.map(np.testing.assert_array_equal, program.state, single.state)


def test_states_that_were_read_do_not_change():
  # The program donates its state's memory in each call.
  program = toy.make_program()
  resident = program.put_dataset(toy.make_data(10))
  before = program.state
  total, members = program.get('total'), program.get('members')
  copies = jax.tree.map(np.array, before)
  for _ in range(3):
    program.run_resident(resident)
  jax.tree.map(np.testing.assert_array_equal, before, copies)
  assert total == 0.
  np.testing.assert_array_equal(members, np.arange(4))
  np.testing.assert_array_equal(program.get('members'), np.arange(4) + 9)


def test_states_that_were_set_do_not_change():
  program = toy.make_program()
  state = toy.make_state()
  program.state = state
  program.run_resident(program.put_dataset(toy.make_data(10)))
  jax.tree.map(np.testing.assert_array_equal, state, toy.make_state())


def test_calls_do_not_transfer_between_host_and_devices():
  program = toy.make_program()
  resident = program.put_dataset(toy.make_data(10))
  program.run_resident(resident)
  with jax.transfer_guard('disallow'):
    averages = program.run_resident(resident)
  assert metrics.to_host(averages)


def test_calls_donate_the_memory_of_the_state():
  program = toy.make_program()
  held = jax.tree.leaves(program._state)
  program.run_resident(program.put_dataset(toy.make_data(10)))
  assert all(x.is_deleted() for x in held)
