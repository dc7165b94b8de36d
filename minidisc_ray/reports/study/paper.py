"""Figures printed in a paper, for a study's table; they are shown only if the teacher has the paper's size."""

from collections.abc import Mapping, Sequence
from math import isqrt

from minidisc_ray.configs.study.base import AVERAGE, COST, FLOPS, PaperConfig, PaperTableConfig
from minidisc_ray.run_files.result import ModelRecord

_NO_METRICS = {AVERAGE, COST, FLOPS}


def hidden_size(teacher: ModelRecord) -> int | None:
    """The hidden size, solved from an unpruned encoder's number of parameters; None if no whole number solves it.

    This holds where heads together are as wide as the hidden size.
    ``core/flops.py`` counts, for each layer, ``H (4H + 3)`` parameters of attention, ``f (2H + 1)`` of the feed-forward
    network with ``f`` neurons, and ``6H`` of output biases and norms: a quadratic in ``H``.
    """
    layers, neurons = len(teacher.heads), sum(teacher.neurons)
    # 4LH^2 + (9L + 2F)H + F = P
    linear = 9 * layers + 2 * neurons
    constant = neurons - teacher.encoder_parameters
    root = isqrt(max(0, linear * linear - 16 * layers * constant))
    size, rest = divmod(root - linear, 8 * layers)
    if rest or size <= 0 or 4 * layers * size * size + linear * size + constant != 0:
        return None
    return size


def size_text(teacher: ModelRecord) -> str:
    """A teacher's size: 6 layers of 384."""
    hidden = hidden_size(teacher)
    layers = len(teacher.heads)
    return _layers(layers) + (f" of {hidden}" if hidden else f" with {sum(teacher.neurons) // layers} neurons")


def printed_for(paper: PaperConfig | None, teacher: ModelRecord | None) -> PaperTableConfig | None:
    """The paper's table for a teacher of this size; None if there is none."""
    if paper is None or teacher is None:
        return None
    found = (len(teacher.heads), hidden_size(teacher))
    for table in paper.tables.values():
        if (table.teacher.num_layers, table.teacher.hidden_size) == found:
            return table
    return None


def other_teacher_note(paper: PaperConfig, teacher: ModelRecord) -> str:
    """Why the paper's figures are not shown."""
    sizes = [f"{_layers(one.teacher.num_layers)} of {one.teacher.hidden_size}" for one in paper.tables.values()]
    papers = "teacher has" if len(sizes) == 1 else "teachers have"
    return (
        f"The paper's figures are not shown: the paper's {papers} {' and '.join(sizes)}; this one {size_text(teacher)}."
    )


def printed_row(
    table: PaperTableConfig | None, method: str, scale_percent: int | None, columns: Sequence[str]
) -> dict[str, float]:
    """A row's printed figures by the study's columns, metrics in percent; empty if the paper has none.

    Args:
        table: the paper's table for the teacher.
        method: its name in the study.
        scale_percent: the student's; None for the teacher and for students of some layers, which have one row.
        columns: keys of the study's score columns.
    """
    rows: Mapping[int | str, Mapping[str, float]] = table.rows.get(method, {}) if table is not None else {}
    if scale_percent is None:
        figures = next(iter(rows.values()), {})
    else:
        figures = rows.get(scale_percent, rows.get(str(scale_percent), {}))
    # A study's MNLI without the mismatched set is the paper's matched column.
    found = {column: figures.get(column, figures.get(f"{column}_m")) for column in columns}
    found |= {key: figures.get(key) for key in (COST, FLOPS)}
    if table is not None and set(average_of(table)) == set(columns):
        found[AVERAGE] = figures.get(AVERAGE)
    return {key: value for key, value in found.items() if value is not None}


def average_of(table: PaperTableConfig) -> tuple[str, ...]:
    """The columns that the printed average covers: those of the recipe, else all that are printed."""
    if table.average_of is not None:
        return table.average_of
    figures = [figures for by_scale in table.rows.values() for figures in by_scale.values()]
    return tuple(dict.fromkeys(column for row in figures for column in row if column not in _NO_METRICS))


def _layers(count: int) -> str:
    return f"{count} layer{'s' if count != 1 else ''}"
