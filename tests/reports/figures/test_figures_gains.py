"""Figures of gains: where marks stand, what is named, and what is written of them."""

import base64
import re
from dataclasses import replace

import pytest
from matplotlib.colors import to_hex
from PIL import Image
from storage_kit import LOCAL

from minidisc_ray.evaluation.intervals import Interval, Resampling
from minidisc_ray.reports.figures import data_uri, drawings_of, write_figures
from minidisc_ray.reports.figures._style import GREY
from minidisc_ray.reports.figures.gains import gain_data, gain_drawings, gap_figure, rows_figure
from minidisc_ray.study.findings import Finding
from minidisc_ray.study.gains import Gain, trends_of

FEW = Resampling(num_replicates=200)
INTERVAL = Interval(
    mean=0.0, low=0.0, high=0.0, level=0.95, half_width=0.0, lower_bound=0.0, excludes_zero=True, num_seeds=3,
    num_examples=100, num_tasks=1, over="seeds and examples",
)  # fmt: skip
ROWS = {"qnli-500": 450, "qnli-2000": 1800, "qnli-8000": 7200}


def gain(task: str, seed: int, gap: float, found: float, method: str = "TA", **changes) -> Gain:
    values = {
        "teacher": None, "scale_percent": 10, "task": task, "seed": seed, "train_rows": ROWS.get(task),
        "teacher_score": 0.9, "conventional_score": 0.9 - gap, "gap": gap, "method": method,
        "score": 0.9 - gap + found, "gain": found, "same_data": "qnli" if task in ROWS else None,
    }  # fmt: skip
    return Gain(**values | changes)


def gains(methods=("TA", "MiniDisc (race)")) -> list[Gain]:
    """A gain of half the gap for each method, a point less for each one after the first; the gap falls with rows."""
    return [
        gain(task, seed, gap, gap / 2 - place / 100, method)
        for number, task in enumerate(ROWS)
        for seed in (0, 1, 2)
        for gap in [0.3 - number / 10 - seed / 50]
        for place, method in enumerate(methods)
    ]


def marks(axes):
    """The marks of a figure of one mark each, by position."""
    return {
        (round(float(line.get_xdata()[0]), 6), round(float(line.get_ydata()[0]), 6)): line
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_linestyle() == "None"
    }


def svg_text(figure) -> str:
    return base64.b64decode(data_uri(figure).partition(",")[2]).decode()


def test_a_mark_stands_at_each_gap_and_gain_in_its_methods_colour_and_its_tasks_shape():
    found = gains()
    axes = gap_figure(gain_data(found)).axes[0]
    drawn = marks(axes)
    assert set(drawn) == {(round(100 * one.gap, 6), round(100 * one.gain, 6)) for one in found}
    looks = {
        (one.method, one.task): (line.get_color(), line.get_marker())
        for one in found
        for line in [drawn[round(100 * one.gap, 6), round(100 * one.gain, 6)]]
    }
    assert len({color for color, _ in looks.values()}) == 2
    assert len({marker for _, marker in looks.values()}) == 3
    assert len(set(looks.values())) == 6
    text = svg_text(axes.figure)
    for label in ("TA", "MiniDisc (race)", *ROWS, "Teacher minus conventional student, points"):
        assert f">{label}<" in text, label


def test_a_line_with_its_band_is_drawn_only_for_enough_points():
    found = gains()
    few = found[:6]
    assert not list(trends_of(few, FEW))
    assert not gap_figure(gain_data(few, list(trends_of(few, FEW)))).axes[0].collections
    axes = gap_figure(gain_data(found, list(trends_of(found, FEW)))).axes[0]
    assert len(axes.collections) == 2, "a band for each method"
    line = next(line for line in axes.lines if len(line.get_xdata()) > 2)
    # Half the gap, from the smallest gap, 6 points, to the largest.
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((6, 3))
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == pytest.approx((30, 15))


