"""Every metric is the one computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import (
    absolute_error,
    block_skill,
    central_intervals,
    covered,
    crossings,
    interval_score,
    naive_scale,
    pinball,
    squared_error,
    symmetric_percentage_error,
    weighted_quantile_loss,
)
from training.tally import Charges, Tally, few_steps

NAN = float("nan")


def test_point_errors() -> None:
    actual, point = np.array([[1.0, -2.0, 0.0, NAN]]), np.array([[3.0, -1.0, 0.0, 5.0]])
    np.testing.assert_array_equal(squared_error(actual, point), [[4.0, 1.0, 0.0, NAN]])
    np.testing.assert_array_equal(absolute_error(actual, point), [[2.0, 1.0, 0.0, NAN]])
    smape = symmetric_percentage_error(actual, point)
    np.testing.assert_allclose(smape, [[200 * 2 / 4, 200 * 1 / 3, 0.0, NAN]])


def test_pinball_charges_each_side_by_its_level() -> None:
    loss = pinball(np.array([10.0]), np.array([[8.0, 10.0, 13.0]]), np.array([0.1, 0.5, 0.9]))
    np.testing.assert_allclose(loss, [[0.1 * 2, 0.0, 0.1 * 3]])


def test_the_weighted_quantile_loss_is_twice_the_mean_pinball_over_the_mean_size() -> None:
    # actuals 10 and 30; mean pinball over three levels 0.5 / 3 at the first and 1.0 / 3 at the second
    assert weighted_quantile_loss((0.5 + 1.0) / 3, 10 + 30) == pytest.approx(0.025)


def test_pinball_at_evenly_spread_levels_tends_to_the_crps_of_a_uniform_distribution() -> None:
    levels = (np.arange(2_000) + 0.5) / 2_000
    twice_mean = 2 * pinball(np.array([0.3]), levels[None], levels).mean()
    assert twice_mean == pytest.approx(0.3**2 - 0.3 + 1 / 3, abs=1e-6)  # the closed form on [0, 1]


def test_an_interval_is_offered_where_both_of_its_ends_are_trained() -> None:
    assert central_intervals((0.1, 0.5, 0.9)) == {0.8: (0, 2)}
    assert central_intervals((0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975)) == {0.5: (2, 4), 0.9: (1, 5), 0.95: (0, 6)}
    assert central_intervals((0.1, 0.5, 0.8)) == {}


def test_the_ends_of_an_interval_belong_to_it() -> None:
    actual = np.array([1.0, 2.0, 0.9, 2.1, NAN])
    np.testing.assert_array_equal(covered(actual, np.full(5, 1.0), np.full(5, 2.0)), [1, 1, 0, 0, NAN])


def test_the_interval_score_is_the_width_and_a_fine_for_what_lies_outside() -> None:
    actual = np.array([5.0, 3.0, 9.0, NAN])
    score = interval_score(actual, np.full(4, 4.0), np.full(4, 7.0), 0.8)
    np.testing.assert_allclose(score, [3.0, 3.0 + 10 * 1.0, 3.0 + 10 * 2.0, NAN])


def test_only_neighbours_in_the_wrong_order_cross() -> None:
    assert crossings(np.array([[[1.0, 2.0, 2.0], [3.0, 2.0, 1.0]]])) == 2


def test_the_naive_scale_is_the_mean_step_from_a_season_ago() -> None:
    assert naive_scale(np.array([1.0, 2.0, 4.0, 8.0]), 1) == pytest.approx(7 / 3)
    assert naive_scale(np.array([1.0, 2.0, 4.0, NAN, 0.0]), 2) == pytest.approx((3 + 4) / 2)
    assert np.isnan(naive_scale(np.array([3.0, 3.0, 3.0]), 1))
    assert np.isnan(naive_scale(np.array([3.0]), 2))


def test_skill_is_certain_where_the_model_is_better_by_the_same_share_everywhere() -> None:
    rival = np.random.default_rng(0).uniform(1, 2, 50)
    draws = block_skill(0.75 * rival, rival, 8, 200, np.random.default_rng(1))
    assert draws.shape == (200,)
    np.testing.assert_allclose(draws, 0.25)


def test_a_block_as_long_as_the_recording_draws_all_of_it_every_time() -> None:
    random = np.random.default_rng(0)
    model, rival = random.uniform(0, 1, (2, 20))
    draws = block_skill(model, rival, 100, 10, random)
    np.testing.assert_allclose(draws, 1 - model.sum() / rival.sum())


def test_long_blocks_tell_the_truth_about_dependent_origins() -> None:
    random = np.random.default_rng(0)
    model = np.repeat(random.exponential(1, 40), 25)  # each loss stands 25 times
    wide = block_skill(model, np.ones(1_000), 25, 500, random).std()
    narrow = block_skill(model, np.ones(1_000), 1, 500, random).std()
    assert wide > 3 * narrow
    assert wide == pytest.approx(model.std() / np.sqrt(40), rel=0.3)


@given(st.data())
def test_a_tally_of_parts_is_the_tally_of_the_whole(data) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    actual = np.where(random.uniform(size=(12, 3)) < 0.2, NAN, random.normal(5, 2, (12, 3)))
    quantiles = np.sort(random.normal(5, 2, (12, 3, 3)), axis=-1)
    charges = Charges((0.1, 0.5, 0.9), naive=2.0, deviation=4.0)
    cut = data.draw(st.integers(0, 12))
    whole, parts = Tally(2, 3), Tally(2, 3)
    for tally, cuts in ((whole, [(0, 12)]), (parts, [(0, cut), (cut, 12)])):
        for low, high in cuts:
            rows = slice(low, high)
            tally.add(1, charges.losses(actual[rows], quantiles[rows, :, 1], quantiles[rows]))
    for one, other in ((whole.overall(), parts.overall()), (whole.by_step(), parts.by_step())):
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, equal_nan=True)
    np.testing.assert_allclose(parts.by_origin("mase", 1), whole.by_origin("mase", 1))
    assert parts.pairs().tolist() == [0, int((~np.isnan(actual)).sum())]


def test_a_few_steps_run_from_the_first_to_the_last() -> None:
    assert few_steps(1) == [1]
    assert few_steps(4) == [1, 2, 3, 4]
    assert few_steps(96) == [1, 2, 6, 15, 39, 96]


def test_a_tally_holds_the_means_of_what_is_known() -> None:
    actual = np.array([[10.0, NAN], [20.0, 40.0]])
    quantiles = np.array([[[8.0, 9.0, 13.0], [0.0, 0.0, 0.0]], [[10.0, 20.0, 30.0], [41.0, 44.0, 45.0]]])
    tally = Tally(1, 2)
    tally.add(0, Charges((0.1, 0.5, 0.9), naive=2.0, deviation=10.0).losses(actual, quantiles[..., 1], quantiles))
    found = tally.overall()
    assert found["mse"] == pytest.approx((1 + 0 + 16) / 3)
    assert found["mae"] == pytest.approx((1 + 0 + 4) / 3)
    assert found["mase"] == pytest.approx((1 + 0 + 4) / 3 / 2)
    assert found["normalised_mse"] == pytest.approx((1 + 0 + 16) / 3 / 100)
    assert found["normalised_mae"] == pytest.approx((1 + 0 + 4) / 3 / 10)
    assert found["coverage_80"] == pytest.approx(2 / 3)
    assert found["winkler_80"] == pytest.approx((5 + 20 + 4 + 10) / 3)
    pinballs = [0.1 * 2, 0.5 * 1, 0.1 * 3, 0.1 * 10, 0, 0.1 * 10, 0.9 * 1, 0.5 * 4, 0.1 * 5]
    assert found["pinball"] == pytest.approx(sum(pinballs) / 9)
    assert found["crps"] == pytest.approx(2 * sum(pinballs) / 3 / 70)
    assert tally.by_step()["mae"].tolist() == [0.5, 4.0]
    assert tally.by_origin("mase", 0).tolist() == [[0.5, 0.5, 0.0], [2.0, 0.0, 2.0]]  # in all, at step 1, at step 2
