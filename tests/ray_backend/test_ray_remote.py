"""A run in a bucket on Ray, whose driver and workers share no folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bucket_kit import names
from ray_kit import RAY, numbers, prepared_run

from minidisc_ray.accounting.ledger import read_attempts
from minidisc_ray.files.places import local_path
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.fetching import fetch_summaries
from minidisc_ray.run_files.result import RunResult

pytestmark = [*RAY, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("bucket_cluster.py")


@pytest.mark.parametrize("kind", ["minidisc", "maxidisc"])
def test_nodes_that_share_no_folder_give_the_numbers_of_one_process(bucket, tmp_path, kind):
    here = run_in_process(prepared_run(tmp_path / "here", kind))
    result = tmp_path / "result.json"
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_TRAIN_METRICS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    command = [sys.executable, str(SCRIPT), bucket, kind, str(tmp_path / "worker-cache"), str(result)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found = RunResult.model_validate_json(result.read_text())
    assert numbers(found) == numbers(here)
    assert {"result.json", "student/seal.json"} <= set(names(f"{bucket}/{found.name}"))
    driver, worker = local_path(bucket) / found.name, tmp_path / "worker-cache" / "mirrors"
    assert not list(driver.glob("**/stages/sandwich/model"))
    assert list(worker.glob("**/stages/*/model"))
    fetch_summaries(bucket)
    attempts = read_attempts(driver / "ledger.jsonl")
    assert {one.status for one in attempts if one.kind == "stage"} == {"finished"}
    assert any(one.kind == "hold" for one in attempts)
