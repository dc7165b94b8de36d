"""The figures of the benchmark of AutoDistiller, from numbers that it has saved."""

import importlib.util
import json
import subprocess
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
        shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        for text in shown:
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0, (name, text)
            assert box.x1 <= figure.bbox.x1, (name, text)
            assert figure.bbox.y0 <= box.y0, (name, text)
            assert box.y1 <= figure.bbox.y1, (name, text)
        texts[name] = {text.get_text() for text in shown}
    assert {"The paper's mean, 0.33", "One draw of data sets"} <= texts["3a"]
    assert {"All models", "A of B", "Top 5", "5 random ones", "The teacher"} <= texts["3b"]
    assert {"context embedding", "number of examples"} <= texts["4"]
    assert {"Predictor", "Ridge", "The paper's mean, 0.33", *TASKS} <= texts["5"]
    assert "mean within pairs" not in texts["5"]
    # A mark for each draw.
    (axes,) = drawn["3a"].axes
    assert sorted(len(line.get_xdata()) for line in axes.lines) == [2, 3, 6]


def test_saved_numbers_are_drawn_without_measuring(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(numbers()))
    command = [sys.executable, str(BENCHMARKS / "autodistiller_loo.py"), "--results", str(tmp_path / "results.json")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--results: give a folder with --figures" in refused.stderr
    subprocess.run([*command, "--figures", str(tmp_path / "figures")], check=True, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == [f"figure-{name}.{ending}" for name in ("3a", "3b", "4", "5") for ending in ("png", "svg")]
