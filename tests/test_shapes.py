"""Tiles cover every round once and in order, in shapes that are compiled, and waste little."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.engines.carried import MOST_CELLS, ROUNDS_LADDER, SERIES_LADDER
from forecaster.engines.shapes import Shapes

lengths = st.one_of(
    st.lists(st.integers(1, 20), max_size=40),
    st.lists(st.integers(1, 3_000), max_size=6),
    st.tuples(st.integers(1, 9_000), st.sampled_from([1, 3, 64, 600])).map(lambda pair: [pair[1]] * pair[0]),
    st.tuples(st.integers(1, 1_100), st.integers(1, 1_500)).map(lambda pair: [1] * pair[0] + [pair[1]]),
)


def ladder(ready=None):
    shapes = Shapes(SERIES_LADDER, ROUNDS_LADDER, MOST_CELLS)
    if ready is not None:
        shapes.ready = shapes.all()[:ready]
    return shapes


@given(lengths, st.integers(1, len(ladder().all())))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_every_round_of_every_run_once_and_in_order_in_shapes_that_are_ready(length, ready):
    shapes = ladder(ready)
    length = np.minimum(np.array(length, np.int64), 40 * max(shape.rounds for shape in shapes.ready))
    done = np.zeros(len(length), np.int64)
    for runs, first, rounds in shapes.tiles(length):
        assert len(set(runs.tolist())) == len(runs)
        assert (done[runs] == first).all()
        assert (length[runs] > first).all()
        assert shapes.holding(len(runs), rounds) in shapes.ready
        done[runs] = np.minimum(first + rounds, length[runs])
    assert (done == length).all()


def test_a_few_series_more_than_a_rung_do_not_take_the_next_one():
    tiles = list(ladder().tiles(np.full(20, 500)))
    assert sum(ladder().holding(len(runs), rounds).cells for runs, _, rounds in tiles) < 2 * 20 * 500


def test_no_shape_is_larger_than_the_memory_of_a_tile_allows():
    assert max(shape.cells for shape in ladder().all()) <= MOST_CELLS
    assert [shape.series for shape in ladder().all() if shape.rounds == 1] == list(SERIES_LADDER)


def test_shapes_that_become_ready_while_a_tile_is_chosen_are_for_the_next_one():
    shapes = ladder()

    class Replaced(list):
        """Is looked through once; then the compiling thread has one shape more."""

        def __iter__(self):
            yield from super().__iter__()
            shapes.ready = shapes.all()

    shapes.ready = Replaced(shapes.all()[: len(SERIES_LADDER)])
    assert [rounds for _, _, rounds in shapes.tiles(np.array([9]))] == [1, 8]
