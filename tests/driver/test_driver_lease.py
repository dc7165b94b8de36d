"""One live driver for a run: real processes that live, are killed, and are somewhere else."""

import json
import logging
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from storage_kit import LOCAL
from wait_kit import wait_until

from minidisc_ray.configs import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, driver_of, read_driver, seems_alive, this_driver, user_name
from minidisc_ray.driver.lease import STOP_FILE, Lease, LeaseLostError, leased
from minidisc_ray.driver.stopping import stop
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import write_json

BEATS = {"seconds_between_beats": 0.02}


@pytest.fixture
def run(tmp_path):
    return tmp_path / "storage" / "mrpc-minidisc"


def of_another_machine(folder, **changes):
    """What a driver on another host wrote."""
    driver = this_driver(time.time()).model_copy(
        update={"host": "node-7", "user": "grace", "machine": "another boot", "pid": 4711, **changes}
    )
    write_json(folder / DRIVER_FILE, driver.model_dump(mode="json"))
    return driver


def test_a_second_driver_is_refused_in_one_sentence_while_the_first_lives(run):
    with leased(LOCAL, run, **BEATS) as lease:
        own = lease.own
        with pytest.raises(UserError) as refused, leased(LOCAL, run):
            pytest.fail("two drivers")
        message = str(refused.value)
        assert f"being run by {own.user} on {own.host} (process {os.getpid()}) since 20" in message
        assert f"minidisc stop mrpc-minidisc --storage {run.parent}" in message
        assert read_driver(run).token == own.token
        wait_until(lambda: read_driver(run).beat_at > own.beat_at, 5, "a beat", every=0.01)
    assert not run.exists(), "what did nothing leaves nothing"
    with leased(LOCAL, run):
        pass


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_killed_driver_is_followed_at_once(run, is_reaped, caplog):
    code = "import sys; from pathlib import Path; from minidisc_ray.driver.lease import leased\n"
    code += "from minidisc_ray.files.storage import Storage\n"
    code += "with leased(Storage('/'), Path(sys.argv[1])): print('here', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "here\n"
        assert read_driver(run).pid == process.pid
        with pytest.raises(UserError, match=f"process {process.pid}"), leased(LOCAL, run):
            pytest.fail("two drivers")
    finally:
        stat = Path(f"/proc/{process.pid}/stat")
        process.kill()
        # Not reaped it stays a zombie, as in a container whose first process reaps none.
        process.wait() if is_reaped else wait_until(lambda: ") Z " in stat.read_text(), 5, "its end", every=0.01)
    begun = time.monotonic()
    with leased(LOCAL, run, wait_seconds=60.0):
        assert time.monotonic() - begun < 1.0
        assert read_driver(run).pid == os.getpid()
    assert not caplog.records
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_pid_that_was_given_to_another_process_is_no_drivers(run):
    gone = this_driver(time.time()).model_copy(update={"process_start": "1"})
    write_json(run / DRIVER_FILE, gone.model_dump(mode="json"))
    with leased(LOCAL, run, wait_seconds=0.0):
        pass


def test_a_silent_driver_elsewhere_is_followed_after_the_wait_whatever_its_clock_says(run, caplog):
    of_another_machine(run, beat_at=time.time() + 7200.0)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING), leased(LOCAL, run, wait_seconds=0.3, **BEATS):
        assert 0.3 <= time.monotonic() - begun < 3.0
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("mrpc-minidisc was last driven by grace on node-7 (process 4711) since ")
    assert "waiting up to 0.3 s" in line


def test_a_driver_elsewhere_that_beats_is_alive_whatever_its_clock_says(run):
    driver = of_another_machine(run, beat_at=1.0)
    is_over = threading.Event()

    def beat():
        beats = 1.0
        while not is_over.wait(0.05):
            beats += 1
            of_another_machine(run, token=driver.token, beat_at=beats)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UserError, match="being run by grace on node-7"), leased(LOCAL, run, wait_seconds=30.0):
            pytest.fail("two drivers")
    finally:
        is_over.set()
        thread.join()
    assert read_driver(run).host == "node-7"


def is_lost(lease):
    try:
        lease.check()
    except LeaseLostError:
        return True
    return False


def test_one_that_was_away_too_long_sees_that_it_lost_and_leaves_the_other_alone(run):
    with leased(LOCAL, run, **BEATS) as lease:
        lease.check()
        other = of_another_machine(run)
        wait_until(lambda: is_lost(lease), 5, "a look at the file", every=0.01)
        with pytest.raises(LeaseLostError, match="taken over by grace on node-7"):
            lease.check()
    assert read_driver(run).token == other.token


def test_of_many_at_the_same_moment_one_drives(run):
    barrier, outcomes = threading.Barrier(12), []

    def take():
        lease = Lease(LOCAL, run, (), 5.0)
        barrier.wait()
        try:
            lease.acquire(0.0)
            outcomes.append(lease)
        except UserError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
    assert read_driver(run).token == winner.own.token
    winner.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}', "null"])
def test_a_damaged_file_stops_no_one(run, content):
    run.mkdir(parents=True)
    (run / DRIVER_FILE).write_text(content)
    with leased(LOCAL, run) as lease:
        assert driver_of(run).token == lease.own.token


