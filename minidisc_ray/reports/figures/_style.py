"""The style of every figure: one text size, and colours that stay distinct for colour-blind readers and in grey."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# The palette of Okabe and Ito. Yellow is for areas only: yellow lines vanish on white.
BLACK: Final = "#000000"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
RED: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
NAVY: Final = "#003A63"
GREY: Final = "#9AA0A6"
PALE: Final = "#ECEFF2"

# Narrow, so that nine-point text stays readable at a phone's width and two figures fit side by side on a page.
WIDTH_INCHES: Final = 4.8

_SETTINGS: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#5B6675",
    "axes.grid": False,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": ["sans-serif"],
    # matplotlib ships this font, so the layout is the same on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": "#D9DEE5",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "minidisc_ray",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@contextmanager
def styled() -> Iterator[None]:
    """A context in which matplotlib has these settings and ignores the user's matplotlibrc."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box in the PNG, and by the reader's own fonts in the SVG.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the common width, outside pyplot's global state."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def new_axes(figure: Figure, grid: Literal["x", "y", "both"] = "y") -> Axes:
    """The only axes of a figure, with grid lines at the ticks of ``grid``."""
    axes = figure.subplots()
    axes.grid(visible=True, axis=grid)
    return axes


def round_ticks(count: int) -> MaxNLocator:
    """A locator with at most ``count`` intervals between ticks, at round numbers."""
    return MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])


def legend_below(figure: Figure, columns: int, *axes: Axes, order: Sequence[str] = ()) -> None:
    """Add one legend of all axes below the figure; labels in ``order`` come last, in that order."""
    found = [one.get_legend_handles_labels() for one in axes]
    entries = [entry for handles, labels in found for entry in zip(labels, handles, strict=True)]
    entries.sort(key=lambda entry: order.index(entry[0]) if entry[0] in order else -1)
    labels, handles = [label for label, _ in entries], [handle for _, handle in entries]
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.4, borderaxespad=0.2)
