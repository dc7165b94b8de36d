"""Objectives in one table: rows of their own, ratios of their steps, and what sets recipes apart."""

import json

import pandas as pd
import pytest
from comparison_kit import row
from reports_builder import model, run_result, several_objectives

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.run_files.result import load_result


def of(frame: pd.DataFrame, method: str, objective: str) -> pd.Series:
    return row(frame[frame["objective"] == objective], method)


def test_objectives_are_rows_of_their_own_ltsd_first():
    frame = compare(several_objectives())
    methods = ["Conventional"] * 3 + ["MiniDisc"] * 3
    assert list(frame["method"]) == ["Teacher", *methods, "Majority class"]
    assert list(frame["objective"]) == ["", *["LTSD", "HS (last)", "KD"] * 2, ""]
    assert set(frame["seeds"].dropna()) == {2}


def test_ratios_to_conventional_stay_within_an_objective():
    frame = compare(several_objectives())
    for objective in ("LTSD", "HS (last)", "KD"):
        assert of(frame, "MiniDisc", objective)["device_hours_ratio"] == pytest.approx(4.0)
    alone = compare([run_result(), run_result("minidisc", objective="KD")])
    assert pd.isna(of(alone, "MiniDisc", "KD")["device_hours_ratio"])


def test_steps_are_relative_to_ltsd_with_the_same_method():
    frame = compare(several_objectives())
    for objective, seconds, memory in (("LTSD", 1.0, 1.0), ("HS (last)", 1.5, 3.0), ("KD", 0.5, 0.25)):
        for method in ("Conventional", "MiniDisc"):
            found = of(frame, method, objective)
            assert found["step_seconds"] == pytest.approx((0.05 + 0.1) / 2 * seconds)
            assert found["step_memory_bytes"] == pytest.approx(1e8 * memory)
            assert found["step_seconds_ratio"] == pytest.approx(seconds)
            assert found["step_memory_ratio"] == pytest.approx(memory)
    assert frame.iloc[[0, -1]][["step_seconds", "step_seconds_ratio"]].isna().all(axis=None)


def test_a_step_has_no_ratio_where_nothing_is_like_it():
    run = run_result("minidisc", objective="KD")
    unlike = {
        "no LTSD": [run_result()],
        "another seed": [run_result("minidisc", seed=1)],
        "another student": [run_result("minidisc", scale=5)],
        "another depth": [run_result("minidisc", student=model(10, 0.8, heads=(1,) * 2, neurons=(300,) * 2))],
        "other devices": [run_result("minidisc", devices="1 x GPU")],
        "two recipes": [run_result("minidisc"), run_result("minidisc", method_digest="other", setting_digest="other")],
        "not measured": [run_result("minidisc", student_step_seconds=None)],
        "free": [run_result("minidisc", student_step_seconds=0.0)],
    }
    for why, others in unlike.items():
        assert pd.isna(of(compare([*others, run]), "MiniDisc", "KD")["step_seconds_ratio"]), why


def test_a_step_that_one_seed_did_not_measure_has_no_mean():
    runs = [run_result("minidisc"), run_result("minidisc", seed=1, student_step_seconds=None)]
    found = row(compare(runs), "MiniDisc")
    assert pd.isna(found["step_seconds"])
    assert found["step_memory_bytes"] == 1e8


def test_recipes_of_one_objective_are_set_apart_and_objectives_are_not():
    runs = [
        run_result("minidisc"),
        run_result("minidisc", objective="KD"),
        run_result("minidisc", objective="KD", method_digest="0123456789", setting_digest="other"),
    ]
    methods = list(compare(runs)["method"])
    assert methods[1] == "MiniDisc"
    assert methods[2] == "MiniDisc [012345]"


def test_units_may_differ_between_objectives_and_not_within_one():
    run = run_result("minidisc", seed=1)
    on_gpu = {"cost": run.cost.model_copy(update={"device_unit": "GPU-hours"})}
    compare([run_result("minidisc"), run_result("minidisc", seed=1, objective="KD", **on_gpu)])
    with pytest.raises(UserError, match="unit of device-hours"):
        compare([run_result("minidisc"), run_result("minidisc", seed=1, **on_gpu)])


def test_a_result_of_before_there_were_objectives_is_one_of_ltsd(tmp_path):
    raw = run_result().model_dump(
        mode="json", exclude={"objective", "student_step_seconds", "student_step_memory_bytes"}
    )
    (tmp_path / "result.json").write_text(json.dumps(raw), encoding="utf-8")
    found = load_result(tmp_path)
    assert (found.objective, found.student_step_seconds) == ("LTSD", None)
    assert list(compare([found])["objective"]) == ["", "LTSD", ""]
