"""Grids of candidate scales between teacher and student (MiniDisc, section 3.3, "Gridding")."""

from collections.abc import Sequence
from random import Random

TEACHER_PERCENT = 100


def grid_by_step(student_percent: int, step_percent: int = 5) -> tuple[int, ...]:
    """Every multiple of the step strictly between student and teacher, largest first.

    Raises:
        ValueError: if nothing lies between.
    """
    multiples = range(step_percent, TEACHER_PERCENT, step_percent)
    return grid_of([scale for scale in multiples if scale > student_percent], student_percent)


def grid_by_slices(student_percent: int, count: int) -> tuple[int, ...]:
    """The inner borders of ``count`` equal slices of the range from student to teacher (the papers' ``n``).

    Raises:
        ValueError: if the slices are not whole percents, or fewer than two.
    """
    span = TEACHER_PERCENT - student_percent
    if count < 2 or span % count:
        allowed = [n for n in range(2, span + 1) if span % n == 0]
        raise ValueError(
            f"{count} equal slices between {student_percent} and {TEACHER_PERCENT} percent are not whole percents; "
            + (f"use one of {allowed}" if allowed else "use a smaller student")
        )
    width = span // count
    return grid_of([student_percent + width * i for i in range(1, count)], student_percent)


def grid_by_times(student_percent: int, smallest: float, largest: float, count: int) -> tuple[int, ...]:
    """``count`` evenly spaced multiples of the student's scale, in whole percents, largest first.

    Multiples that reach the teacher are left out, and so are those that round to a percent that is there already. Our
    own: the paper grids the whole range in steps.

    Raises:
        ValueError: if nothing lies between student and teacher.
    """
    steps = max(count - 1, 1)
    # The exact halves of 5 and 15 percent go up, whatever Python's own rounding does with them.
    found = {int(student_percent * (smallest + (largest - smallest) * i / steps) + 0.5) for i in range(count)}
    between = [scale for scale in found if student_percent < scale < TEACHER_PERCENT]
    if not between:
        middle = (student_percent + TEACHER_PERCENT + 1) // 2
        raise ValueError(
            f"no candidate of {smallest:g} to {largest:g} times the student's {student_percent} percent lies between "
            f"it and the teacher's {TEACHER_PERCENT}; "
            + (f"write a list such as [{middle}]" if middle < TEACHER_PERCENT else "use a smaller student")
        )
    return grid_of(between, student_percent)


def grid_of(scales: Sequence[int], student_percent: int) -> tuple[int, ...]:
    """The given scales as a grid: distinct, largest first, each strictly between student and teacher.

    Raises:
        ValueError: if a scale repeats or lies outside, or there is none.
    """
    if not scales:
        raise ValueError(
            f"no candidate lies strictly between the student's {student_percent} and the teacher's "
            f"{TEACHER_PERCENT} percent"
        )
    if len(set(scales)) != len(scales):
        raise ValueError(f"{list(scales)} names a scale twice; name each once")
    for scale in scales:
        if not student_percent < scale < TEACHER_PERCENT:
            raise ValueError(
                f"{scale} is not strictly between the student's own scale of {student_percent} percent and the "
                f"teacher's {TEACHER_PERCENT}; use "
                + (
                    f"values between {student_percent + 1} and {TEACHER_PERCENT - 1}"
                    if student_percent < TEACHER_PERCENT - 1
                    else "a smaller student"
                )
            )
    return tuple(sorted(scales, reverse=True))


def sample_evenly(scales: Sequence[int], num_sampled: int) -> tuple[int, ...]:
    """An evenly spaced subset with both ends: fillings chosen once for the whole stage (MiniDisc, remark 2).

    Args:
        scales: all scales of the sandwich, largest first, the student's own among them.
        num_sampled: the paper's eta, at most as many as there are scales; 1 gives the largest alone.
    """
    if num_sampled == 1:
        return (scales[0],)
    last = len(scales) - 1
    # In integers, halves up, so that the result depends on no platform's float rounding.
    indices = [(2 * i * last + num_sampled - 1) // (2 * (num_sampled - 1)) for i in range(num_sampled)]
    return tuple(scales[i] for i in indices)


def sample_step(scales: Sequence[int], num_sampled: int, seed: int) -> tuple[int, ...]:
    """The largest and the smallest scale and a random draw of the others; the same on every worker for one seed."""
    if num_sampled == 1:
        return (scales[0],)
    filling = Random(seed).sample(list(scales[1:-1]), num_sampled - 2)
    return tuple(sorted([scales[0], scales[-1], *filling], reverse=True))
