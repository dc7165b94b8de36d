import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient
from ray_kit import (
    LONG_SANDWICH,
    RAY,
    clean_environment,
    numbers,
    prepared_run,
    processes_below,
    write_recipe,
)
from wait_kit import wait_until

from minidisc_ray.driver.stopping import stop
from minidisc_ray.files.storage import Storage
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY]

JOBS = Path(__file__).parents[2] / "jobs"
RAY_COMMAND = [sys.executable, "-m", "ray.scripts.scripts"]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def head():
    """A head of our own beside whatever else runs here: own ports, own folder, own token, own process group."""
    port, dashboard, client, agent, agent_grpc, metrics = free_ports(6)
    environment = clean_environment(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{dashboard}",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    folder = tempfile.mkdtemp(prefix="mdr", dir="/tmp")  # short: Ray's sockets lie below it
    process = subprocess.Popen(
        [
            *RAY_COMMAND,
            "start",
            "--head",
            "--block",
            "--num-cpus=2",
            "--node-ip-address=127.0.0.1",
            f"--port={port}",
            "--include-dashboard=true",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
            f"--dashboard-agent-grpc-port={agent_grpc}",
            f"--metrics-export-port={metrics}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--temp-dir={folder}",
            "--disable-usage-stats",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: _answers(dashboard) or process.poll() is not None, 120, "the dashboard", every=0.3)
        assert process.poll() is None, "the head ended"
        yield environment
    finally:
        # All of it is ours, and nothing in it is worth a graceful end.
        for pid in (process.pid, *processes_below(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(
    address: str, path: str, token: str | None, submitted: dict[str, str] | None = None
) -> tuple[int, dict[str, Any] | list[Any]]:
    """What the dashboard answers, with its status; 0 and nothing where it does not yet."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = None if submitted is None else json.dumps(submitted).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}{path}", data, headers), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, {}
    except OSError:
        return 0, {}


def check_strangers_are_refused(environment: dict[str, str]) -> None:
    """Without the token, or with another one, everything is refused, a job too."""
    address, token = environment["RAY_API_SERVER_ADDRESS"], environment["RAY_AUTH_TOKEN"]
    wait_until(lambda: request(address, "/api/jobs/", token)[0] == 200, 60, "the jobs' own answer", every=0.3)
    for path in ("/api/jobs/", "/api/cluster_status", "/nodes?view=summary"):
        assert request(address, path, None)[0] == 401
        assert request(address, path, secrets.token_hex(32))[0] in (401, 403)
    job = {"entrypoint": "true", "submission_id": "stranger"}
    assert request(address, "/api/jobs/", None, job)[0] == 401
    assert request(address, "/api/jobs/", token) == (200, [])


def test_a_submitted_job_leaves_its_result_and_its_logs(tmp_path, head):
    here = tmp_path / "working"
    shutil.copytree(JOBS, here / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    # The recipe names another schedule: the job's own wins.
    write_recipe(here / "recipe.yaml", tmp_path / "storage", "minidisc")
    check_strangers_are_refused(head)
    # What `ray job submit` does, which takes seconds of its own; as a command it is in the test below.
    address, token = head["RAY_API_SERVER_ADDRESS"], head["RAY_AUTH_TOKEN"]
    client = JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"})
    client.submit_job(
        submission_id="tiny",
        entrypoint="python jobs/conventional.py recipe.yaml",
        runtime_env={"working_dir": str(here)},
    )
    reference = run_in_process(prepared_run(tmp_path / "here", "conventional"))
    wait_until(lambda: client.get_job_status("tiny").is_terminal(), 240, "the end of the job", every=0.3)
    status, kept = request(address, "/api/jobs/tiny/logs", token)
    assert status == 200
    assert client.get_job_status("tiny") == JobStatus.SUCCEEDED, kept["logs"]

    prepared = prepared_run(tmp_path / "storage", "conventional")
    result = load_result(prepared.run_folder)
    assert result.method == "conventional"
    assert numbers(result) == numbers(reference)
    assert (prepared.run_folder / "report.html").is_file()
    assert f"{prepared.name}: conventional, in {prepared.run_folder}" in kept["logs"]
    assert "student at 10%: accuracy" in kept["logs"]
    assert "main  3/3 student" in kept["logs"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_job_that_is_stopped_exits_with_130_every_time(tmp_path, head):
    """Twenty times, at another moment of the run each time: no thread is left inside Ray when the driver ends."""
    here = tmp_path / "working"
    shutil.copytree(JOBS, here / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    write_recipe(here / "recipe.yaml", tmp_path / "storage", "minidisc")
    address, token = head["RAY_API_SERVER_ADDRESS"], head["RAY_AUTH_TOKEN"]
    wait_until(lambda: request(address, "/api/jobs/", token)[0] == 200, 60, "the jobs' own answer", every=0.3)
    for number in range(20):
        job, name = f"stopped-{number}", f"run-{number}"
        options = ["--no-wait", "--submission-id", job, "--working-dir", str(here)]
        entrypoint = ["python", "jobs/minidisc.py", "recipe.yaml", "--name", name, "--set", LONG_SANDWICH]
        submit = [*RAY_COMMAND, "job", "submit", *options, "--", *entrypoint]
        subprocess.run(submit, env=head, check=True, capture_output=True, timeout=120)
        folder = tmp_path / "storage" / name
        # From the driver's first file on, before its trial has an actor, to the middle of training.
        begun = folder / (".driver.json", "ray", "progress/main.json", "stages/sandwich/newest")[number % 4]
        wait_until(begun.exists, 240, f"{begun} of {job}", every=0.1)
        assert stop(Storage(tmp_path / "storage"), name, wait_seconds=60).outcome == "stopped"

        def ended(job=job):
            return request(address, f"/api/jobs/{job}", token)[1].get("driver_exit_code")

        wait_until(lambda: ended() is not None, 60, f"the exit code of {job}", every=0.3)
        assert ended() == 130, f"{job}, stopped at {begun.name}"
