"""What figures share: which runs can be compared in one figure, their names, and spreads over seeds."""

import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.reports.words import FIXED_METHODS, method_name, seeds_text
from minidisc_ray.run_files.result import RunResult

Kind = Literal["tradeoff", "assistants", "structure", "cost", "accuracy", "learning"]

_METHOD_ORDER = ("conventional", "sparse_teacher", "assistant", "minidisc", "maxidisc", "auto")


@dataclass(frozen=True)
class Drawing:
    """A figure with its name and texts.

    Attributes:
        kind: which of the figures it is.
        name: its file name without the ending, unique among figures drawn together.
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
    """Mean, smallest, largest and number of a value's seeds."""

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
    """Mean, smallest, largest and number of the values that are not None; None if all are."""
    found = [value for value in values if value is not None]
    return Spread(statistics.fmean(found), min(found), max(found), len(found)) if found else None


def validation_metric(run: RunResult) -> float | None:
    """The student's primary metric on the validation rows; None if the run lacks it."""
    return run.student.validation_metrics.get(run.primary_metric)


def comparison_key(run: RunResult) -> tuple[Hashable, ...]:
    """The key of runs whose scores can be compared in one figure."""
    return (
        run.task,
        run.student.scale_percent,
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
    """The subject of a figure: task, objective if all runs have the same, and student scale."""
    first = runs[0]
    objectives = {run.objective for run in runs}
    parts = [plain(first.task), *([plain(first.objective)] if len(objectives) == 1 else [])]
    return f"{', '.join(parts)}, student at {first.student.scale_percent}%"


def variants(results: Sequence[RunResult]) -> list[Variant]:
    """Runs grouped by recipe, so that those of a group differ only in their seed; in the order of table rows.

    A variant has the name of its method. Objective, number of assistants and recipe digest are added only where
    names would be equal without them.
    """
    groups = grouped(
        results,
        lambda run: (method_name(run), run.label, run.objective, run.student.scale_percent, run.method_digest),
    )
    groups.sort(key=lambda runs: _order(runs[0]))
    firsts = [runs[0] for runs in groups]
    several_methods = len({method_name(run) for run in firsts}) > 1
    several_objectives = len({run.objective for run in firsts}) > 1

    def name(run: RunResult) -> str:
        if not several_objectives:
            return method_name(run)
        return f"{method_name(run)} · {run.objective}" if several_methods else run.objective

    names = _made_unique([name(run) for run in firsts], [_assistants_text(run) for run in firsts])
    names = _made_unique(names, [f" [{run.method_digest[:6]}]" for run in firsts])
    return [
        Variant(unique, tuple(sorted(runs, key=lambda run: run.seed)))
        for unique, runs in zip(names, groups, strict=True)
    ]


def seeds_of(found: Iterable[Variant]) -> str:
    """The number of seeds in words; if variants have different seeds, the seeds of each variant."""
    variants_of: dict[tuple[int, ...], list[str]] = {}
    for variant in found:
        variants_of.setdefault(tuple(run.seed for run in variant.runs), []).append(plain(variant.name))
    if len(variants_of) == 1:
        return seeds_text(len(next(iter(variants_of))))
    return "seeds " + " and ".join(
        f"{', '.join(map(str, seeds))} of {', '.join(names)}" for seeds, names in variants_of.items()
    )


def _made_unique(names: list[str], suffixes: list[str]) -> list[str]:
    """The names, each with its suffix if the name occurs with different suffixes."""
    pairs = list(zip(names, suffixes, strict=True))
    return [
        f"{name}{suffix}" if any(one == name and other != suffix for one, other in pairs) else name
        for name, suffix in pairs
    ]


def _assistants_text(run: RunResult) -> str:
    count = len(run.assistants)
    return f", {count} assistant{'s' if count != 1 else ''}"


def _order(run: RunResult) -> tuple[object, ...]:
    fixed = tuple(-model.scale_percent for model in run.assistants) if run.method in FIXED_METHODS else ()
    place = _METHOD_ORDER.index(run.method) if run.method in _METHOD_ORDER else len(_METHOD_ORDER)
    return place, len(run.assistants), fixed, run.label, run.objective != "LTSD", run.objective, run.method_digest
