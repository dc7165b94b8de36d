"""A head that dies takes its cluster along; the same command on a new one goes on."""

import signal

import pytest
import ray
from chaos_kit import Nodes, Sweep, end, poll
from ray_kit import RAY_WARNINGS, numbers

from minidisc_ray.configs.study import load_study
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.study import prepare_study

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), *RAY_WARNINGS]


def test_the_same_command_goes_on_after_the_head_was_killed(tmp_path):
    storage = tmp_path / "storage"
    first = Nodes()
    sweep = Sweep(tmp_path, first.address, storage)
    try:
        sweep.start()
        assert poll(lambda: sweep.live("sandwich"), 300), (tmp_path / "driver-001.log").read_text()
        finished = {attempt.name for attempt in sweep.attempts() if attempt.status == "finished"}
        for process in first.cluster.head_node.all_processes.values():
            for info in process:
                info.process.send_signal(signal.SIGKILL)
        assert sweep.wait(180) not in (0, None), "what lost its head says so"
    finally:
        end(sweep.process)
        ray.shutdown()
        first.cluster.shutdown()

    second = Nodes()
    try:
        sweep.address = second.address
        sweep.start()
        assert sweep.wait(600) == 0, (tmp_path / "driver-002.log").read_text()
    finally:
        end(sweep.process)
        second.shutdown()
    found = {name: numbers(result) for name, result in sweep.results().items()}
    study = prepare_study(tmp_path / "study.yaml", storage=str(tmp_path / "undisturbed"))
    assert load_study(tmp_path / "study.yaml").name == "chaos"
    assert found == {run.name: numbers(run_in_process(run)) for run in study.runs}
    teachers = [a for a in sweep.attempts() if a.name == "teacher" and a.status == "finished"]
    assert len(teachers) == 1, "what was finished is not done again"
    assert "teacher" in finished
