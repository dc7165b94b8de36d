"""A head that dies takes its cluster along; the same command on a new one goes on."""

import signal
from contextlib import suppress

import psutil
import pytest
from chaos_kit import Sweep, end, poll
from office_kit import Office, start_office
from ray_kit import numbers

from minidisc_ray.api.studies import prepare_study
from minidisc_ray.pipeline.in_process import run_in_process

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]


def kill_head(office: Office) -> None:
    """All of its processes, without notice; the other node is left to find out."""
    head = psutil.Process(office.nodes[0].pid)
    for process in (head, *head.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def test_the_same_command_goes_on_after_the_head_was_killed(tmp_path):
    # Nothing of Ray in this process: what is connected to a head ends with it.
    storage = tmp_path / "storage"
    first = start_office(head_cpus=1, worker_cpus=1)
    sweep = Sweep(tmp_path, first.address, storage, environment=first.environment)
    try:
        sweep.start()
        assert poll(lambda: sweep.live("sandwich", 20), 300), (tmp_path / "driver-001.log").read_text()
        finished = {attempt.name for attempt in sweep.attempts() if attempt.status == "finished"}
        kill_head(first)
        assert sweep.wait(240) not in (0, None), "what lost its head says so"
    finally:
        end(sweep.process)
        first.end()

    second = start_office(head_cpus=1, worker_cpus=1)
    try:
        sweep.address, sweep.environment = second.address, second.environment
        sweep.start()
        assert sweep.wait(600) == 0, (tmp_path / "driver-002.log").read_text()
    finally:
        end(sweep.process)
        second.end()
    found = {name: numbers(result) for name, result in sweep.results().items()}
    study = prepare_study(tmp_path / "study.yaml", storage=str(tmp_path / "undisturbed"))
    assert found == {run.name: numbers(run_in_process(run)) for run in study.runs}
    teachers = [a for a in sweep.attempts() if a.name == "teacher" and a.status == "finished"]
    assert len(teachers) == 1, "what was finished is not done again"
    assert "teacher" in finished
