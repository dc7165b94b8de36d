"""A trial that this machine cannot hold: a warning in a plan, an error before Ray is started in a run."""

import pytest
import ray
from cli_kit import write_recipe

from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.ray_backend import cluster as room
from minidisc_ray.ray_backend.nodes import this_machine


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Tests before may have left a Ray in this process.
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    return write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage")


TOO_LARGE = [
    ("compute.cpus_per_worker=1000", "this plan needs 1000 CPUs for one worker"),
    ("compute.gpus_per_worker=1", "this plan needs 1 GPUs for one worker"),
]


@pytest.mark.skipif(this_machine().gpus > 0, reason="this machine has a GPU")
@pytest.mark.parametrize(("override", "message"), TOO_LARGE)
def test_plan_warns_and_run_starts_nothing(minidisc, recipe, tmp_path, monkeypatch, override, message):
    monkeypatch.setattr(room, "_init", lambda address, **options: pytest.fail("Ray was started"))
    planned = minidisc.well("plan", recipe, "--set", override)
    (warning,) = [line for line in planned.splitlines() if line.startswith("warning: this plan needs")]
    assert message in warning
    assert "on this machine alone" in warning
    # A plan from the cache warns too.
    assert warning in minidisc.well("plan", recipe, "--set", override)
    assert message in minidisc("run", recipe, "--set", override).err
    assert not (tmp_path / "storage").exists()


def test_what_fits_is_not_warned_of_and_an_autoscaler_may_add_nodes(minidisc, recipe):
    autoscaling = "compute={cpus_per_worker: 1000, autoscaling: true, max_concurrent_trials: 1}"
    for override in ("compute.cpus_per_worker=1", autoscaling):
        assert "this plan needs" not in minidisc.well("plan", recipe, "--set", override)


def test_a_finished_run_is_shown_wherever_it_ran(minidisc, recipe):
    larger = "compute.cpus_per_worker=1000"
    run_in_process(prepare(load_recipe(recipe, ())))
    assert "student at 10%" in minidisc.well("run", recipe, "--set", larger)


def test_a_cluster_that_is_not_there_is_a_warning_of_plan(minidisc, recipe):
    planned = minidisc.well("plan", recipe, "--address", "http://127.0.0.1:8265")
    assert "warning: compute.address: http://127.0.0.1:8265 is a dashboard's" in planned
