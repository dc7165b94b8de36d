"""Assistants of every scale, their students, and the choice between them (MiniDisc, figures 1 and 3 left)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import (
    Drawing,
    Spread,
    comparison_key,
    scope_of,
    spread,
    subject_of,
    validation_metric,
    variants,
)
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.reports.words import metric_title, seeds_text
from minidisc_ray.run_files.result import RunResult

_NEGATIVE_DERIVATIVE: Final = "negative derivative"
Curve = Mapping[int, Spread]  # scale percent -> the value there, over seeds


@dataclass(frozen=True)
class TradeoffData:
    """One recipe with a sandwich, one MaxiDisc sweep, or both, of one task and one student scale.

    Metrics are shares; those of assistants are of the selection rows, those of students of the validation rows.

    Attributes:
        chooser: the method with the sandwich: MiniDisc, or Auto where it went on with one.
        candidates: slices of the sandwich.
        trial_assistants: assistants of MaxiDisc's trials.
        trial_students: the students distilled from them.
        tradeoffs: the value that selection maximises, of the sandwich, or of the sweep alone.
        tradeoff_name: the name of that value.
        chosen: number of seeds that chose each scale, or kept its trial in the sweep alone.
        minidisc_student: the student of the runs with the sandwich.
    """

    metric_name: str
    student_percent: int
    chooser: str
    candidates: Curve
    trial_assistants: Curve
    trial_students: Curve
    tradeoffs: Curve
    tradeoff_name: str
    chosen: Mapping[int, int]
    minidisc_student: Spread | None
    minidisc_seeds: int
    maxidisc_seeds: int


def tradeoff_data(results: Sequence[RunResult]) -> TradeoffData | None:
    """The data of the runs of one recipe with a sandwich and one MaxiDisc recipe; None if there is nothing to draw."""
    minidisc = [run for run in results if _has_choice(run)]
    # A sweep with trials ended early has students at a few scales only.
    maxidisc = [run for run in results if run.method == "maxidisc" and run.trials and run.early_end is None]
    choosing = minidisc or maxidisc
    if not choosing:
        return None
    by_derivative = choosing[0].selection_rule == _NEGATIVE_DERIVATIVE
    value = "negative_derivative" if by_derivative else "lambda_tradeoff"
    candidates = _curve((found.scale_percent, found.metric) for run in minidisc for found in run.candidates)
    trials = [trial for run in maxidisc for trial in run.trials if trial.status == "finished"]
    if not candidates and not trials:
        return None
    return TradeoffData(
        metric_name=metric_title(choosing[0].primary_metric),
        student_percent=choosing[0].student.scale_percent,
        chooser="Auto" if choosing[0].method == "auto" else "MiniDisc",
        candidates=candidates,
        trial_assistants=_curve((trial.assistant_percent, trial.assistant_selection) for trial in trials),
        trial_students=_curve((trial.assistant_percent, trial.student_validation) for trial in trials),
        tradeoffs=_curve((found.scale_percent, getattr(found, value)) for run in choosing for found in run.candidates),
        tradeoff_name="Negative derivative" if by_derivative else "λ-tradeoff",
        chosen=dict(Counter(model.scale_percent for run in choosing for model in run.assistants)),
        minidisc_student=spread(validation_metric(run) for run in minidisc),
        minidisc_seeds=len(minidisc),
        maxidisc_seeds=len(maxidisc),
    )


def _has_choice(run: RunResult) -> bool:
    """Whether a run chose among the slices of a sandwich: MiniDisc, or ``auto`` where it went on with one."""
    # After a given assistant, auto has that one as its only candidate.
    return bool(run.candidates) and (run.method == "minidisc" or (run.method == "auto" and len(run.candidates) > 1))


def tradeoff_figure(data: TradeoffData) -> Figure:
    """Draw metrics (left axis) and trade-off (right axis) over the assistant's scale; bands span the seeds."""
    with style.styled():
        figure = style.new_figure(3.7)
        axes = style.new_axes(figure)
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        _line(axes, data.candidates, "Assistant, in the sandwich", style.BLUE, "o", "-")
        _line(axes, data.trial_assistants, "Assistant, trained alone", style.SKY, "s", (0, (4, 1.5)))
        _line(axes, data.trial_students, "MaxiDisc's student", style.GREEN, "^", "-")
        _line(right, data.tradeoffs, f"{data.tradeoff_name} (right)", style.RED, "D", (0, (1, 1)), 1)
        if data.minidisc_student is not None:
            mean = 100 * data.minidisc_student.mean
            axes.axhline(
                mean, color=style.BLACK, linestyle=(0, (6, 2)), linewidth=1.3, label=f"{data.chooser}'s student"
            )
        _mark_choice(axes, data)
        scales = sorted({*data.candidates, *data.trial_assistants, *data.tradeoffs})
        if len(scales) <= 10:
            axes.set_xticks(scales)
        axes.set_xlabel("Scale of the assistant, percent")
        axes.set_ylabel(f"{plain(data.metric_name, 32)}, percent")
        axes.yaxis.set_major_locator(style.round_ticks(6))
        right.set_ylabel(data.tradeoff_name)
        right.yaxis.set_major_locator(style.round_ticks(6))
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        style.legend_below(figure, 2, axes, right)
        return figure


