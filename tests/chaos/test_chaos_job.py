"""A sweep submitted with a token to two nodes and a head that runs no trial; one of the two dies half-way."""

import csv
import io
import json
import signal

import psutil
import pytest
from chaos_kit import STUDY, Sweep, poll
from office_kit import ROOT, Office, start_office
from ray_kit import numbers
from rich.console import Console

from minidisc_ray.ray_backend.supervision.stalls import read_worker_process

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

# Columns that a clock, a meter or the fault itself fills.
_MEASURED = ("hours", "seconds", "cost", "price", "ratio", "device", "memory", "attempts")


@pytest.fixture
def office():
    made = start_office(head_cpus=0, worker_cpus=1, num_workers=2)
    yield made
    made.end()


def job(office: Office, name: str, script: str, *words: str, wait: bool = False) -> str:
    """Submit one of the jobs; what was said by its end, or at once.

    Nothing travels with it: two raylets on one machine share the folder that it would travel to, and the one whose
    trials are over removes it from below the driver of the other.
    """
    options = ["--submission-id", name, *(() if wait else ("--no-wait",))]
    done = office.ray("job", "submit", *options, "--", "python", str(ROOT / "jobs" / script), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submit(office: Office, name: str, folder, storage) -> None:
    """Submit the study; returns at once."""
    study = folder / f"{name}.yaml"
    study.write_text(json.dumps(STUDY), encoding="utf-8")
    job(office, name, "study.py", str(study), "--storage", str(storage), "--format", "json")


def wait_for(office: Office, name: str) -> str:
    """The job's logs, when it has succeeded."""
    followed = office.ray("job", "logs", name, "--follow")
    status = office.ray("job", "status", name)
    assert f"Job '{name}' succeeded" in status.stdout + status.stderr, followed.stdout + status.stdout + status.stderr
    return followed.stdout


def table(office: Office, name: str, storage) -> list[dict[str, str]]:
    """The comparison of all runs of a storage, by a job of its own, without what is measured again."""
    runs = [str(path) for path in sorted(storage.iterdir()) if (path / "identity.json").is_file()]
    said = job(office, f"{name}-table", "compare.py", *runs, "--format", "csv", wait=True)
    lines = [line for line in said.splitlines() if line.count(",") > 5]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert len(rows) >= len(STUDY["methods"]), said
    return [{k: v for k, v in row.items() if not any(word in k.lower() for word in _MEASURED)} for row in rows]


def kill_node_of(office: Office, pid: int) -> bool:
    """The raylet of the node that a process runs on, without notice, as a machine goes whose power is cut."""
    for node in office.nodes[1:]:
        below = psutil.Process(node.pid).children(recursive=True)
        if pid in {process.pid for process in below}:
            (raylet,) = [process for process in below if process.name() == "raylet"]
            raylet.send_signal(signal.SIGKILL)
            return True
    return False


def test_a_submitted_sweep_that_loses_a_node_ends_with_the_same_table(office, tmp_path):
    calm, rough = tmp_path / "calm-runs", tmp_path / "rough-runs"
    submit(office, "calm", tmp_path, calm)
    wait_for(office, "calm")
    expected = {path.name: numbers(result) for path, result in _results(calm)}
    assert len(expected) == len(STUDY["methods"])
    undisturbed = table(office, "calm", calm)

    submit(office, "rough", tmp_path, rough)
    half = len(expected) // 2
    watched = Sweep(tmp_path, "", rough)

    def at_work() -> int | None:
        """Half-way: the process of a trial that has begun to train."""
        finished = sum((run / "result.json").exists() for run in watched.runs())
        live = watched.live(step=20) if finished >= half else []
        place = read_worker_process(live[0][0], live[0][1].trial) if live else None
        return None if place is None else place.pid

    pid = poll(at_work, 600)
    assert pid, office.ray("job", "logs", "rough").stdout
    assert kill_node_of(office, pid)
    wait_for(office, "rough")
    assert {path.name: numbers(result) for path, result in _results(rough)} == expected
    disturbed = table(office, "rough", rough)
    assert disturbed == undisturbed
    ends = [attempt.status for attempt in watched.attempts() if attempt.kind == "stage"]
    assert "failed" in ends or "interrupted" in ends or "open" in ends, "nothing was running on the node that died"
    Console(width=160).print(disturbed)


def _results(storage):
    sweep = Sweep(storage, "", storage)
    return [(run, sweep.results()[run.name]) for run in sweep.runs()]
