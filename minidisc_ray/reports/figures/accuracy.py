"""Score against device-hours of each method, with the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import (
    Drawing,
    comparison_key,
    scope_of,
    seeds_of,
    spread,
    subject_of,
    validation_metric,
    variants,
)
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.reports.words import metric_title, sentence_case
from minidisc_ray.run_files.result import RunResult

# The hours' axis is logarithmic if the largest is more than this many times the smallest.
_LOG_FROM: Final = 10.0
_MARKERS: Final = "osD^vP*X<>"
_COLORS: Final = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.SKY, style.BLACK)
_MAX_NAMED: Final = 10


@dataclass(frozen=True)
class MethodPoint:
    """One method: mean device-hours and mean metric, a share; ``seeds`` has both for each seed."""

    name: str
    hours: float
    metric: float
    seeds: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AccuracyData:
    """Methods in the order of the comparison's rows; ``front`` has the indices of the Pareto front."""

    metric_name: str
    unit: str
    points: tuple[MethodPoint, ...]
    front: tuple[int, ...]


def accuracy_data(results: Sequence[RunResult]) -> AccuracyData | None:
    """Score and cost of methods with one unit of device-hours; None with fewer than two methods."""
    points: list[MethodPoint] = []
    for variant in variants(results):
        seeds = [
            (run.cost.device_hours, metric) for run in variant.runs if (metric := validation_metric(run)) is not None
        ]
        cost, score = spread(hours for hours, _ in seeds), spread(metric for _, metric in seeds)
        if cost is not None and score is not None:
            points.append(MethodPoint(variant.name, cost.mean, score.mean, tuple(seeds)))
    if len(points) < 2:
        return None
    first = results[0]
    return AccuracyData(metric_title(first.primary_metric), first.cost.device_unit, tuple(points), pareto_front(points))


def pareto_front(points: Sequence[MethodPoint]) -> tuple[int, ...]:
    """Indices of the Pareto front of cost and score, cheapest first."""
    order = sorted(range(len(points)), key=lambda place: (points[place].hours, -points[place].metric))
    front: list[int] = []
    for place in order:
        if not front or points[place].metric > points[front[-1]].metric:
            front.append(place)
    return tuple(front)


def accuracy_figure(data: AccuracyData) -> Figure:
    """Draw means as large marks, filled on the Pareto front, seeds as small dots, and the front as steps."""
    with style.styled():
        named = _named(data)
        long_names = any(len(data.points[place].name) > 24 for place in named)
        columns, width = (1, 56) if long_names else (2, 24)
        figure = style.new_figure(2.9 + 0.2 * ((len(named) + 2) / columns))
        axes = style.new_axes(figure, grid="both")
        _draw_front(axes, data)
        for place, point in enumerate(data.points):
            color = _COLORS[named.index(place) % len(_COLORS)] if place in named else style.GREY
            marker = _MARKERS[named.index(place) % len(_MARKERS)] if place in named else "o"
            if len(point.seeds) > 1:
                hours, metrics = zip(*point.seeds, strict=True)
                for cost, metric in point.seeds:
                    line = [cost, point.hours], [100 * metric, 100 * point.metric]
                    axes.plot(*line, color=color, linewidth=0.7, alpha=0.6)
                axes.plot(hours, [100 * metric for metric in metrics], ".", color=color, markersize=4.5)
            axes.plot(
                [point.hours], [100 * point.metric], marker, color=color, markersize=8.5, markeredgewidth=1.5,
                markerfacecolor=color if place in data.front else "white", linestyle="none",
                label=plain(point.name, width) if place in named else None,
            )  # fmt: skip
        left_out = len(data.points) - len(named)
        if left_out:
            axes.plot([], [], "o", color=style.GREY, markerfacecolor="white", label=f"{left_out} more methods")
        _scale_hours(axes, data)
        axes.margins(y=0.14)
        axes.yaxis.set_major_locator(style.round_ticks(6))
        axes.set_ylabel(f"Student's {plain(data.metric_name, 32)}, percent")
        axes.set_xlabel(f"{sentence_case(data.unit)}, without teacher fine-tuning")
        style.legend_below(figure, columns, axes)
        figure.draw_without_rendering()
        _label_front(axes, data)
        return figure


