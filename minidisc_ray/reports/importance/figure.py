"""Shares of components and of their pairs, a bar for each task (Distiller, figure 2)."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidisc_ray.autodistiller.importance.component_importance import Importance, Key
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import wrapped
from minidisc_ray.reports.importance.render import key_text

_MAX_KEYS: Final = 8


def importance_figure(importance: Importance) -> Figure:
    """Draw the mean share of each component above that of each pair; dots are tasks, whiskers intervals."""
    singles = _largest(importance, 1)
    pairs = _largest(importance, 2)
    panels = [keys for keys in (singles, pairs) if keys]
    with style.styled():
        figure = style.new_figure(1.0 + 0.34 * sum(len(keys) for keys in panels) + 0.5 * len(panels))
        heights = [len(keys) for keys in panels]
        axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        for one, keys in zip(axes, panels, strict=True):
            _draw(one, importance, keys)
        axes[0].set_title("Alone", loc="left", fontsize=9.5, fontweight="bold")
        if len(panels) > 1:
            axes[1].set_title("In pairs, beyond either alone", loc="left", fontsize=9.5, fontweight="bold")
        axes[-1].set_xlabel("Share of variance, percent")
        style.legend_below(figure, 3, axes[0])
    return freeze_layout(figure)


def _largest(importance: Importance, size: int) -> list[Key]:
    keys = [key for key in importance.means if len(key) == size]
    return sorted(keys, key=lambda key: -importance.means[key].value)[:_MAX_KEYS]


def _draw(axes: Axes, importance: Importance, keys: Sequence[Key]) -> None:
    axes.grid(visible=True, axis="x")
    for place, key in enumerate(keys):
        mean = importance.means[key]
        label = "Mean over tasks" if place == 0 else None
        axes.barh(
            place, 100 * mean.value, height=0.6, color=style.SKY, edgecolor=style.BLACK, linewidth=0.6, label=label
        )
        # Above and below the middle of the bar: neither hides the other.
        below, above = 100 * max(0.0, mean.value - mean.low), 100 * max(0.0, mean.high - mean.value)
        axes.errorbar(
            100 * mean.value, place - 0.13, xerr=[[below], [above]], fmt="none", ecolor=style.BLACK, elinewidth=1.2,
            capsize=2, label="95% interval" if place == 0 else None,
        )  # fmt: skip
        values = [100 * task.shares[key].value for task in importance.tasks if key in task.shares]
        axes.plot(
            values, [place + 0.14] * len(values), "o", color=style.ORANGE, markersize=3.5, markeredgecolor=style.BLACK,
            markeredgewidth=0.4, clip_on=False, label="One task" if place == 0 else None,
        )  # fmt: skip
    axes.set_yticks(range(len(keys)), [wrapped(key_text(key), 24) for key in keys])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
