from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.order import DataOrder


@given(st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_shows_every_example_once(seed, examples, batch_size, epoch):
    batches = list(DataOrder(seed, examples, batch_size, epoch).remaining())
    assert sorted(index for batch in batches for index in batch) == list(range(examples))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(st.integers(0, 2**40), st.integers(2, 40), st.integers(1, 9), st.data())
def test_a_resumed_epoch_goes_on_where_it_stopped(seed, examples, batch_size, data):
    order = DataOrder(seed, examples, batch_size)
    batches = list(order.remaining())
    step = data.draw(st.integers(0, order.steps_per_epoch - 1))
    assert list(replace(order, step=step).remaining()) == batches[step:]


def test_seed_and_epoch_change_the_order():
    orders = [list(DataOrder(seed, 50, 50, epoch).remaining()) for seed in (0, 1) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_steps_and_epochs_are_counted():
    order = DataOrder(0, 5, 2)
    for _ in range(4):
        order.advance()
    assert (order.epoch, order.step, order.total_steps) == (1, 1, 4)
