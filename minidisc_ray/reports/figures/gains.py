"""The gain of an assistant against the gap between teacher and conventional student, and against training rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import Drawing, spread
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.study.findings import Finding
from minidisc_ray.study.gains import GAP, Gain, GainTrend

_COLORS: Final = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.SKY, style.BLACK)
_MARKERS: Final = "os^Dv<>Pp*"
_DASHES: Final[tuple[str | tuple[int, tuple[float, ...]], ...]] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_GAIN: Final = "Gain over conventional, points"


@dataclass(frozen=True)
class GainData:
    """The gains of one teacher and student scale, on all tasks or on one task's data.

    Attributes:
        methods: named ones, at most as many as there are colours; gains of others are grey.
        tasks: named ones, at most as many as there are markers; other tasks have small dots.
        gains: one for each task, seed and method.
        trends: with the gap, of the methods that have enough points.
        intervals: of the mean gain over seeds, by method and task; a share.
    """

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    gains: tuple[Gain, ...]
    trends: tuple[GainTrend, ...]
    intervals: Mapping[tuple[str, str], Interval]


def gain_data(gains: Sequence[Gain], trends: Sequence[GainTrend] = (), means: Sequence[Finding] = ()) -> GainData:
    """The data of gains, their trends and means, that share teacher and student scale."""
    methods, tasks = _distinct(gain.method for gain in gains), _distinct(gain.task for gain in gains)
    return GainData(
        tuple(methods[: len(_COLORS)]),
        tuple(tasks[: len(_MARKERS)]),
        tuple(gains),
        tuple(trend for trend in trends if trend.against == GAP and trend.method in methods[: len(_COLORS)]),
        {(found.what, found.task): found.interval for found in means},
    )


def gap_figure(data: GainData) -> Figure:
    """Draw a mark for each task, seed and method: colours are methods, shapes tasks; lines have 95% bands."""
    with style.styled():
        several_tasks = len(data.tasks) > 1
        # With tasks the legend has a column of methods and one of tasks.
        lines = max(len(data.methods), len(data.tasks)) if several_tasks else (len(data.methods) + 1) // 2
        figure = style.new_figure(3.3 + 0.2 * lines)
        axes = style.new_axes(figure, grid="both")
        _zero_line(axes)
        for gap, column in _columns(data.gains):
            # The methods of one task and seed lie above each other, as they share the conventional student.
            axes.plot([gap, gap], [min(column), max(column)], color=style.GREY, linewidth=0.6, zorder=1)
        for trend in data.trends:
            _draw_trend(axes, trend, data.methods.index(trend.method))
        for gain in data.gains:
            place = data.tasks.index(gain.task) if gain.task in data.tasks else None
            axes.plot(
                [100 * gain.gap], [100 * gain.gain], "." if place is None else _MARKERS[place], linestyle="none",
                color=_color(data, gain.method), markeredgecolor="white", markeredgewidth=0.5, markersize=7, zorder=3,
            )  # fmt: skip
        for place, method in enumerate(data.methods):
            # Without a line the method has a broad bar, which is no task's shape.
            has_line = any(trend.method == method for trend in data.trends)
            look: dict[str, Any] = {"linestyle": _dashes(place)} if has_line else {"linewidth": 6}
            axes.plot([], [], color=_COLORS[place], label=plain(method, 24), **look)
        _pad_legend(axes, lines - len(data.methods) if several_tasks else 0)
        for place, task in enumerate(data.tasks if several_tasks else ()):
            axes.plot(
                [], [], _MARKERS[place], color="white", markeredgecolor=style.BLACK, markersize=7, label=plain(task, 24)
            )
        _pad_legend(axes, lines - len(data.tasks) if several_tasks else 0)
        axes.set_xlabel("Teacher minus conventional student, points")
        axes.set_ylabel(_GAIN)
        _round(axes)
        axes.xaxis.set_major_locator(style.round_ticks(6))
        style.legend_below(figure, 2, axes)
        return figure


def rows_figure(data: GainData) -> Figure:
    """Draw each method's mean gain and its interval over training rows, on a logarithmic axis, with seeds as dots."""
    with style.styled():
        figure = style.new_figure(3.3 + 0.2 * ((len(data.methods) + 1) // 2))
        axes = style.new_axes(figure, grid="both")
        _zero_line(axes)
        axes.set_xscale("log")
        counts = sorted({gain.train_rows for gain in data.gains if gain.train_rows})
        for place, method in enumerate(data.methods):
            # Methods stand side by side, so that the seeds of one do not hide those of another.
            shift = 1.06 ** (place - (len(data.methods) - 1) / 2)
            means = []
            for count in counts:
                found = [gain.gain for gain in data.gains if (gain.method, gain.train_rows) == (method, count)]
                axes.plot(
                    [count * shift] * len(found), [100 * gain for gain in found], ".", color=_COLORS[place],
                    markeredgecolor="white", markeredgewidth=0.4, markersize=7, zorder=3,
                )  # fmt: skip
                mean = spread(found)
                if mean is not None:
                    means.append((count * shift, 100 * mean.mean))
            for gain in {(one.task, one.train_rows): one for one in data.gains if one.method == method}.values():
                interval = data.intervals.get((method, gain.task))
                if interval is not None and gain.train_rows:
                    ends = [100 * interval.low, 100 * interval.high]
                    axes.plot([gain.train_rows * shift] * 2, ends, color=_COLORS[place], linewidth=1.1, alpha=0.7)
            axes.plot(
                [x for x, _ in means], [y for _, y in means], color=_COLORS[place], linestyle=_dashes(place),
                marker=_MARKERS[place], markersize=7, markeredgecolor="white", label=plain(method, 24),
            )  # fmt: skip
        axes.xaxis.set_major_locator(FixedLocator(counts))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlim(counts[0] / 1.3, counts[-1] * 1.3)
        axes.set_xlabel("Training rows")
        axes.set_ylabel(_GAIN)
        _round(axes)
        style.legend_below(figure, 2, axes)
        return figure


def gain_drawings(gains: Sequence[Gain], trends: Sequence[GainTrend], means: Sequence[Finding] = ()) -> list[Drawing]:
    """A figure over the gap for each teacher and student scale, and over training rows for data that tasks share.

    Args:
        gains: of a study's assistants.
        trends: of these gains.
        means: of these gains, over seeds of each task.
    """
    drawings: list[Drawing] = []
    learned = [gain for gain in gains if gain.teacher_has_learned]
    places = list(dict.fromkeys((gain.teacher, gain.scale_percent) for gain in learned))
    for teacher, scale in places:
        here = [gain for gain in learned if (gain.teacher, gain.scale_percent) == (teacher, scale)]
        of_place = [trend for trend in trends if (trend.teacher, trend.scale_percent) == (teacher, scale)]
        subject = f"student at {scale}%" + (f", {plain(teacher)}" if teacher is not None else "")
        scope = "-".join([*([slug(teacher)] if teacher is not None else []), f"{scale}pc"])
        if closed := [gain for gain in here if gain.conventional_has_learned]:
            drawings.append(_gap_drawing(gain_data(closed, of_place), subject, scope))
        for data in _distinct(gain.same_data for gain in here if gain.same_data is not None):
            found = [gain for gain in here if gain.same_data == data and gain.train_rows]
            of_rows = [one for one in means if (one.teacher, one.scale_percent) == (teacher, scale)]
            if len({gain.train_rows for gain in found}) > 1:
                shown = gain_data(found, means=of_rows)
                drawings.append(_rows_drawing(shown, f"{plain(data)}, {subject}", f"{slug(data)}-{scope}"))
    return drawings


def _gap_drawing(data: GainData, subject: str, scope: str) -> Drawing:
    title = f"Gain of an assistant against the gap: {subject}"
    caption = (
        f"{title}. A mark for each task, seed and method: its student's score minus the conventional student's, over "
        "the teacher's score minus the conventional student's; marks of one task and seed are joined."
    )
    caption += " Lines are least squares with 95% bands, over tasks and their seeds." if data.trends else ""
    methods, tasks = _num_unnamed(data)
    caption += f" {methods} more methods are grey." if methods else ""
    caption += f" {tasks} more tasks are small dots." if tasks else ""
    return Drawing("gains", f"gain-gap-{scope}", title, caption, freeze_layout(gap_figure(data)))


def _rows_drawing(data: GainData, subject: str, scope: str) -> Drawing:
    title = f"Gain of an assistant against training rows: {subject}"
    seeds = len({gain.seed for gain in data.gains})
    caption = f"{title}. The student's score minus the conventional student's; large marks are means"
    caption += f" over up to {seeds} seeds, small dots seeds." if seeds > 1 else " of one seed."
    tasks = {(gain.method, gain.task) for gain in data.gains}
    over = {found.over for place, found in data.intervals.items() if place in tasks}
    caption += f" Bars are 95% intervals over {max(over, key=len)}." if over else ""
    caption += " Rows held out for selection are not counted."
    methods, _ = _num_unnamed(data)
    caption += f" {methods} more methods are left out." if methods else ""
    return Drawing("gains", f"gain-rows-{scope}", title, caption, freeze_layout(rows_figure(data)))


def _num_unnamed(data: GainData) -> tuple[int, int]:
    """How many methods, and how many tasks, have no colour or shape of their own."""
    methods, tasks = {gain.method for gain in data.gains}, {gain.task for gain in data.gains}
    return len(methods) - len(data.methods), len(tasks) - len(data.tasks)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _columns(gains: Sequence[Gain]) -> list[tuple[float, list[float]]]:
    """The gap of each task and seed with its methods' gains, in points."""
    found: dict[tuple[str, int], list[Gain]] = {}
    for gain in gains:
        found.setdefault((gain.task, gain.seed), []).append(gain)
    return [(100 * of[0].gap, [100 * gain.gain for gain in of]) for of in found.values()]


def _draw_trend(axes: Axes, found: GainTrend, place: int) -> None:
    line = found.trend.line
    x = [100 * point.x for point in line]
    axes.plot(x, [100 * point.y for point in line], color=_COLORS[place], linestyle=_dashes(place), zorder=2)
    low, high = ([100 * getattr(point, end) for point in line] for end in ("low", "high"))
    axes.fill_between(x, low, high, color=_COLORS[place], alpha=0.1, linewidth=0)


def _pad_legend(axes: Axes, count: int) -> None:
    """Empty entries that fill a column of the legend."""
    for _ in range(count):
        axes.plot([], [], linestyle="none", label=" ")


def _zero_line(axes: Axes) -> None:
    axes.axhline(0, color=style.BLACK, linewidth=0.9)


def _round(axes: Axes) -> None:
    axes.yaxis.set_major_locator(style.round_ticks(6))
    axes.margins(0.06)


def _color(data: GainData, method: str) -> str:
    return _COLORS[data.methods.index(method)] if method in data.methods else style.GREY


def _dashes(place: int) -> str | tuple[int, tuple[float, ...]]:
    return _DASHES[place % len(_DASHES)]
