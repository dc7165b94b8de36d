"""Importance of components on observations whose effects are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from autodistiller_kit import LOSS_EFFECTS, PREDICTION_EFFECTS, observations

from minidisc_ray.autodistiller.importance.component_importance import component_importance, importance_frame
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.importance.files import write_importance
from minidisc_ray.reports.importance.render import render_importance


def test_additive_effects_get_their_shares_of_variance() -> None:
    frame = observations(tasks=2, noise=1e-4)
    # Rows several times, so that leaves of three rows are one configuration.
    found = component_importance(pd.concat([frame] * 5, ignore_index=True), num_draws=4, num_trees=32)
    variances = {
        "student": np.var([0.0, 0.05]),
        "intermediate loss": np.var(list(LOSS_EFFECTS.values())),
        "prediction loss": np.var(list(PREDICTION_EFFECTS.values())),
    }
    for name, variance in variances.items():
        assert found.means[(name,)].value == pytest.approx(variance / sum(variances.values()), abs=0.03)
    assert found.means[("layer mapping",)].value == pytest.approx(0.0, abs=0.01)
    assert all(share.value < 0.02 for key, share in found.means.items() if len(key) == 2)
    assert found.num_tasks[("student",)] == 2
    assert ("teacher",) not in found.means  # it does not vary
    assert all(task.fit > 0.9 for task in found.tasks)


def test_a_product_is_the_share_of_a_pair() -> None:
    frame = observations(tasks=1, noise=1e-4)
    sign = np.where(frame["student"] == "large", 1.0, -1.0) * np.where(frame["prediction_loss"] == "mse", 1.0, -1.0)
    frame = frame.assign(ratio_to_teacher=0.9 + 0.1 * sign)
    found = component_importance(pd.concat([frame] * 5, ignore_index=True), num_draws=3, num_trees=32)
    assert found.means["prediction loss", "student"].value > 0.8


def test_tasks_without_enough_rows_are_left_out_and_named() -> None:
    frame = observations(tasks=2)
    few = frame[frame["task"] == "task1"].head(4)
    found = component_importance(pd.concat([frame[frame["task"] == "task0"], few]), num_draws=2, num_trees=32)
    assert found.left_out == ("task1",)
    assert "Left out" in render_importance(found, "table")
    with pytest.raises(UserError, match="no task has 10 configurations"):
        component_importance(few)
    with pytest.raises(UserError, match="no task has 10 configurations"):
        component_importance(frame.assign(ratio_to_teacher=1.0))


def test_every_format_and_the_figure_have_the_same_shares(tmp_path: Path) -> None:
    found = component_importance(observations(tasks=2), num_draws=2, num_trees=32)
    table = importance_frame(found)
    assert set(table["task"]) == {"task0", "task1", "mean"}
    student = 100 * found.means[("student",)].value
    assert f"{student:.1f} (" in render_importance(found, "md")
    assert f"{found.means[('student',)].value}" in render_importance(found, "csv")
    paths = write_importance(found, tmp_path / "new")
    assert [path.name for path in paths] == ["importance.csv", "importance.svg", "importance.png"]
    assert "prediction loss" in (tmp_path / "new" / "importance.svg").read_text(encoding="utf-8")
