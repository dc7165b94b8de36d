"""The figures of the benchmark of AutoDistiller, from numbers that it has saved."""

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = ("cola", "a-task-with-a-long-name", "stsb")


def numbers() -> dict[str, Any]:
    """As ``--output`` has them; the intervals of one task do not hold its value."""
    correlations: dict[str, Any] = {task: [0.4, 0.2, 0.6] for task in (*TASKS, "mean", "mean within pairs")}
    shares = {"top": [1.0, 0.9, 1.02], "random": [0.7, 0.72, 0.8], "gain": [0.3, 0.2, 0.4]}
    names = ("all models, ratio_to_teacher", "A of B, ratio_to_teacher", "A of B, ratio (equation 2)")
    return {
        "predictor": correlations,
        "ridge": {**correlations, "stsb": [-0.1, -0.3, 0.2]},
        "figure 3a": {"2": [0.34, 0.4, 0.3], "4": [0.4, 0.44], "7": [0.49]},
        "figure 3b": {f"{name}, {task}": shares for name in names for task in (*TASKS, "mean")},
        "figure 4": {"context embedding": [0.6, 0.4, 1.3], "number of examples": [0.0, -0.001, 0.0]},
    }


@pytest.fixture(scope="module")
def figures() -> Any:
    spec = importlib.util.spec_from_file_location("autodistiller_figures", BENCHMARKS / "autodistiller_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_text_is_cut_and_what_has_to_be_there_is(figures: Any) -> None:
    found = numbers()
    drawn = {
        "3a": figures.number_of_tasks(found["figure 3a"], 0.33),
        "3b": figures.top_against_random(found["figure 3b"]),
        "4": figures.feature_groups(found["figure 4"]),
        "5": figures.held_out_correlations(found["predictor"], found["ridge"], 0.33),
    }
    texts = {}
    for name, figure in drawn.items():
        # Of all that is drawn, in inches.
        box, size = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) >= 0, name
        assert box.x1 <= size[0], name
        assert box.y1 <= size[1], name
        texts[name] = {text.get_text() for text in figure.findobj(Text)}
    assert {"The paper's mean, 0.33", "One draw of data sets"} <= texts["3a"]
    assert {"All models", "A of B", "Top 5", "5 random ones", "The teacher"} <= texts["3b"]
    assert {"context embedding", "number of examples"} <= texts["4"]
    assert {"Predictor", "Ridge", "The paper's mean, 0.33", *TASKS} <= texts["5"]
    assert "mean within pairs" not in texts["5"]
    # A mark for each draw.
    (axes,) = drawn["3a"].axes
    assert sorted(len(line.get_xdata()) for line in axes.lines) == [2, 3, 6]


def test_saved_numbers_are_drawn_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(numbers()))
    monkeypatch.syspath_prepend(BENCHMARKS)
    command = [str(BENCHMARKS / "autodistiller_loo.py"), "--results", str(tmp_path / "results.json")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        runpy.run_path(command[0], run_name="__main__")
    assert "--results: give a folder with --figures" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*command, "--figures", str(tmp_path / "figures")])
    runpy.run_path(command[0], run_name="__main__")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == [f"figure-{name}.{ending}" for name in ("3a", "3b", "4", "5") for ending in ("png", "svg")]