def tradeoff_drawings(results: Sequence[RunResult]) -> list[Drawing]:
    """One figure for each recipe with a sandwich, with the setting's first sweep; other sweeps have their own."""
    drawings: list[Drawing] = []
    runs = [run for run in results if run.method == "maxidisc" or _has_choice(run)]
    for group in grouped(runs, lambda run: (comparison_key(run), run.objective, run.setting_digest)):
        for members, extra in _figures_of_setting(group):
            data = tradeoff_data(members)
            if data is not None:
                drawings.append(_drawing(data, members[0], extra))
    return drawings


def _figures_of_setting(runs: list[RunResult]) -> list[tuple[list[RunResult], str]]:
    """The runs of each figure, with the variant's name if the setting has several."""
    minidisc = variants([run for run in runs if _has_choice(run)])
    sweeps = variants([run for run in runs if run.method == "maxidisc"])
    sweep = list(sweeps[0].runs) if sweeps else []
    figures = [([*variant.runs, *sweep], variant.name if len(minidisc) > 1 else "") for variant in minidisc]
    alone = sweeps[1:] if figures else sweeps
    return figures + [(list(variant.runs), variant.name if len(sweeps) > 1 else "") for variant in alone]


def _drawing(data: TradeoffData, first: RunResult, extra: str) -> Drawing:
    objective = "" if first.objective == "LTSD" else first.objective
    parts = ["tradeoff", scope_of(first), *(slug(text) for text in (objective, extra) if text)]
    variant = plain(extra or first.label)
    title = f"Trade-off of assistants{f' ({variant})' if variant else ''}: {subject_of([first])}"
    seeds = [
        f"{method}: {seeds_text(count)}"
        for method, count in ((data.chooser, data.minidisc_seeds), ("MaxiDisc", data.maxidisc_seeds))
        if count
    ]
    choice = f"{data.chooser}'s choice" if data.minidisc_seeds else "the trial that the sweep kept"
    caption = (
        f"{title}. Assistants are scored on the selection rows, students on the validation rows; the vertical "
        f"line is {choice}. {'; '.join(seeds)}"
    )
    several = max(data.minidisc_seeds, data.maxidisc_seeds) > 1
    caption += "; lines are means, bands span the seeds." if several else "."
    return Drawing("tradeoff", "-".join(parts), title, caption, freeze_layout(tradeoff_figure(data)))


def _curve(values: Iterable[tuple[int, float | None]]) -> dict[int, Spread]:
    by_scale: dict[int, list[float | None]] = {}
    for scale, value in values:
        by_scale.setdefault(scale, []).append(value)
    found = {scale: spread(by_scale[scale]) for scale in sorted(by_scale)}
    return {scale: value for scale, value in found.items() if value is not None}


def _line(
    axes: Axes, curve: Curve, label: str, color: str, marker: str, dashes: str | tuple[int, tuple[float, ...]],
    factor: float = 100,
) -> None:  # fmt: skip
    if not curve:
        return
    scales = list(curve)
    means = [factor * curve[scale].mean for scale in scales]
    axes.plot(scales, means, color=color, marker=marker, linestyle=dashes, label=label)
    lows, highs = ([factor * getattr(curve[scale], end) for scale in scales] for end in ("low", "high"))
    if lows != highs:
        axes.fill_between(scales, lows, highs, color=color, alpha=0.15, linewidth=0)


def _mark_choice(axes: Axes, data: TradeoffData) -> None:
    legend = f"{data.chooser}'s choice" if data.minidisc_seeds else "Kept by the sweep"
    unanimous = set(data.chosen.values()) == {data.minidisc_seeds or data.maxidisc_seeds}
    for index, scale in enumerate(sorted(data.chosen)):
        label = legend if index == 0 else None
        axes.axvline(scale, color=style.BLACK, linestyle=":", linewidth=1.3, label=label)
        # Labels alternate between two rows, so that those of close choices do not overlap.
        row = 11 * (index % 2)
        count = f" ({data.chosen[scale]}\N{MULTIPLICATION SIGN})" if not unanimous else ""
        axes.annotate(
            f"{scale}%{count}", (scale, 1), xycoords=("data", "axes fraction"), xytext=(0, 2 + row),
            textcoords="offset points", ha="center", va="bottom", fontsize=8.5, fontweight="bold",
        )  # fmt: skip