def accuracy_drawings(results: Sequence[RunResult]) -> list[Drawing]:
    """One figure for each task, student scale and unit of device-hours with at least two methods."""
    drawings: list[Drawing] = []
    units = {run.cost.device_unit for run in results}
    for group in grouped(results, lambda run: (comparison_key(run), run.cost.device_unit)):
        data = accuracy_data(group)
        if data is None:
            continue
        first = group[0]
        title = f"{data.metric_name} against {data.unit}: {subject_of(group)}"
        front = ", ".join(plain(data.points[place].name) for place in data.front)
        caption = (
            f"{title}; {seeds_of(variants(group))}. Large marks are means on the validation rows, small dots seeds. No "
            f"method has a higher score at no higher cost than one on the Pareto front (filled): {front}."
        )
        name = "-".join(["accuracy", scope_of(first), *([slug(data.unit)] if len(units) > 1 else [])])
        drawings.append(Drawing("accuracy", name, title, caption, freeze_layout(accuracy_figure(data))))
    return drawings


def _named(data: AccuracyData) -> list[int]:
    """Indices of the methods in the legend: all, or the front and the best of the others."""
    if len(data.points) <= _MAX_NAMED:
        return list(range(len(data.points)))
    others = [place for place in range(len(data.points)) if place not in data.front]
    others.sort(key=lambda place: -data.points[place].metric)
    return sorted([*data.front, *others][:_MAX_NAMED])


def _draw_front(axes: Axes, data: AccuracyData) -> None:
    hours = [data.points[place].hours for place in data.front]
    metrics = [100 * data.points[place].metric for place in data.front]
    hours.append(max([*hours, *(point.hours for point in data.points)]))
    metrics.append(metrics[-1])
    axes.plot(
        hours, metrics, drawstyle="steps-post", color=style.BLACK, linewidth=1, linestyle="--", label="Pareto front"
    )


def _scale_hours(axes: Axes, data: AccuracyData) -> None:
    found = [hours for point in data.points for hours in (point.hours, *(one for one, _ in point.seeds))]
    low, high = min(found), max(found)
    if low > 0 and high > _LOG_FROM * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
        decades = [mantissa * 10.0**power for power in range(-9, 10) for mantissa in (1, 2, 5)]
        ticks = [tick for tick in decades if low / 1.5 <= tick <= high * 1.5]
        powers = [tick for tick in ticks if f"{tick:e}".startswith("1.0")]
        axes.xaxis.set_major_locator(FixedLocator(ticks if len(ticks) <= 7 else powers))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_xlim(0, high * 1.12 or 1)
        axes.xaxis.set_major_locator(style.round_ticks(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _label_front(axes: Axes, data: AccuracyData) -> None:
    """Write the names of the front beside its marks; a name that would cover something is in the legend only."""
    taken = [_box_around(axes, point.hours, point.metric, 7) for point in data.points]
    taken += [_box_around(axes, *seed, 3) for point in data.points for seed in point.seeds]
    lines = [box for point in data.points for seed in point.seeds for box in _boxes_along(axes, point, seed)]
    frame = axes.get_window_extent()
    for place in data.front:
        point = data.points[place]
        for (across, up), ha in (((0, 8), "center"), ((7, 6), "left"), ((-7, 6), "right"), ((0, -16), "center")):
            text = axes.annotate(
                plain(point.name, 34), (point.hours, 100 * point.metric), (across, up), textcoords="offset points",
                ha=ha, va="bottom", fontsize=8.5, fontweight="bold",
            )  # fmt: skip
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            others = [*(one for index, one in enumerate(taken) if index != place), *lines]
            if inside and not any(box.overlaps(one) for one in others):
                taken.append(box)
                break
            text.remove()


def _boxes_along(axes: Axes, point: MethodPoint, seed: tuple[float, float]) -> list[Bbox]:
    """Boxes along the line from a method's mark to one of its seeds, without the line's ends."""
    ends = [(point.hours, 100 * point.metric), (seed[0], 100 * seed[1])]
    (x, y), (to_x, to_y) = axes.transData.transform(ends)
    steps = int(max(abs(to_x - x), abs(to_y - y)) // 4)
    at = [(x + (to_x - x) * step / steps, y + (to_y - y) * step / steps) for step in range(1, steps)]
    return [Bbox.from_extents(left - 2, up - 2, left + 2, up + 2) for left, up in at]


def _box_around(axes: Axes, hours: float, metric: float, half_size: float) -> Bbox:
    x, y = axes.transData.transform((hours, 100 * metric))
    return Bbox.from_extents(x - half_size, y - half_size, x + half_size, y + half_size)
