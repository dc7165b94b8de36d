"""An estimate on workers of a real Ray; half a minute, so called by name: ``pytest -m slow``."""

import pytest
from ray_kit import RAY, prepared_run

from minidisc_ray.ray_backend.timing import estimate_on_ray

pytestmark = [*RAY, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def test_workers_are_timed_alone_and_beside_each_other(tmp_path):
    estimate = estimate_on_ray(prepared_run(tmp_path / "storage", "minidisc"), budget_seconds=3.0)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    over = estimate.overheads
    assert over.at_once == 2
    assert over.slowdown >= 1
    assert min(over.startup_seconds, over.job_seconds, over.sweep_seconds, over.trial_seconds) > 0
    assert [method.kind for method in estimate.methods] == ["conventional", "minidisc", "maxidisc"]
    for method in estimate.methods:
        assert method.startup_device_hours > 0
    minidisc = estimate.methods[1]
    stages = sum(stage.seconds for stage in minidisc.stages)
    assert minidisc.duration_seconds == pytest.approx(
        over.cluster_seconds + over.job_seconds + over.startup_seconds + stages
    )


def test_workers_of_one_trial_are_timed_together(tmp_path):
    estimate = estimate_on_ray(
        prepared_run(tmp_path / "storage", "conventional", "compute.num_workers=2"), budget_seconds=3.0
    )
    assert estimate.devices == 2
    assert estimate.overheads.slowdown == 1
    assert all(timed.num_steps >= 2 for timed in estimate.timed if timed.stage not in ("importance", "choose"))
