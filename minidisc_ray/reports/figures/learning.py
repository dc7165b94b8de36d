"""Learning curves: the loss and the selection metric of each stage, epoch by epoch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.task import selection_names
from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import Drawing, scope_of, subject_of
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain
from minidisc_ray.reports.words import metric_title, sentence_case
from minidisc_ray.run_files.history import EpochNote
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.state import EpochRecord, best_epoch

_KEPT, _EPOCH, _OTHER = "Leads to the student", "Epoch kept", "Other trials or scales"
_TERM = "Loss term: "
_TERM_COLORS = (style.ORANGE, style.GREEN, style.PURPLE, style.SKY)
_SAME = 1e-6


@dataclass(frozen=True)
class Curve:
    """Values by epoch.

    Attributes:
        is_kept: whether it leads to the student that was kept.
        kept_epoch: the epoch whose weights were kept; None where it is not known.
    """

    values: Mapping[int, float]
    is_kept: bool
    kept_epoch: int | None = None


@dataclass(frozen=True)
class StageCurves:
    """One stage, in all its trials.

    Attributes:
        losses: the sum of the loss terms, one curve for each trial.
        terms: the terms of the kept trial, where there are several.
        metrics: the selection metric, a share; one curve for each trial, or for each scale of a nested model.
        is_nested: whether one trial trained models of several scales at once.
    """

    stage: str
    losses: tuple[Curve, ...]
    terms: Mapping[str, Curve]
    metrics: tuple[Curve, ...]
    is_nested: bool


def learning_data(result: RunResult, notes: Sequence[EpochNote]) -> list[StageCurves]:
    """The curves of each stage that trained, in the order of execution."""
    order = {stage.stage: place for place, stage in reversed(list(enumerate(result.cost.stages)))}
    by_stage = grouped(notes, lambda note: note.stage)
    by_stage.sort(key=lambda found: order.get(found[0].stage, len(order)))
    return [_stage_curves(result, found) for found in by_stage]


def learning_figure(stages: Sequence[StageCurves], metric_name: str) -> Figure:
    """Draw a row for each stage: its loss on the left, its selection metric on the right."""
    with style.styled():
        figure = style.new_figure(0.85 + 1.35 * len(stages))
        panels = figure.subplots(len(stages), 2, squeeze=False)
        colors = _colors(stages)
        for (left, right), stage in zip(panels, stages, strict=True):
            _draw(left, stage.losses, 1)
            for name, curve in stage.terms.items():
                left.plot(
                    *_points(curve), color=colors[name], linestyle=(0, (4, 1.5)), linewidth=1.2, marker=".",
                    label=f"{_TERM}{plain(name, 20)}",
                )  # fmt: skip
            _draw(right, stage.metrics, 100)
            left.set_title(_title(stage), loc="left", fontsize=9.5, fontweight="bold")
            left.set_ylabel("Loss")
            right.set_ylabel(f"{plain(metric_name, 14)}, %")
            for axes in (left, right):
                axes.grid(visible=True, axis="y")
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
                axes.yaxis.set_major_locator(style.round_ticks(3))
                axes.margins(x=0.08, y=0.15)
            if all(value >= 0 for curve in (*stage.losses, *stage.terms.values()) for value in curve.values.values()):
                left.set_ylim(bottom=0)
        for axes in panels[-1]:
            axes.set_xlabel("Epoch")
        _legend(figure, panels.flat)
        return figure


def learning_drawings(result: RunResult, notes: Sequence[EpochNote]) -> list[Drawing]:
    """The figure of a run's stages; none if no epoch was recorded."""
    stages = learning_data(result, notes)
    if not stages:
        return []
    metric = metric_title(result.selection_metric or result.primary_metric)
    title = f"Learning curves: {subject_of([result])}"
    several = any(len(stage.metrics) > 1 for stage in stages)
    caption = (
        f"{title}, seed {result.seed}. A row for each stage that trained: the mean loss of each epoch, and "
        f"{metric} on the selection rows. Circles mark the epochs kept"
    )
    caption += "; blue leads to the student, grey are other trials or scales." if several else "."
    figure = freeze_layout(learning_figure(stages, metric))
    return [Drawing("learning", f"learning-{scope_of(result)}", title, caption, figure)]


