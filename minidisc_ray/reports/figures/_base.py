"""What figures share: runs that may stand in one picture, their methods, and numbers over seeds."""

import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures._words import plain, seeds_text, slug
from minidisc_ray.reports.words import FIXED_METHODS, method_name
from minidisc_ray.run_files.result import RunResult

Kind = Literal["tradeoff", "assistants", "structure", "cost", "accuracy"]

_METHOD_ORDER = ("conventional", "sparse_teacher", "assistant", "minidisc", "maxidisc")


@dataclass(frozen=True)
class Drawing:
    """A figure and what a page says of it.

    Attributes:
        kind: which of the figures it is.
        name: unique among those drawn together; fit to be a file's name.
        title: what it shows, in a few words.
        caption: how to read it, and over how many seeds.
    """

    kind: Kind
    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Spread:
    """A number over seeds."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Variant:
    """The runs of one table row: one recipe, several seeds."""

    name: str
    runs: tuple[RunResult, ...]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean, smallest, largest and number of the values that are there; None if none is."""
    found = [value for value in values if value is not None]
    return Spread(statistics.fmean(found), min(found), max(found), len(found)) if found else None


def validation_metric(run: RunResult) -> float | None:
    """The student's primary metric on the validation rows, the one that is reported."""
    return run.student.validation_metrics.get(run.primary_metric)


def comparable(run: RunResult) -> tuple[Hashable, ...]:
    """What runs share whose scores may stand in one picture."""
    student = (run.task, run.student.scale_percent)
    return (
        *student,
        run.data_digest,
        run.primary_metric,
        run.protocol,
        run.selection_split,
        run.teacher.total_parameters,
    )


def scope_of(run: RunResult) -> str:
    """Task and student scale as part of a file's name."""
    return f"{slug(run.task)}-{run.student.scale_percent}pc"


def subject_of(runs: Sequence[RunResult]) -> str:
    """What the runs of one figure are about: task, objective where it is one, and student."""
    first = runs[0]
    objectives = {run.objective for run in runs}
    parts = [plain(first.task), *([plain(first.objective)] if len(objectives) == 1 else [])]
    return f"{', '.join(parts)}, student at {first.student.scale_percent}%"


def variants(results: Sequence[RunResult]) -> list[Variant]:
    """Runs that differ only in their seed together, in the order of the comparison's rows.

    A variant is called by its label or its method; its objective, and the digest of its recipe, stand beside that
    only where they are needed to tell two variants apart.
    """
    groups = grouped(
        results,
        lambda run: (method_name(run), run.label, run.objective, run.student.scale_percent, run.method_digest),
    )
    groups.sort(key=lambda runs: _order(runs[0]))
    firsts = [runs[0] for runs in groups]
    several_methods = len({run.label or method_name(run) for run in firsts}) > 1
    several_objectives = len({run.objective for run in firsts}) > 1

    def name(run: RunResult) -> str:
        called = run.label or method_name(run)
        if not several_objectives:
            return called
        return f"{called} · {run.objective}" if several_methods else run.objective

    names = _told_apart([name(run) for run in firsts], [_assistants_text(run) for run in firsts])
    names = _told_apart(names, [f" [{run.method_digest[:6]}]" for run in firsts])
    return [
        Variant(called, tuple(sorted(runs, key=lambda run: run.seed)))
        for called, runs in zip(names, groups, strict=True)
    ]


def seeds_of(found: Iterable[Variant]) -> str:
    """The number of seeds in words; where variants differ, which seeds and whose."""
    variants_of: dict[tuple[int, ...], list[str]] = {}
    for variant in found:
        variants_of.setdefault(tuple(run.seed for run in variant.runs), []).append(plain(variant.name))
    if len(variants_of) == 1:
        return seeds_text(len(next(iter(variants_of))))
    return "seeds " + " and ".join(
        f"{', '.join(map(str, seeds))} of {', '.join(names)}" for seeds, names in variants_of.items()
    )


def _told_apart(names: list[str], marks: list[str]) -> list[str]:
    """The names, with their marks where a name stands more than once and its marks differ."""
    found: list[str] = []
    for name, mark in zip(names, marks, strict=True):
        of_name = {other for one, other in zip(names, marks, strict=True) if one == name}
        found.append(f"{name}{mark}" if len(of_name) > 1 else name)
    return found


def _assistants_text(run: RunResult) -> str:
    count = len(run.assistants)
    return f", {count} assistant{'s' if count != 1 else ''}"


def _order(run: RunResult) -> tuple[object, ...]:
    fixed = tuple(-model.scale_percent for model in run.assistants) if run.method in FIXED_METHODS else ()
    place = _METHOD_ORDER.index(run.method) if run.method in _METHOD_ORDER else len(_METHOD_ORDER)
    return place, len(run.assistants), fixed, run.label, run.objective != "LTSD", run.objective, run.method_digest
