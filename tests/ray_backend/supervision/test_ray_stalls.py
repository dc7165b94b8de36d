"""A process that stands still is ended, in a trial and between two; nothing else is."""

import json
import os
import signal
import subprocess

import pytest
from ray_kit import command_of, prepared_run
from storage_kit import LOCAL
from wait_kit import wait_until

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.driver.driver import process_start
from minidisc_ray.driver.lease import leased
from minidisc_ray.ray_backend import run as run_module
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.run import RunMonitor
from minidisc_ray.ray_backend.supervision.stalls import (
    StallWatch,
    WorkerProcess,
    _kill,
    end_on_its_node,
    read_worker_process,
)
from minidisc_ray.run_files.progress import Progress, write_progress


class Watched:
    """A watch over one ledger, with a clock that is set and a killer that notes whom it was given."""

    def __init__(self, folder, stall_seconds=20.0, is_killed=True):
        self.ledger, self.now, self.ended = Ledger(LOCAL, folder / "ledger.jsonl"), 0.0, []
        self.answers = [None, is_killed]
        self.watch = StallWatch([self.ledger], stall_seconds, self.end, clock=lambda: self.now)

    def end(self, place):
        self.ended.append(place)
        return lambda: self.answers.pop(0)

    def hold(self, kind="hold", process=(7, "boot")):
        return self.ledger.start(kind, "tune-trial", "main", 1, "cpu-core", node="abc", process=process)

    def pass_seconds(self, seconds, beating=None):
        for _ in range(seconds):
            self.now += 1
            if beating is not None:
                self.ledger.beat(beating)
            self.watch.check([])

    @property
    def statuses(self):
        return [attempt.status for attempt in self.ledger.attempts()]


def test_a_hold_that_is_silent_is_ended_once_and_closed(tmp_path, caplog):
    watched = Watched(tmp_path)
    attempt = watched.hold()
    watched.pass_seconds(100, beating=attempt)
    assert watched.ended == []
    watched.pass_seconds(30)
    assert watched.ended == []
    watched.pass_seconds(100)
    assert watched.ended == [WorkerProcess("abc", 7, "boot")]
    assert watched.statuses == ["failed"]
    assert "main was frozen" in caplog.text


def test_what_was_dead_already_ended_at_its_last_beat(tmp_path):
    watched = Watched(tmp_path, is_killed=False)
    watched.hold()
    watched.pass_seconds(100)
    assert len(watched.ended) == 1
    assert watched.statuses == ["open"]


@pytest.mark.parametrize("how", ["end", "close"])
def test_what_is_over_may_be_silent(tmp_path, how):
    watched = Watched(tmp_path)
    attempt = watched.hold()
    watched.pass_seconds(10)
    getattr(watched.ledger, how)(attempt, "finished")
    watched.pass_seconds(100)
    assert watched.ended == []


@pytest.mark.parametrize(
    "process", [None, (0, "boot"), (-1, "boot"), (2**31, "boot"), ("7", "boot"), (True, "boot"), (7, None)]
)
def test_a_hold_whose_process_is_not_known_is_left_alone(tmp_path, process):
    watched = Watched(tmp_path)
    watched.hold(process=process)
    watched.hold(kind="stage")
    watched.pass_seconds(100)
    assert watched.ended == []


def test_nothing_is_ended_where_a_stall_is_for_ever_or_for_what_was_before(tmp_path):
    watched = Watched(tmp_path, stall_seconds=None)
    watched.hold()
    watched.pass_seconds(100)
    later = Watched(tmp_path)
    later.pass_seconds(100)
    assert watched.ended == later.ended == []


@pytest.mark.parametrize("what_is_there", ["nothing", "what cannot be read"])
def test_a_storage_that_is_away_is_no_silence(tmp_path, what_is_there):
    watched = Watched(tmp_path)
    watched.hold()
    watched.pass_seconds(10)
    aside = tmp_path / "aside"
    watched.ledger.path.rename(aside)
    if what_is_there != "nothing":
        watched.ledger.path.mkdir()
    watched.pass_seconds(100)
    if what_is_there != "nothing":
        watched.ledger.path.rmdir()
    aside.rename(watched.ledger.path)
    watched.pass_seconds(25)
    assert watched.ended == []
    watched.pass_seconds(25)
    assert len(watched.ended) == 1