def test_means_over_training_rows_are_those_of_the_seeds():
    axes = rows_figure(gain_data(gains(["TA"]))).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "TA")
    assert list(line.get_xdata()) == list(ROWS.values())
    assert list(line.get_ydata()) == pytest.approx([14, 9, 4])
    assert ">7,200<" in svg_text(axes.figure)


def test_means_over_training_rows_have_the_intervals_of_their_task():
    found = gains(["TA"])
    over = replace(INTERVAL, mean=0.14, low=0.1, high=0.17)
    means = [Finding(None, 10, "qnli-500", "TA", "LTSD", over), Finding(None, 5, "qnli-8000", "TA", "LTSD", over)]
    drawing = gain_drawings(found, [], means)[1]
    assert "Bars are 95% intervals over seeds and examples." in drawing.caption
    bars = [line for line in drawing.figure.axes[0].lines if list(line.get_ydata()) == pytest.approx([10, 17])]
    assert [list(line.get_xdata()) for line in bars] == [[450, 450]], "that of the other scale belongs elsewhere"
    assert "Bars are" not in gain_drawings(found, [])[1].caption


def test_each_teacher_and_scale_has_its_figures_and_each_data_set_of_several_sizes(tmp_path):
    found = [*gains(), *(gain("rte", seed, 0.1, 0.02, teacher="deep", scale_percent=5) for seed in (0, 1))]
    drawings = gain_drawings(found, list(trends_of(found, FEW)))
    assert [drawing.name for drawing in drawings] == ["gain-gap-10pc", "gain-rows-qnli-10pc", "gain-gap-deep-5pc"]
    assert "Lines are least squares" in drawings[0].caption
    assert "Lines are" not in drawings[2].caption
    assert "over up to 3 seeds" in drawings[1].caption
    assert [drawing.name for drawing in drawings_of([], None, found)] == [drawing.name for drawing in drawings]
    paths = write_figures(LOCAL, tmp_path, {drawing.name: drawing.figure for drawing in drawings})
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width == 720
                assert len(image.convert("L").getcolors(256) or []) > 10
    again = gain_drawings(found, list(trends_of(found, FEW)))
    assert [svg_text(one.figure) for one in again] == [svg_text(one.figure) for one in drawings]
    assert gain_drawings([], []) == []


def test_without_a_teacher_that_learned_there_is_no_figure():
    assert gain_drawings([gain("rte", 0, 0.1, 0.05, teacher_has_learned=False)], []) == []


def test_gains_over_a_conventional_student_that_learned_nothing_are_not_drawn_over_the_gap():
    learned = gain("rte", 0, 0.1, 0.05)
    failed = gain("rte", 1, 0.7, 0.65, conventional_has_learned=False)
    assert gain_drawings([failed], []) == []
    (both,), (alone,) = gain_drawings([learned, failed], []), gain_drawings([learned], [])
    assert svg_text(both.figure) == svg_text(alone.figure)


def test_more_methods_and_tasks_than_there_are_looks_are_counted():
    found = [gain(f"task {place}", 0, 0.1 + place / 100, 0.05, f"method {place % 9}") for place in range(18)]
    (drawing,) = gain_drawings(found, [])
    assert drawing.caption.endswith("2 more methods are grey. 8 more tasks are small dots.")
    colors = {to_hex(line.get_color()) for line in marks(drawing.figure.axes[0]).values()}
    assert len(colors) == 8
    assert GREY.lower() in colors


def test_names_from_data_are_drawn_as_they_are():
    (drawing,) = gain_drawings([gain("$x_1$ <b>", 0, 0.1, 0.05, "a & $b$"), gain("c", 0, 0.2, 0.05)], [])
    text = svg_text(drawing.figure)
    assert "$x_1$ &lt;b&gt;" in text
    assert "a &amp; $b$" in text
    assert re.fullmatch(r"[a-z0-9-]+", drawing.name)
