"""Device-hours of each method by stage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import (
    Drawing,
    Variant,
    comparison_key,
    scope_of,
    seeds_of,
    subject_of,
    variants,
)
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.reports.words import hours_text, sentence_case
from minidisc_ray.run_files.result import RunResult

_COLORS = {
    "importance": style.YELLOW,
    "sandwich": style.GREEN,
    "choose": style.BLACK,
    "sparse_teacher": style.PURPLE,
    "assistant": style.ORANGE,
    "student": style.NAVY,
    "distil": style.NAVY,
}
_OTHER_COLORS = (style.SKY, style.RED, style.PURPLE, style.PALE, style.YELLOW, style.ORANGE, style.GREEN)
# With more rows than this they are drawn closer, so that the figure fits a printed page.
_MANY_ROWS = 12
_OUTSIDE = "teacher fine-tuning, outside the ratio"


@dataclass(frozen=True)
class CostBar:
    """One method's mean device-hours by stage; ``outside`` is teacher fine-tuning, which no ratio includes."""

    name: str
    hours: dict[str, float]
    outside: float
    num_seeds: int

    @property
    def total(self) -> float:
        """The device-hours that ratios use: without teacher fine-tuning."""
        return sum(self.hours.values())


@dataclass(frozen=True)
class CostData:
    """Bars in the order of the comparison's rows, stages in the order of execution."""

    unit: str
    stages: tuple[str, ...]
    bars: tuple[CostBar, ...]


def cost_data(results: Sequence[RunResult]) -> CostData | None:
    """Device-hours of runs with one unit of them; None if no stage has any."""
    found = variants(results)
    bars = tuple(_bar(variant) for variant in found)
    if not any(bar.total > 0 for bar in bars):
        return None
    stages = _merged_order([stage.stage for stage in run.cost.stages if stage.in_ratio] for run in results)
    return CostData(results[0].cost.device_unit, tuple(stages), bars)


def cost_figure(data: CostData) -> Figure:
    """Draw a bar for each method: stages to the right of zero, teacher fine-tuning, outside the ratio, to the left."""
    with style.styled():
        outside = max(bar.outside for bar in data.bars)
        rows = len(data.bars)
        entries = len(data.stages) + (outside > 0)
        figure = style.new_figure(0.75 + (0.5 if rows <= _MANY_ROWS else 0.38) * rows + 0.19 * ((entries + 1) // 2 + 1))
        axes = style.new_axes(figure, grid="x")
        for place, bar in enumerate(data.bars):
            if bar.outside:
                axes.barh(
                    place, -bar.outside, height=0.42, color="white", edgecolor=style.GREY, hatch="////", linewidth=0.8,
                    label=_OUTSIDE if place == _first_with_outside(data) else None,
                )  # fmt: skip
            left = 0.0
            for stage in data.stages:
                hours = bar.hours.get(stage, 0.0)
                if hours > 0:
                    axes.barh(
                        place, hours, left=left, height=0.42, color=_color(stage, data.stages), edgecolor="white",
                        linewidth=0.5, label=_stage_title(stage) if place == _first_with(data, stage) else None,
                    )  # fmt: skip
                left += hours
            axes.plot([0, 0], [place - 0.26, place + 0.26], color=style.BLACK, linewidth=1.2)
            # From the figure's edge and not from zero, so that a long name never narrows the bars.
            text = axes.annotate(
                f"{plain(bar.name)}: {hours_text(bar.total)}", (0, place - 0.25), (0, 1), textcoords="offset points",
                xycoords=("axes fraction", "data"), ha="left", va="bottom",
            )  # fmt: skip
            text.set_in_layout(False)
        axes.set_ylim(rows - 0.6, -0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(style.round_ticks(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        axes.set_xlabel(sentence_case(data.unit))
        style.legend_below(figure, 2, axes, order=[_OUTSIDE, *map(_stage_title, data.stages)])
        return figure


def cost_drawings(results: Sequence[RunResult]) -> list[Drawing]:
    """One figure for each task, student scale and unit of device-hours."""
    drawings: list[Drawing] = []
    units = {run.cost.device_unit for run in results}
    for group in grouped(results, lambda run: (comparison_key(run), run.cost.device_unit)):
        data = cost_data(group)
        if data is None:
            continue
        first = group[0]
        title = f"{sentence_case(data.unit)} by stage: {subject_of(group)}"
        counts = seeds_of(variants(group))
        means = f"means over {counts}" if any(bar.num_seeds > 1 for bar in data.bars) else counts
        caption = (
            f"{title}; {means}. Stages in the order of execution, those of a sweep's trials added up. The number is "
            "the device-hours that ratios use"
        )
        caption += (
            "; teacher fine-tuning, left of zero, is not in it." if any(bar.outside for bar in data.bars) else "."
        )
        name = "-".join(["cost", scope_of(first), *([slug(data.unit)] if len(units) > 1 else [])])
        drawings.append(Drawing("cost", name, title, caption, freeze_layout(cost_figure(data))))
    return drawings


def _bar(variant: Variant) -> CostBar:
    count = len(variant.runs)
    hours: dict[str, float] = {}
    outside = 0.0
    for stage in (stage for run in variant.runs for stage in run.cost.stages):
        if stage.in_ratio:
            hours[stage.stage] = hours.get(stage.stage, 0.0) + stage.device_hours / count
        else:
            outside += stage.device_hours / count
    return CostBar(variant.name, hours, outside, count)


def _merged_order(sequences: Iterable[list[str]]) -> list[str]:
    """One order for the stages of all runs: a new stage goes right after the one before it in its run."""
    order: list[str] = []
    for sequence in sequences:
        place = 0
        for stage in dict.fromkeys(sequence):
            if stage in order:
                place = order.index(stage) + 1
            else:
                order.insert(place, stage)
                place += 1
    return order


def _color(stage: str, stages: Sequence[str]) -> str:
    if stage in _COLORS:
        return _COLORS[stage]
    others = [name for name in stages if name not in _COLORS]
    return _OTHER_COLORS[others.index(stage) % len(_OTHER_COLORS)]


def _stage_title(stage: str) -> str:
    return plain(stage.replace("_", " "), 32)


def _first_with(data: CostData, stage: str) -> int:
    return next(place for place, bar in enumerate(data.bars) if bar.hours.get(stage, 0.0) > 0)


def _first_with_outside(data: CostData) -> int:
    return next(place for place, bar in enumerate(data.bars) if bar.outside)
