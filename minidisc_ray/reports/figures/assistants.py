"""Students by number of assistants (MiniDisc, figure 3 right)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import (
    Drawing,
    Spread,
    comparison_key,
    scope_of,
    seeds_of,
    spread,
    subject_of,
    validation_metric,
    variants,
)
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug, wrapped
from minidisc_ray.reports.words import metric_title, sentence_case
from minidisc_ray.run_files.result import RunResult

_NUMBERS = ("no", "one", "two", "three", "four", "five")
_COLORS = {1: style.ORANGE, 2: style.SKY, 3: style.BLUE}


@dataclass(frozen=True)
class AssistantsBar:
    """The students of one MiniDisc recipe.

    Attributes:
        num_assistants: between teacher and student.
        name: of the recipe, if several have the same number of assistants; else its label, which may be empty.
        student: validation metric, a share.
        seeds: the same of each seed.
    """

    num_assistants: int
    name: str
    student: Spread
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class AssistantsData:
    """Bars by number of assistants, fewest first; ``majority`` is the majority class's score, where bars begin."""

    metric_name: str
    majority: float
    bars: tuple[AssistantsBar, ...]


def assistants_data(results: Sequence[RunResult]) -> AssistantsData | None:
    """The bars of the MiniDisc runs; None if all have the same number of assistants."""
    runs = [run for run in results if run.method == "minidisc" and validation_metric(run) is not None]
    bars: list[AssistantsBar] = []
    for of_number in grouped(sorted(runs, key=lambda run: len(run.assistants)), lambda run: len(run.assistants)):
        found = variants(of_number)
        for variant in found:
            values = [value for run in variant.runs if (value := validation_metric(run)) is not None]
            student = spread(values)
            if student is not None:
                name = variant.name if len(found) > 1 else variant.runs[0].label
                bars.append(AssistantsBar(len(variant.runs[0].assistants), name, student, tuple(values)))
    if len({bar.num_assistants for bar in bars}) < 2:
        return None
    first = runs[0]
    return AssistantsData(
        metric_title(first.primary_metric), first.majority_metrics.get(first.primary_metric, 0.0), tuple(bars)
    )


def assistants_figure(data: AssistantsData) -> Figure:
    """Draw bars from the majority class's score, so that their lengths can be compared; whiskers span the seeds."""
    with style.styled():
        figure = style.new_figure(3.1)
        axes = style.new_axes(figure)
        base = 100 * data.majority
        span = max(abs(100 * value - base) for bar in data.bars for value in (bar.student.low, bar.student.high)) or 1
        for place, bar in enumerate(data.bars):
            mean, low, high = 100 * bar.student.mean, 100 * bar.student.low, 100 * bar.student.high
            color = _COLORS.get(bar.num_assistants, style.GREY)
            axes.bar(place, mean - base, bottom=base, width=0.6, color=color, edgecolor=style.BLACK, linewidth=0.6)
            if low != high:
                axes.errorbar(place, mean, [[mean - low], [high - mean]], color=style.BLACK, capsize=4, linewidth=1.2)
            top = max(mean, high, base)
            axes.annotate(f"{mean:.1f}", (place, top), (0, 3), textcoords="offset points", ha="center", va="bottom")
        axes.axhline(base, color=style.BLACK, linewidth=1)
        axes.annotate(
            f"majority class {base:.1f}", (0, base), (4, -2), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="top", fontsize=8.5,
        )  # fmt: skip
        axes.set_xticks(range(len(data.bars)), [_tick(bar, len(data.bars)) for bar in data.bars])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.6, len(data.bars) - 0.4)
        lowest = min(base, *(100 * bar.student.low for bar in data.bars))
        axes.set_ylim(lowest - 0.1 * span, max(base, *(100 * bar.student.high for bar in data.bars)) + 0.16 * span)
        axes.set_ylabel(f"Student's {plain(data.metric_name, 32)}, percent")
        return figure


def assistants_drawings(results: Sequence[RunResult]) -> list[Drawing]:
    """One figure for each task, student scale and setting that has MiniDisc runs of several numbers of assistants."""
    drawings: list[Drawing] = []
    for group in grouped(results, lambda run: (comparison_key(run), run.objective, run.setting_digest)):
        data = assistants_data(group)
        if data is None:
            continue
        first = group[0]
        objective = "" if first.objective == "LTSD" else first.objective
        title = f"MiniDisc with several assistants: {subject_of(group)}"
        counts = seeds_of(variants([run for run in group if run.method == "minidisc"]))
        caption = (
            f"{title}. Bars are the student's {data.metric_name} on the validation rows and begin at the score of the "
            f"majority class ({100 * data.majority:.1f}). {sentence_case(counts)} each"
        )
        caption += "; whiskers span the seeds." if any(len(bar.seeds) > 1 for bar in data.bars) else "."
        name = "-".join(["assistants", scope_of(first), *([slug(objective)] if objective else [])])
        drawings.append(Drawing("assistants", name, title, caption, freeze_layout(assistants_figure(data))))
    return drawings


def _tick(bar: AssistantsBar, num_bars: int) -> str:
    number = _NUMBERS[bar.num_assistants] if bar.num_assistants < len(_NUMBERS) else str(bar.num_assistants)
    count = f"{number} assistant{'s' if bar.num_assistants != 1 else ''}"
    if num_bars > 3:
        count = count.replace(" ", "\n")
    return f"{count}\n{wrapped(bar.name, max(8, 48 // num_bars))}".strip()