def _stage_curves(result: RunResult, notes: Sequence[EpochNote]) -> StageCurves:
    trials = grouped(notes, lambda note: note.trial)
    # The student's trial where it has this stage; else, as for a shared stage, the model's scale alone tells.
    has_own = any(found[0].trial == result.student_trial for found in trials)
    losses: list[Curve] = []
    metrics: list[Curve] = []
    terms: dict[str, Curve] = {}
    for found in trials:
        epochs = sorted((note.epoch for note in found), key=lambda epoch: epoch.epoch)
        scales = sorted({scale for epoch in epochs for scale in epoch.metrics}, reverse=True)
        kept = _kept_scales(result, scales) if found[0].trial == result.student_trial or not has_own else set()
        losses.append(Curve({epoch.epoch: sum(epoch.losses.values()) for epoch in epochs}, bool(kept)))
        if kept:
            terms = _terms(epochs)
        for scale in scales:
            values = _metric_values(result, epochs, scale)
            metrics.append(Curve(values, scale in kept, _kept_epoch(result, scale, values, best_epoch(epochs))))
    return StageCurves(notes[0].stage, tuple(losses), terms, tuple(metrics), len(trials) == 1 and len(metrics) > 1)


def _terms(epochs: Sequence[EpochRecord]) -> dict[str, Curve]:
    """The loss terms; none where there is one, or too many to tell apart."""
    names = dict.fromkeys(name for epoch in epochs for name in epoch.losses)
    if not 1 < len(names) <= len(_TERM_COLORS):
        return {}
    return {
        name: Curve({epoch.epoch: epoch.losses[name] for epoch in epochs if name in epoch.losses}, is_kept=True)
        for name in names
    }


def _selection(result: RunResult, metrics: Mapping[str, float]) -> float:
    """What choices use of a model's metrics on the selection rows."""
    names = selection_names(result.selection_metric or result.primary_metric)
    return sum(metrics.get(name, 0.0) for name in names) / len(names)


def _metric_values(result: RunResult, epochs: Sequence[EpochRecord], scale: int) -> dict[int, float]:
    return {epoch.epoch: _selection(result, epoch.metrics[scale]) for epoch in epochs if scale in epoch.metrics}


def _kept_scales(result: RunResult, scales: Sequence[int]) -> set[int]:
    """The scales of a stage's models that lead to the student: of a nested model its assistants, if it has any."""
    assistants = {model.scale_percent for model in result.assistants} & set(scales)
    return assistants or ({result.student.scale_percent, TEACHER_PERCENT} & set(scales))


def _kept_epoch(result: RunResult, scale: int, values: Mapping[int, float], best: int) -> int | None:
    """The epoch kept; None where another state was: a race's slice, on which no epoch of the student improved."""
    if scale == result.student.scale_percent and best in values:
        is_student = abs(_selection(result, result.student.selection_metrics) - values[best]) < _SAME
        return best if is_student else None
    return best if best in values else None


def _draw(axes: Axes, curves: Iterable[Curve], factor: float) -> None:
    # The kept ones last, so that they lie on top.
    for curve in sorted(curves, key=lambda curve: curve.is_kept):
        epochs, values = _points(curve)
        look: dict[str, Any] = {"color": style.GREY, "linewidth": 0.9, "marker": ".", "markersize": 3, "alpha": 0.8}
        if curve.is_kept:
            look = {"color": style.BLUE, "marker": "o", "markersize": 3.5}
        axes.plot(epochs, [factor * value for value in values], **look, label=_KEPT if curve.is_kept else _OTHER)
        if curve.is_kept and curve.kept_epoch is not None:
            axes.plot(
                [curve.kept_epoch], [factor * curve.values[curve.kept_epoch]], linestyle="", marker="o", markersize=9,
                markerfacecolor="none", markeredgecolor=style.BLACK, markeredgewidth=1.1, label=_EPOCH,
            )  # fmt: skip


def _points(curve: Curve) -> tuple[list[int], list[float]]:
    epochs = sorted(curve.values)
    return epochs, [curve.values[epoch] for epoch in epochs]


def _colors(stages: Sequence[StageCurves]) -> dict[str, str]:
    names = dict.fromkeys(name for stage in stages for name in stage.terms)
    return {name: _TERM_COLORS[place % len(_TERM_COLORS)] for place, name in enumerate(names)}


def _title(stage: StageCurves) -> str:
    count = len(stage.metrics)
    what = "scales" if stage.is_nested else "trials"
    name = plain(sentence_case(stage.stage.replace("_", " ")), 24)
    return f"{name}, {count} {what}" if count > 1 else name


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One entry for each label, whichever panels have it; the loss terms last."""
    entries = [axes.get_legend_handles_labels() for axes in panels]
    found = {label: handle for handles, labels in entries for handle, label in zip(handles, labels, strict=True)}
    labels = sorted(found, key=lambda label: (_KEPT, _EPOCH, _OTHER).index(label) if not label.startswith(_TERM) else 3)
    handles = [found[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, columnspacing=1.4, borderaxespad=0.2)
