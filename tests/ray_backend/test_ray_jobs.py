"""A job on the Ray that all tests share: who may submit one, and what it leaves."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from jobs_kit import JOBS, check_strangers_are_refused, request
from ray.job_submission import JobSubmissionClient
from ray_kit import RAY, numbers, prepared_run, write_recipe
from wait_kit import wait_until

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY]


@pytest.fixture
def dashboard(local_ray):
    """Its address, and the token that Ray made for itself."""
    address = ray.init(ignore_reinit_error=True).dashboard_url
    return f"http://{address}", (Path.home() / ".ray" / "auth_token").read_text(encoding="utf-8").strip()


def test_strangers_are_refused(dashboard):
    check_strangers_are_refused(*dashboard)


def test_a_submitted_job_leaves_its_result_and_its_logs(tmp_path, dashboard):
    address, token = dashboard
    here = tmp_path / "working"
    shutil.copytree(JOBS, here / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    # The recipe names another schedule: the job's own wins.
    write_recipe(here / "recipe.yaml", tmp_path / "storage", "minidisc")
    client = JobSubmissionClient(address)

    def submit():
        with suppress(RuntimeError):  # the node's agent may not be up yet
            return client.submit_job(
                entrypoint=f"{sys.executable} jobs/conventional.py recipe.yaml", runtime_env={"working_dir": str(here)}
            )

    job = wait_until(submit, 120, "an agent that starts the job", every=0.3)
    reference = run_in_process(prepared_run(tmp_path / "here", "conventional"))
    wait_until(lambda: client.get_job_status(job).is_terminal(), 240, "the end of the job", every=0.3)
    status, kept = request(address, f"/api/jobs/{job}/logs", token)
    assert status == 200
    assert client.get_job_status(job) == "SUCCEEDED", kept["logs"]

    prepared = prepared_run(tmp_path / "storage", "conventional")
    result = load_result(prepared.run_folder)
    assert result.method == "conventional"
    assert numbers(result) == numbers(reference)
    assert (prepared.run_folder / "report.html").is_file()
    assert f"{prepared.name}: conventional, in {prepared.run_folder}" in kept["logs"]
    assert "student at 10%: accuracy" in kept["logs"]
    assert "main  3/3 student" in kept["logs"]