def test_a_study_beats_for_its_runs(run):
    study, other = run.parent / "study-table", run.parent / "other"
    with leased(LOCAL, study, [run, other], **BEATS):
        before = driver_of(run).beat_at
        wait_until(lambda: driver_of(run).beat_at > before, 5, "a beat", every=0.01)
        message = r"mrpc-minidisc is being run, as part of study-table, by .*stop study-table"
        with pytest.raises(UserError, match=message), leased(LOCAL, run):
            pytest.fail("two drivers")
        assert driver_of(other) is not None
    assert [driver_of(folder) for folder in (study, run, other)] == [None] * 3
    # A killed study leaves marks in its runs, which count no more than its own.
    driver = of_another_machine(study)
    of_another_machine(run, token=driver.token, beats_in="study-table")
    assert driver_of(run) is not None
    of_another_machine(study)
    assert driver_of(run) is None


def test_a_study_takes_all_of_its_runs_or_none(run):
    free = run.parent / "free"
    refused = pytest.raises(UserError, match="mrpc-minidisc is being run")
    with leased(LOCAL, run), refused, leased(LOCAL, run.parent / "study-table", [free, run]):
        pytest.fail("two drivers")
    assert not free.exists()
    assert not (run.parent / "study-table").exists()


def test_at_one_look_a_driver_elsewhere_is_judged_by_its_beat(run):
    now = time.time()
    assert seems_alive(of_another_machine(run, beat_at=now - 30), now)
    assert not seems_alive(of_another_machine(run, beat_at=now - 90), now)
    assert seems_alive(this_driver(now - 1000), now)


def drive(folder, ends, **leave):
    """A driver in a thread, until it is asked to stop."""

    def loop():
        with leased(LOCAL, folder, **BEATS) as lease:
            while not ends.wait(0.01):
                try:
                    lease.check()
                except KeyboardInterrupt:
                    ends.set()

    thread = threading.Thread(target=loop)
    thread.start()
    wait_until(lambda: driver_of(folder), 5, "a driver", every=0.01)
    return thread


@pytest.mark.parametrize("folder_name", ["mrpc-minidisc", "study-mrpc-minidisc"])
def test_a_driver_that_is_asked_to_stop_stops(run, folder_name):
    folder, ends = run.with_name(folder_name), threading.Event()
    thread = drive(folder, ends)
    stopped = stop(Storage(run.parent), "mrpc-minidisc", 10.0)
    thread.join()
    assert (stopped.folder, stopped.outcome, stopped.driver.pid) == (folder, "stopped", os.getpid())
    assert not folder.exists()


def test_a_driver_that_is_busy_is_reported_as_still_running(run):
    with leased(LOCAL, run, **BEATS) as lease:
        stopped = stop(Storage(run.parent), run.name, 0.5)
        assert (stopped.outcome, stopped.seemed_alive) == ("still running", True)
        with pytest.raises(KeyboardInterrupt) as asked:
            lease.check()
        assert str(asked.value) == f"{user_name()} on {platform.node()}"
        lease.check()
        assert not (run / STOP_FILE).exists()


def test_a_request_is_for_one_driver_alone(run):
    write_json(run / STOP_FILE, {"token": "somebody's of yesterday"})
    with leased(LOCAL, run) as lease:
        assert not (run / STOP_FILE).exists()
        write_json(run / STOP_FILE, {"token": "somebody's of yesterday"})
        lease.check()
        assert not (run / STOP_FILE).exists()


class AskedAtOnce(Storage):
    """One in which a driver is asked to stop at the moment that its claim can be seen."""

    def upload(self, path):
        super().upload(path)
        if path.name == DRIVER_FILE:
            write_json(path.with_name(STOP_FILE), {"token": read_driver(path.parent).token})


def test_a_request_that_comes_with_the_claim_is_heeded(run):
    with leased(AskedAtOnce("/"), run) as lease, pytest.raises(KeyboardInterrupt):
        lease.check()


def test_what_does_not_run_is_not_stopped(run):
    run.mkdir(parents=True)
    assert stop(Storage(run.parent), run.name, 5.0).outcome == "not running"
    of_another_machine(run)
    silent = stop(Storage(run.parent), run.name, 0.3)
    assert (silent.outcome, silent.seemed_alive) == ("still running", False)
    assert json.loads((run / STOP_FILE).read_text())["token"] == silent.driver.token


@pytest.mark.parametrize("name", ["nobody", "../storage/mrpc-minidisc", "/etc", "", "."])
def test_a_name_that_is_no_run_is_refused(run, name):
    run.mkdir(parents=True)
    with pytest.raises(UserError, match=r"no run or study of that name in .*minidisc ls --storage"):
        stop(Storage(run.parent), name, 1.0)


def test_a_run_of_a_study_is_stopped_with_the_study(run):
    message = r"run as part of study-table by .*minidisc stop study-table --storage"
    with leased(LOCAL, run.parent / "study-table", [run]), pytest.raises(UserError, match=message):
        stop(Storage(run.parent), run.name, 1.0)
