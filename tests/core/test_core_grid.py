import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.core.grid import grid_by_slices, grid_by_step, grid_by_times, grid_of, sample_evenly, sample_step


def test_default_grid_of_a_ten_percent_student_has_17_candidates():
    assert grid_by_step(10) == (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15)


def test_a_step_grid_holds_multiples_strictly_between_student_and_teacher():
    assert grid_by_step(50, 20) == (80, 60)
    assert grid_by_step(60, 20) == (80,)
    assert grid_by_step(12, 40) == (80, 40)


@pytest.mark.parametrize(
    ("student", "step", "words"),
    [(96, 5, "no candidate lies strictly between the student's 96"), (70, 70, "between the student's 70 and the")],
)
def test_step_grids_that_cannot_be_are_refused(student, step, words):
    with pytest.raises(ValueError, match=words):
        grid_by_step(student, step)


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        (10, (40, 35, 30, 25, 20, 15)),
        (20, (80, 70, 60, 50, 40, 30)),
        # 7.5 and 17.5 go up.
        (5, (20, 18, 15, 13, 10, 8)),
        (1, (4, 3, 2)),
        (40, (80, 60)),
        (66, (99,)),
    ],
)
def test_multiples_of_the_students_scale_lie_between_it_and_the_teacher(student, expected):
    assert grid_by_times(student, 1.5, 4.0, 6) == expected


def test_multiples_of_which_none_fits_are_refused():
    assert grid_by_times(10, 2.0, 4.0, 1) == (20,)
    with pytest.raises(ValueError, match=r"no candidate of 1.5 to 4 times the student's 70 percent lies between it"):
        grid_by_times(70, 1.5, 4.0, 6)


def test_a_list_is_sorted_largest_first():
    assert grid_of([20, 80, 50], 10) == (80, 50, 20)


@pytest.mark.parametrize("scales", [[], [50, 50], [10], [100], [5], [50, 101], [-20]])
def test_lists_that_repeat_or_lie_outside_are_refused(scales):
    with pytest.raises(ValueError, match=r"twice|strictly between"):
        grid_of(scales, 10)


def test_eighteen_slices_of_ten_to_hundred_are_the_default_grid():
    assert grid_by_slices(10, 18) == grid_by_step(10, 5)
    assert grid_by_slices(10, 9) == (90, 80, 70, 60, 50, 40, 30, 20)


@pytest.mark.parametrize("count", [0, 1, 4, 7, 17, 91])
def test_slices_that_are_not_whole_percents_are_refused_with_those_that_are(count):
    with pytest.raises(ValueError, match=r"use one of \[2, 3, 5, 6, 9, 10, 15, 18, 30, 45, 90\]"):
        grid_by_slices(10, count)


@given(st.integers(1, 98), st.integers(2, 99))
def test_slices_are_equal_and_strictly_inside_or_refused(student, count):
    if (100 - student) % count:
        with pytest.raises(ValueError, match="whole percents"):
            grid_by_slices(student, count)
        return
    borders = (100, *grid_by_slices(student, count), student)
    assert len(borders) == count + 1
    assert {larger - smaller for larger, smaller in itertools.pairwise(borders)} == {(100 - student) // count}


def test_the_default_filling_is_evenly_spaced():
    assert sample_evenly((*grid_by_step(10), 10), 6) == (95, 80, 60, 45, 25, 10)
    assert sample_evenly((90, 70, 50, 30, 10), 3) == (90, 50, 10)


@given(st.integers(1, 98).flatmap(lambda s: st.tuples(st.just(s), st.integers(2, 101 - s))))
def test_a_filling_holds_both_ends_and_is_as_even_as_indices_allow(case):
    student, num_sampled = case
    scales = tuple(range(100, student - 1, -1))[: max(num_sampled, 2) * 2]
    num_sampled = min(num_sampled, len(scales))
    filling = sample_evenly(scales, num_sampled)
    assert len(set(filling)) == num_sampled
    assert (filling[0], filling[-1]) == (scales[0], scales[-1])
    gaps = [scales.index(b) - scales.index(a) for a, b in itertools.pairwise(filling)]
    assert max(gaps) - min(gaps) <= 1


def test_eta_of_one_trains_the_largest_alone():
    assert sample_evenly((90, 50, 10), 1) == (90,)
    assert sample_step((90, 50, 10), 1, seed=3) == (90,)


def test_a_step_draws_again_but_keeps_both_ends_and_follows_its_seed():
    scales = (*grid_by_step(10), 10)
    draws = [sample_step(scales, 6, seed) for seed in range(50)]
    assert draws == [sample_step(scales, 6, seed) for seed in range(50)]
    assert len(set(draws)) > 40
    for draw in draws:
        assert (draw[0], draw[-1]) == (95, 10)
        assert len(set(draw)) == 6
        assert list(draw) == sorted(draw, reverse=True)
    assert set().union(*draws) == set(scales)
