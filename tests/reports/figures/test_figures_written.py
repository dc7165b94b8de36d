"""What is written of figures: files, what a page holds, captions and names."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from figures_kit import chains, figures_of, svg_text
from PIL import Image
from reports_builder import model, run_result, several_seeds
from storage_kit import LOCAL

from minidisc_ray.reports.figures import drawings_of, write_figures
from minidisc_ray.reports.figures.accuracy import (
    AccuracyData,
    MethodPoint,
    accuracy_drawings,
    accuracy_figure,
)
from minidisc_ray.reports.figures.cost import cost_drawings


@pytest.mark.parametrize("runs", [pytest.param(several_seeds(), marks=pytest.mark.slow), chains()])
def test_files_are_whole_and_the_same_each_time(tmp_path, runs):
    first = write_figures(LOCAL, tmp_path / "first", figures_of(runs))
    figures = figures_of(runs)
    for figure in figures.values():
        svg_text(figure)  # written before, in whatever order: nothing moves
    second = write_figures(LOCAL, tmp_path / "second", figures)
    assert [path.name for path in first] == [path.name for path in second]
    assert sorted(path.name for path in first) == sorted(path.name for path in (tmp_path / "first").iterdir())
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        if one.suffix == ".svg":
            root = ET.fromstring(one.read_bytes())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert root.get("width") == "345.6pt"
        else:
            with Image.open(one) as image:
                assert image.width == 720
                assert len(image.convert("L").getcolors(256) or []) > 10


def test_a_page_has_the_figures_as_their_files_are(tmp_path):
    found = drawings_of([run_result("minidisc"), run_result(task="rte")])
    write_figures(LOCAL, tmp_path, {drawing.name: drawing.figure for drawing in found})
    assert found
    for drawing in found:
        text = svg_text(drawing.figure)
        assert text == (tmp_path / f"{drawing.name}.svg").read_text(encoding="utf-8")
        # Nothing is fetched: what it refers to is in it, and it holds no picture.
        ids = re.findall(r'\bid="([^"]+)"', text)
        references = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'xlink:href="#([^"]+)"', text)
        assert references
        assert set(references) <= set(ids)
        assert not re.search(r"<image|<script|url\((?!#)", text)


def test_names_from_data_are_drawn_as_they_are(tmp_path):
    odd = {"task": "a/b", "label": "$x_1$ <b>&amp;\x08 表", "objective": r"\frac{$ \$ ^^", "primary_metric": "m$e$t"}
    models = {"teacher": model(100, 0.9, "m$e$t"), "student": model(10, 0.8, "m$e$t")}
    runs = [
        run_result(method, **odd, **models, majority_metrics={"m$e$t": 0.5}) for method in ("conventional", "maxidisc")
    ]
    figures = figures_of(runs)
    text = "".join(svg_text(figure) for figure in figures.values())
    assert "m$e$t" in text
    assert "$x_1$ &lt;b&gt;&amp;amp; 表" in text
    assert "<b>" not in text
    for path in write_figures(LOCAL, tmp_path, figures):
        assert re.fullmatch(r"[a-z0-9-]+\.(svg|png)", path.name)


def test_a_users_own_style_changes_nothing():
    import matplotlib as mpl

    plain = svg_text(figures_of([run_result()])["cost-mrpc-10pc"])
    with mpl.rc_context({"font.size": 30, "text.parse_math": True, "svg.fonttype": "path", "axes.grid": True}):
        assert svg_text(figures_of([run_result()])["cost-mrpc-10pc"]) == plain


def test_neither_a_window_nor_pyplot_is_needed():
    code = "import sys, minidisc_ray.reports.figures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_captions_name_the_seeds_where_methods_differ():
    every, some = "seeds 0, 1, 2 of Conventional and 0, 1 of", "TA (40%), MiniDisc, MaxiDisc"
    for drawings in (accuracy_drawings(several_seeds()), cost_drawings(several_seeds())):
        (drawing,) = drawings
        assert f"{every} {some}" in drawing.caption
    (same,) = accuracy_drawings([run for run in several_seeds() if run.seed < 2])
    assert "; 2 seeds." in same.caption


def test_the_names_of_the_front_hide_no_seed_line():
    data = AccuracyData(
        "F1", "core-hours",
        (
            MethodPoint("Conventional", 2.0, 0.80, ((2.0, 0.76), (2.0, 0.84))),
            MethodPoint("MiniDisc", 8.0, 0.83, ((6.0, 0.83), (10.0, 0.83))),
        ),
        (0, 1),
    )  # fmt: skip
    axes = accuracy_figure(data).axes[0]
    named = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert named
    for point in data.points:
        for hours, metric in point.seeds:
            for share in range(11):
                on_line = (
                    point.hours + (hours - point.hours) * share / 10,
                    point.metric + (metric - point.metric) * share / 10,
                )
                x, y = axes.transData.transform((on_line[0], 100 * on_line[1]))
                assert not any(box.contains(x, y) for box in named.values()), (point.name, share)
