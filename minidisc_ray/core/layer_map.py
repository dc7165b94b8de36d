"""Which teacher layers a student layer learns from; layers count from 1, N of them in the student, M in the teacher.

Sources: the task-agnostic comparison, section 4 (single, last, uniform, uniform-consecutive, uniform + last), and
Distiller, appendix A.3.1 (skip, last).
"""

from collections.abc import Callable, Iterable, Mapping

LayerPairs = tuple[tuple[int, int], ...]


def single(num_student: int, num_teacher: int) -> LayerPairs:
    """The last layer learns from the last: ``phi(N) = {M}``."""
    return ((num_student, num_teacher),)


def last(num_student: int, num_teacher: int) -> LayerPairs:
    """Layer i learns from one of the last N: ``phi(i) = {M - N + i}``."""
    return tuple((layer, num_teacher - num_student + layer) for layer in range(1, num_student + 1))


def uniform(num_student: int, num_teacher: int) -> LayerPairs:
    """Layer i learns from every k-th: ``phi(i) = {k i}``, ``k = ceil(M / N)``; layers past the last map to nothing."""
    step = -(-num_teacher // num_student)
    return _existing(((layer, step * layer) for layer in range(1, num_student + 1)), num_teacher)


def uniform_consecutive(num_student: int, num_teacher: int) -> LayerPairs:
    """Layer i learns from k layers in a row, ``phi(i) = (k (i - 1), k i]``: every teacher layer is learned from.

    Deviation: the paper prints the interval closed, which would be k + 1 layers and a layer 0; its text says k.
    """
    step = -(-num_teacher // num_student)
    pairs = (
        (layer, teacher)
        for layer in range(1, num_student + 1)
        for teacher in range(step * (layer - 1) + 1, step * layer + 1)
    )
    return _existing(pairs, num_teacher)


def uniform_last(num_student: int, num_teacher: int) -> LayerPairs:
    """Layer i learns from what both :func:`uniform` and :func:`last` give it; a pair that both give counts once."""
    return tuple(sorted({*uniform(num_student, num_teacher), *last(num_student, num_teacher)}))


def skip(num_student: int, num_teacher: int) -> LayerPairs:
    """Layer i learns from layer ``i floor(M / N)``."""
    step = num_teacher // num_student
    return tuple((layer, step * layer) for layer in range(1, num_student + 1))


def every(num_student: int, num_teacher: int) -> LayerPairs:
    """Every student layer with every teacher layer, for mappings that weigh all pairs."""
    return tuple((i, j) for i in range(1, num_student + 1) for j in range(1, num_teacher + 1))


LAYER_MAPS: Mapping[str, Callable[[int, int], LayerPairs]] = {
    "single": single,
    "last": last,
    "uniform": uniform,
    "uniform_consecutive": uniform_consecutive,
    "uniform_last": uniform_last,
    "skip": skip,
    "emd": every,
}


def layer_pairs(mapping: str, num_student: int, num_teacher: int) -> LayerPairs:
    """The (student layer, teacher layer) pairs of a mapping by name.

    Raises:
        ValueError: if the student has more layers than the teacher, so that some would learn from none.
    """
    if num_student > num_teacher:
        raise ValueError(f"the student has {num_student} layers, the teacher only {num_teacher}")
    return LAYER_MAPS[mapping](num_student, num_teacher)


def _existing(pairs: Iterable[tuple[int, int]], num_teacher: int) -> LayerPairs:
    return tuple((student, teacher) for student, teacher in pairs if teacher <= num_teacher)