def test_a_ledger_that_was_cut_is_no_silence(tmp_path):
    watched = Watched(tmp_path)
    attempt = watched.hold()
    watched.pass_seconds(50, beating=attempt)
    watched.ledger.path.write_text("")
    watched.pass_seconds(100, beating=attempt)
    assert watched.ended == []


@pytest.mark.parametrize("node", ["", "node-7", "f" * 56, "a" * 100_000, "A" * 56, "0" * 55])
def test_a_node_that_cannot_be_is_not_asked(node):
    assert end_on_its_node(WorkerProcess(node, 7, "boot"))() is False


def test_a_hold_says_which_process_it_is(tmp_path):
    watched = Watched(tmp_path)
    watched.hold()
    (line,) = watched.ledger.path.read_text().splitlines()
    assert {"pid": 7, "process_start": "boot", "node": "abc"}.items() <= json.loads(line).items()


def progress(updated_at, status="running", trial="main"):
    return Progress(
        trial=trial, status=status, stage="student", stage_index=1, num_stages=1, started_at=0, updated_at=updated_at
    )


def write_place(folder, trial="main", text='{"node_id": "abc", "pid": 7, "process_start": "boot"}'):
    file = folder / "progress" / f".{trial}.place.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_trial_that_stands_still_is_ended_once_in_a_while(tmp_path):
    now, ended = [0.0], []

    def end(place):
        ended.append(place)
        return lambda: True

    watch = StallWatch([], 20.0, end, clock=lambda: now[0])

    def pass_seconds(seconds, shown):
        for _ in range(seconds):
            now[0] += 1
            watch.check([(tmp_path, shown(now[0]))])

    write_place(tmp_path)
    pass_seconds(40, lambda second: progress(second))
    pass_seconds(29, lambda second: progress(40))
    assert ended == []
    pass_seconds(20, lambda second: progress(40))
    assert ended == [WorkerProcess("abc", 7, "boot")]
    pass_seconds(20, lambda second: progress(40))
    assert len(ended) == 2, "as much time again"
    pass_seconds(100, lambda second: progress(40, status="finished"))
    write_place(tmp_path, text="torn")
    pass_seconds(100, lambda second: progress(0))
    assert len(ended) == 2


def test_a_trial_that_stands_still_in_a_study_is_ended_by_its_own_name(tmp_path, monkeypatch):
    ended, shown = [], []

    def end(place):
        ended.append(place)
        return lambda: True

    monkeypatch.setattr(run_module, "end_on_its_node", end)
    runs = [prepared_run(tmp_path, "conventional", f"seed={seed}") for seed in (0, 1)]
    queue = ItemQueue([Item(run, "main", f"title of {number}") for number, run in enumerate(runs)])
    with leased(LOCAL, runs[0].run_folder) as lease:
        monitor = RunMonitor(runs, queue, lease, None, shown.extend)
        now = [0.0]
        monitor._stalls._clock = lambda: now[0]
        queue.next_item()
        write_place(runs[0].run_folder)
        write_progress(LOCAL, runs[0].run_folder, progress(2e9))
        monitor.check()
        assert [found.trial for found in shown] == ["title of 0"]
        now[0] = 2000.0
        monitor.check()
    assert ended == [WorkerProcess("abc", 7, "boot")]


def test_only_the_worker_that_wrote_its_place_is_ended_there():
    worker = subprocess.Popen(["ray::trial", "60"], executable="sleep")
    try:
        # A process that has just begun has no command line for an instant.
        wait_until(lambda: command_of(worker.pid).startswith("ray::"), 10, "the worker's name")
        started = process_start(worker.pid)
        for other in ("1", "", "zombie"):
            _kill(WorkerProcess("abc", worker.pid, other))
        _kill(WorkerProcess("abc", os.getpid(), process_start(os.getpid())))
        assert worker.poll() is None
        _kill(WorkerProcess("abc", worker.pid, started))
        assert worker.wait(timeout=10) == -signal.SIGKILL
        _kill(WorkerProcess("abc", worker.pid, started))
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("pid", ["1e400", "1e300", "0", "-1", "2147483648", "NaN", '"x"', "null", "1" * 400])
def test_a_place_that_cannot_be_is_none(tmp_path, pid):
    write_place(tmp_path, text=f'{{"node_id": "abc", "pid": {pid}, "process_start": "boot"}}')
    assert read_worker_process(tmp_path, "main") is None
