"""Who is left in a race, what each step trains, and when a choice is made."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.core.race import (
    EARLY_CANDIDATES,
    CheckTimes,
    alive_candidates,
    has_learned,
    is_stable,
    networks_of_step,
)

GRID = tuple(range(95, 10, -5))


def test_a_candidate_leaves_once_the_teachers_own_metric_could_not_save_it():
    metrics = {80: 0.80, 60: 0.79, 40: 0.78, 20: 0.60}
    # 40% has 0.78 + 0.12 = 0.90; the bounds are 0.82 + 0.2 (1 - s): 0.86, 0.90, 0.94, 0.98.
    assert alive_candidates((80, 60, 40, 20), metrics, 0.82, lam=0.2, margin=0.0) == (60, 40, 20)
    assert alive_candidates((80, 60, 40, 20), metrics, 0.82, lam=0.2, margin=0.05) == (80, 60, 40, 20)


def test_a_smaller_candidate_is_not_cut_by_a_larger_one_that_still_learns():
    metrics = {80: 0.80, 60: 0.52, 40: 0.50, 20: 0.50}
    assert alive_candidates((80, 60, 40, 20), metrics, 0.82, lam=0.2, margin=0.0) == (80, 60, 40, 20)


def test_bounds_hold_for_candidates_that_were_not_looked_at():
    assert alive_candidates((80, 60, 40, 20), {40: 0.82}, 0.82, lam=0.2, margin=0.0) == (40, 20)


def test_the_best_one_stays_though_it_is_above_every_bound():
    """All bounds are those of the teacher, and a candidate may beat it."""
    assert alive_candidates((80, 60), {80: 0.95, 60: 0.70}, 0.70, lam=0.2, margin=0.0) == (80,)


@given(
    st.dictionaries(st.integers(11, 99), st.floats(-1, 1), min_size=1),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0, 0.1),
)
def test_somebody_is_always_left_in_order_and_more_with_a_larger_margin(metrics, teacher, lam, margin):
    alive = tuple(sorted(metrics, reverse=True))
    left = alive_candidates(alive, metrics, teacher, lam, margin)
    assert left
    assert list(left) == sorted(set(left), reverse=True)
    assert set(left) <= set(alive_candidates(alive, metrics, teacher, lam, margin + 0.1))


def test_learning_is_judged_by_the_middle_candidate():
    assert not has_learned({80: 0.80, 60: 0.55, 40: 0.50}, 0.80, 0.50)
    assert has_learned({80: 0.80, 60: 0.65, 40: 0.50}, 0.80, 0.50)
    assert has_learned({50: 0.5}, 0.5, 0.5), "a constant metric: there is nothing to wait for"


def test_a_choice_is_stable_when_it_came_three_times_with_enough_probability():
    assert is_stable([(40, 0.1), (30, 0.5), (30, 0.6), (30, 0.9)])
    assert not is_stable([(30, 0.6), (30, 0.9)])
    assert not is_stable([(30, 0.6), (30, 0.4), (30, 0.9)])
    assert not is_stable([(30, 0.6), (25, 0.9), (30, 0.9)])


def test_a_step_trains_the_largest_that_is_left_the_slice_and_a_filling():
    networks = networks_of_step(GRID, 10, 3, 0, seed=0)
    assert len(networks) == 3
    assert (networks[0], networks[-1]) == (95, 10)
    assert networks[1] in GRID[1:]


@pytest.mark.parametrize("num_networks", [3, 4, 6])
def test_fillings_have_equally_many_turns(num_networks):
    fillings = len(GRID) - 1
    steps = [networks_of_step(GRID, 10, num_networks, number, seed=3) for number in range(5 * fillings)]
    assert all(len(set(step)) == num_networks for step in steps)
    turns = Counter(scale for step in steps for scale in step[1:-1])
    assert set(turns.values()) == {5 * (num_networks - 2)}
    assert steps != [networks_of_step(GRID, 10, num_networks, number, seed=4) for number in range(5 * fillings)]


def test_more_networks_than_are_left_are_all_that_are_left():
    assert networks_of_step((40, 20), 10, 6, 0, seed=0) == (40, 20, 10)
    assert networks_of_step((40,), 10, 3, 0, seed=0) == (40, 10)
    assert networks_of_step((), 10, 3, 0, seed=0) == (10,)
    assert networks_of_step((40, 20), 10, 2, 0, seed=0) == (40, 10)


def test_one_network_a_step_is_each_of_them_equally_often_and_the_slice_too():
    steps = [networks_of_step(GRID, 10, 1, number, seed=3) for number in range(2 * (len(GRID) + 1))]
    assert {len(step) for step in steps} == {1}
    assert Counter(step[0] for step in steps) == dict.fromkeys((*GRID, 10), 2)
    assert networks_of_step((), 10, 1, 0, seed=3) == (10,)


@pytest.mark.parametrize(("per_epoch", "epochs"), [(1, 1), (1, 3), (2, 1), (25, 4), (25, 10), (1895, 10), (7, 100)])
def test_checks_begin_before_training_and_end_with_it(per_epoch, epochs):
    times = CheckTimes(per_epoch, epochs)
    assert times.steps[0] == 0
    assert times.steps[-1] == times.num_steps == per_epoch * epochs
    assert list(times.steps) == sorted(set(times.steps))
    assert 1 <= times.latest_step <= max(1, 0.3 * times.num_steps)
    assert times.latest_step in times.steps
    assert not times.is_early(times.latest_step)
    assert times.is_early(0)


def test_early_checks_look_at_a_few_candidates_spread_over_those_left():
    times = CheckTimes(100, 10)
    few = times.scored(times.steps[1], GRID)
    assert len(few) == EARLY_CANDIDATES
    assert (few[0], few[-1]) == (95, 15)
    assert times.scored(times.latest_step, GRID) == GRID
    assert times.scored(0, (40, 20)) == (40, 20)
