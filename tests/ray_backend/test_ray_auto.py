"""Runs on Ray that decide by themselves whether to use an assistant, alone; one among many is in the default run."""

import pytest
from ray_kit import RAY, SCHEDULES, attempts_of, numbers, prepared_run, run_on_ray, student_weights

from minidisc_ray.pipeline.in_process import run_in_process

pytestmark = [*RAY, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]
ASSISTANT = {"kind": "assistant", "assistant_percent": 40}
SCHEDULES["auto_small"] = {"kind": "auto", "min_gap_points": 100, "then": ASSISTANT}
SCHEDULES["auto_large"] = {"kind": "auto", "min_gap_points": 0, "then": ASSISTANT}


@pytest.mark.parametrize("kind", ["auto_small", "auto_large"])
def test_a_run_decides_as_in_one_process(tmp_path, kind):
    on_ray, here = (prepared_run(tmp_path / place, kind, "distil.num_epochs=2") for place in ("ray", "here"))
    result = run_on_ray(on_ray)
    assert numbers(result) == numbers(run_in_process(here))
    assert student_weights(on_ray) == student_weights(here)
    stages = [stage.name for stage in attempts_of(on_ray, "stage")]
    assert stages[2:4] == ["probe", "decide"]


def test_two_workers_go_on_from_the_probe_together(tmp_path):
    overrides = ("distil.num_epochs=2", "compute.num_workers=2")
    auto, conventional = (prepared_run(tmp_path, kind, *overrides) for kind in ("auto_small", "conventional"))
    assert run_on_ray(auto).student == run_on_ray(conventional).student
    assert student_weights(auto) == student_weights(conventional)
