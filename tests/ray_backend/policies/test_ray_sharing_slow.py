"""Several drivers, eight nodes, a thousand trials: each on real Rays of its own, by name only."""

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ray_kit import (
    LONG_SANDWICH,
    RAY,
    clean_environment,
    is_in_sandwich,
    prepared_run,
    processes_below,
    still_there,
    write_recipe,
)
from wait_kit import wait_until

from minidisc_ray.driver.driver import driver_of
from minidisc_ray.driver.stopping import stop
from minidisc_ray.files.storage import Storage

pytestmark = [*RAY, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
MAIN = "from minidisc_ray.cli import main; main()"


def sweep(storage, name, trials, seconds, **more):
    settings = {"storage": str(storage), "name": name, "trials": trials, "seconds": seconds, "compute": {}, **more}
    # A local Ray, as tests share one, asks those who come from outside for its token.
    mode = {"RAY_AUTH_MODE": "token"} if "address" in settings["compute"] else {}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "ray_backend" / "short_sweep.py"), json.dumps(settings)],
        env=clean_environment(**mode), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def outcome(process, seconds=300):
    output, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1]), errors


def test_a_run_that_is_stopped_from_elsewhere_ends_as_by_ctrl_c(tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "minidisc")
    prepared = prepared_run(tmp_path / "storage", "minidisc", LONG_SANDWICH)
    run = [sys.executable, "-c", MAIN, "run", str(recipe), "--set", LONG_SANDWICH]
    process = subprocess.Popen(
        run, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: is_in_sandwich(prepared.run_folder), 180, "the sandwich's first checkpoint")
        below = processes_below(process.pid)
        second = subprocess.run(run, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=100)
        assert second.returncode == 2
        (sentence,) = second.stderr.splitlines()
        assert f"is being run by {driver_of(prepared.run_folder).user} on " in sentence
        assert f"(process {process.pid})" in sentence
        assert stop(Storage(tmp_path / "storage"), prepared.name, 60.0).outcome == "stopped"
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, errors
    resumes = f"run the same command again to resume: {shlex.join(('minidisc', *run[3:]))}"
    assert errors.splitlines() == [f"minidisc: stopped; {resumes}"]
    wait_until(lambda: not still_there(below), 30, f"the end of {still_there(below)}")
    assert not [path.name for path in prepared.run_folder.iterdir() if path.name.startswith(".")]


@pytest.mark.timeout(900)
def test_a_sweep_of_higher_priority_goes_first_and_the_other_goes_on_after_it(tmp_path, local_ray):
    import ray

    address = ray.get_runtime_context().gcs_address
    # Long enough to be there still when the other driver has imported what it needs, on a busy machine too.
    low = sweep(tmp_path, "low", 100, 2.0, compute={"address": address})
    try:
        wait_until(lambda: len(list((tmp_path / "low" / "progress").glob("trial-*.json"))) >= 3, 120, "low's trials")
        high, _ = outcome(sweep(tmp_path, "high", 4, 2.0, compute={"address": address, "priority": 10}))
        found, errors = outcome(low)
    finally:
        if low.poll() is None:
            low.kill()
            low.communicate()
    assert (len(high["stages"]), len(found["stages"])) == (4, 100)
    first, last = high["stages"][0][0], high["stages"][-1][0]
    assert [begin for begin, _ in found["stages"] if first < begin < last] == [], "none begins while the higher waits"
    assert any(begin > last for begin, _ in found["stages"])
    assert found["experiments"] == ["tune-001", "tune-002"]
    assert "low starts no further trial for now: high of" in errors
    assert "low starts trials again" in errors


@pytest.mark.parametrize(("trials", "share"), [(8, 1.0), (12, 1.0), (16, 0.5), (16, 1.0)])
def test_eight_nodes_are_filled_evenly(tmp_path, trials, share):
    compute = {"gpus_per_worker": share, "max_concurrent_trials": trials}
    found, _ = outcome(sweep(tmp_path, "spread", trials, 30.0, compute=compute, nodes=[[4, 2]] * 8))
    assert not found["failed"]
    begins, ends = zip(*found["stages"], strict=True)
    assert max(begins) < min(ends), "all of them at once"
    counts = Counter(found["nodes"])
    assert sum(counts.values()) == trials
    assert len(counts) == 8
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.timeout(1200)
def test_a_thousand_short_trials_grow_neither_memory_nor_time(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "many_trials.py"), "--trials", "1000", "--cpus", "2", "--json"],
        env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=1100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["growth_mb"] < 200, found
    assert found["last_over_first"] <= 1.5, found
