"""Draws Distiller's figures 3a, 3b, 4 and 5 from the numbers of autodistiller_loo.py, each as SVG and PNG."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures import write_figures
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain
from minidisc_ray.run_files.fetching import open_storage

Interval = Sequence[float]  # value, low, high
_NOT_TASKS: Final = ("mean", "mean within pairs")
_LINE: Final[dict[str, Any]] = {"linestyle": "none", "capsize": 3, "elinewidth": 1.2, "markersize": 4}


def write_all(found: Mapping[str, Any], paper: float, folder: Path) -> list[Path]:
    """Write the four figures into a folder; returns their paths.

    Args:
        found: the numbers, as the benchmark's ``--output`` has them.
        paper: the mean correlation that the paper reports.
        folder: made if it is not there.
    """
    storage = open_storage(folder)
    storage.root.mkdir(parents=True, exist_ok=True)
    figures = {
        "figure-3a": number_of_tasks(found["figure 3a"], paper),
        "figure-3b": top_against_random(found["figure 3b"]),
        "figure-4": feature_groups(found["figure 4"]),
        "figure-5": held_out_correlations(found["predictor"], found["ridge"], paper),
    }
    return write_figures(storage, storage.root, figures)


def number_of_tasks(curve: Mapping[str, Sequence[float]], paper: float) -> Figure:
    """Mean correlation by number of data sets trained on; each draw of them a point (figure 3a)."""
    by_number = {int(number): values for number, values in curve.items()}
    numbers = sorted(by_number)

    def draw(axes: Axes) -> None:
        means = [sum(by_number[number]) / len(by_number[number]) for number in numbers]
        axes.plot(numbers, means, color=style.BLUE, label="Mean of the draws")
        points = [(number, value) for number in numbers for value in by_number[number]]
        axes.plot(
            *zip(*points, strict=True), "o", color=style.ORANGE, markeredgecolor=style.BLACK, markeredgewidth=0.5,
            markersize=6, label="One draw of data sets", clip_on=False,
        )  # fmt: skip
        _paper_line(axes.axhline, paper)
        axes.set_xticks(numbers)
        axes.set_xlim(numbers[0] - 0.4, numbers[-1] + 0.4)
        axes.set_ylim(0, 1.12 * max(value for _, value in points))
        axes.set_xlabel("Data sets trained on")
        axes.set_ylabel("Mean correlation, left out")

    return _figure(draw, 3.4, "y", 2)


def top_against_random(found: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Five recommended configurations against five random ones, all models and one pair (figure 3b)."""
    groups: dict[str, dict[str, Mapping[str, Interval]]] = {}
    for key, values in found.items():
        name, task = key.rsplit(", ", 1)
        if "equation 2" not in name:  # its scale is that of failed runs, 50 times as wide
            groups.setdefault(name.rsplit(", ", 1)[0], {})[task] = values
    with style.styled():
        longest = max(map(len, groups.values()))
        figure = style.new_figure(0.8 + len(groups) * (0.5 + 0.3 * longest))
        axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
        for one, (name, rows) in zip(axes, groups.items(), strict=True):
            one.grid(visible=True, axis="x")
            names = [*sorted(set(rows) - {"mean"}), "mean"]
            for label, column, color, marker, shift in (
                ("Top 5", "top", style.BLUE, "o", -0.16),
                ("5 random ones", "random", style.ORANGE, "s", 0.16),
            ):
                _intervals(one, [rows[task][column] for task in names], label, color, marker, shift)
            one.axvline(1.0, color=style.BLACK, linewidth=0.8, label="The teacher")
            one.axhline(len(names) - 1.5, color=style.GREY, linewidth=0.6)
            _name_rows(one, names)
            one.set_title(name[0].upper() + name[1:], loc="left", fontsize=9.5, fontweight="bold")
        axes[-1].set_xlabel("Share of the teacher's score,\nwith its 95% interval")
        style.legend_below(figure, 3, axes[0])
    return freeze_layout(figure)


def feature_groups(falls: Mapping[str, Interval]) -> Figure:
    """Fall of R² when a group of dataset features is shuffled (figure 4)."""
    names = sorted(falls, key=lambda name: -falls[name][0])

    def draw(axes: Axes) -> None:
        values = [falls[name] for name in names]
        axes.barh(range(len(names)), [one[0] for one in values], height=0.6, color=style.SKY, edgecolor=style.BLACK,
                  linewidth=0.6, label="Mean of the splits")  # fmt: skip
        _intervals(axes, values, "95% of the splits", style.BLACK, "", 0.0)
        axes.axvline(0.0, color=style.BLACK, linewidth=0.8)
        _name_rows(axes, names)
        axes.set_xlabel("Fall of R² when the group is shuffled")

    return _figure(draw, 0.9 + 0.38 * len(names), "x", 2)


def held_out_correlations(predictor: Mapping[str, Interval], ridge: Mapping[str, Interval], paper: float) -> Figure:
    """Spearman's correlation on each data set left out, beside ridge and the paper's mean (figure 5)."""
    tasks = sorted((task for task in predictor if task not in _NOT_TASKS), key=lambda task: -predictor[task][0])
    names = [*tasks, "mean"]

    def draw(axes: Axes) -> None:
        _intervals(axes, [predictor[name] for name in names], "Predictor", style.BLUE, "o", -0.16)
        _intervals(axes, [ridge[name] for name in names], "Ridge", style.ORANGE, "s", 0.16)
        _paper_line(axes.axvline, paper)
        axes.axvline(0.0, color=style.BLACK, linewidth=0.8)
        axes.axhline(len(tasks) - 0.5, color=style.GREY, linewidth=0.6)
        _name_rows(axes, names)
        axes.set_xlabel("Spearman's correlation,\nwith its 95% interval")

    return _figure(draw, 1.0 + 0.36 * len(names), "x", 3)


def _figure(draw: Callable[[Axes], None], height_inches: float, grid: Any, columns: int) -> Figure:
    with style.styled():
        figure = style.new_figure(height_inches)
        axes = style.new_axes(figure, grid)
        draw(axes)
        style.legend_below(figure, columns, axes)
    return freeze_layout(figure)


def _paper_line(line: Callable[..., Any], paper: float) -> None:
    line(paper, color=style.RED, linestyle=(0, (4, 2)), linewidth=1.3, label=f"The paper's mean, {paper:g}")


def _intervals(axes: Axes, rows: Sequence[Interval], label: str, color: str, marker: str, shift: float) -> None:
    """A mark and a whisker in each row; ``shift`` sets those of two methods apart."""
    errors = [[max(0.0, one[0] - one[1]) for one in rows], [max(0.0, one[2] - one[0]) for one in rows]]
    places = [place + shift for place in range(len(rows))]
    axes.errorbar([one[0] for one in rows], places, xerr=errors, fmt=marker, color=color, label=label, **_LINE)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name, 24) for name in names])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(style.round_ticks(6))
