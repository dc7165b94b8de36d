import platform
import shutil
import threading
import time

import pytest
from storage_kit import LOCAL

from minidisc_ray.accounting.cost import held_by_stage, startup_device_hours
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.files.storage import Storage


def write(ledger, name, start, end=None, beats=(), devices=1.0, kind="stage", trial="main", status="finished"):
    """One attempt whose times are given."""
    attempt = f"{kind}-{name}-{start}-{trial}"
    common = {"kind": kind, "name": name, "trial": trial, "devices": devices, "device_type": "cpu-core"}
    ledger.append({"attempt": attempt, "event": "start", "time": start, **common})
    for beat in beats:
        ledger.append({"attempt": attempt, "event": "beat", "time": beat})
    if end is not None:
        ledger.append({"attempt": attempt, "event": "end", "status": status, "time": end})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(LOCAL, tmp_path / "run" / "ledger.jsonl")


def test_device_hours_are_seconds_held_times_devices(ledger):
    write(ledger, "sandwich", 100.0, 1900.0, devices=4)
    (attempt,) = ledger.attempts()
    assert (attempt.seconds, attempt.device_hours, attempt.status) == (1800.0, 2.0, "finished")


def test_a_killed_attempt_counts_up_to_its_last_beat(ledger):
    write(ledger, "student", 1000.0, beats=(1015.0, 1030.0, 1045.0), devices=2)
    (attempt,) = ledger.attempts()
    assert (attempt.seconds, attempt.status) == (45.0, "open")
    assert held_by_stage([attempt])["student"].device_hours == pytest.approx(90 / 3600)


def test_what_a_former_driver_left_open_ends_at_its_last_beat_whenever_the_next_one_comes(ledger):
    write(ledger, "student", 1000.0, beats=(1015.0, 1030.0), devices=4)
    ledger.close_abandoned()
    ledger.close_open("main", "failed")  # a worker of the next driver's, lost a weekend later
    (attempt,) = ledger.attempts()
    assert (attempt.seconds, attempt.status) == (30.0, "interrupted")


def test_failed_and_interrupted_attempts_are_charged_with_the_one_that_finished(ledger):
    write(ledger, "student", 0.0, 10.0, status="failed")
    write(ledger, "student", 20.0, 25.0, status="interrupted")
    write(ledger, "student", 30.0, beats=(33.0,))
    write(ledger, "student", 40.0, 80.0)
    held = held_by_stage(ledger.attempts())
    assert list(held) == ["student"]
    assert held["student"].seconds == 10 + 5 + 3 + 40


def test_trials_are_set_apart(ledger):
    write(ledger, "student", 0.0, 10.0, trial="scale-60")
    write(ledger, "student", 0.0, 30.0, trial="scale-30")
    assert held_by_stage(ledger.attempts(), "scale-30")["student"].seconds == 30
    assert held_by_stage(ledger.attempts(), "scale-60")["student"].seconds == 10
    assert held_by_stage(ledger.attempts())["student"].seconds == 40
    assert held_by_stage(ledger.attempts(), "scale-99") == {}


@pytest.mark.parametrize("torn", ['{"attempt": "x", "ev', "", "[1, 2]", '{"foreign": 1}', "\x00\x00", '"text"'])
def test_torn_and_foreign_lines_are_passed_over(ledger, torn):
    write(ledger, "teacher", 0.0, 5.0)
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write(torn + "\n")
    write(ledger, "student", 5.0, 9.0)
    assert [(attempt.name, attempt.seconds) for attempt in ledger.attempts()] == [("teacher", 5.0), ("student", 4.0)]


HUGE = "1" + "0" * 400
START = '{"attempt": "x", "event": "start", "kind": "stage", "name": "student", "trial": "main", "devices": 1, '
DAMAGED = [
    START + f'"device_type": "cpu-core", "time": {HUGE}}}',
    START + f'"device_type": "cpu-core", "time": 5.0, "number": {HUGE}}}',
    START + '"device_type": "cpu-core", "time": 5.0, "devices": 1e308}',
    START + '"device_type": "cpu-core", "time": 5.0, "name": ["student"]}',
    START + '"device_type": "cpu-core", "time": 5.0, "node": "\\ud800"}',
    *(
        f'{{"attempt": "stage-teacher-0.0-main", "event": "{event}", "time": 3.0, {more}}}'
        for event, more in (
            ("beat", f'"seconds": {HUGE}'),
            ("beat", '"seconds": 1e308'),
            ("beat", '"seconds": NaN'),
            ("checkpoint", f'"step": {HUGE}'),
            ("energy", '"joules": 1e400'),
            ("beat", '"time": 1e300'),
        )
    ),
]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_line_whose_numbers_cannot_be_costs_that_line_only(ledger, damaged):
    write(ledger, "teacher", 0.0)
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write(damaged + "\n")
    ledger.append({"attempt": "stage-teacher-0.0-main", "event": "end", "status": "finished", "time": 5.0})
    write(ledger, "student", 5.0, 9.0)
    found = [(one.name, one.seconds, one.safe_step, one.energy_joules) for one in ledger.attempts()]
    assert found == [("teacher", 5.0, None, None), ("student", 4.0, None, None)]
    assert sum(held.device_hours for held in held_by_stage(ledger.attempts()).values()) == pytest.approx(9 / 3600)


def test_a_last_line_cut_by_a_kill_leaves_the_attempt_open(ledger):
    write(ledger, "teacher", 0.0, beats=(7.0,))
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write('{"attempt": "stage-teacher-0.0-main", "event": "end", "status": "fin')
    assert [(attempt.seconds, attempt.status) for attempt in ledger.attempts()] == [(7.0, "open")]


def test_a_missing_ledger_has_no_attempts(ledger):
    assert ledger.attempts() == []


def test_startup_is_what_was_held_outside_every_stage(ledger):
    write(ledger, "placement", 0.0, 100.0, kind="hold", devices=2)
    write(ledger, "teacher", 20.0, 50.0, devices=2)
    write(ledger, "student", 50.0, 90.0, devices=2)
    assert startup_device_hours(ledger.attempts()) == pytest.approx(2 * 30 / 3600)
    assert "placement" not in held_by_stage(ledger.attempts())


def test_without_a_hold_there_is_no_startup(ledger):
    write(ledger, "teacher", 20.0, 50.0)
    assert startup_device_hours(ledger.attempts()) == 0.0


def test_the_context_writes_how_it_ended(ledger):
    with ledger.attempt("stage", "teacher", "main", 1, "cpu-core") as attempt:
        ledger.beat(attempt)
    with pytest.raises(RuntimeError), ledger.attempt("stage", "sandwich", "main", 1, "cpu-core"):
        raise RuntimeError
    with pytest.raises(KeyboardInterrupt), ledger.attempt("stage", "student", "main", 1, "cpu-core"):
        raise KeyboardInterrupt
    stopped = {"interrupted_by": (TimeoutError,)}
    with pytest.raises(TimeoutError), ledger.attempt("hold", "process", "main", 1, "cpu-core", **stopped):
        raise TimeoutError
    found = [(attempt.name, attempt.status) for attempt in ledger.attempts()]
    assert found == [
        ("teacher", "finished"), ("sandwich", "failed"), ("student", "interrupted"), ("process", "interrupted"),
    ]  # fmt: skip
    assert all(0 <= attempt.seconds < 60 for attempt in ledger.attempts())


def test_a_torn_line_does_not_take_the_next_one_with_it(ledger):
    write(ledger, "teacher", 0.0, 5.0)
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write('{"attempt": "stage-teacher-0.0-main", "event": "be')
    write(ledger, "student", 5.0, 9.0)
    assert [(attempt.name, attempt.seconds) for attempt in ledger.attempts()] == [("teacher", 5.0), ("student", 4.0)]


def test_attempts_are_numbered_within_their_stage_and_trial_and_say_where_they_ran(ledger):
    for name, trial, kind in (("student", "a", "stage"), ("student", "b", "stage"), ("student", "a", "stage")):
        ledger.start(kind, name, trial, 2, "cpu-core", node="node-7", device_model="Xeon")
    ledger.start("hold", "student", "a", 2, "cpu-core")
    found = ledger.attempts()
    assert [(one.kind, one.trial, one.number) for one in found] == [
        ("stage", "a", 1), ("stage", "b", 1), ("stage", "a", 2), ("hold", "a", 1),
    ]  # fmt: skip
    assert {(one.node, one.device_model) for one in found[:3]} == {("node-7", "Xeon")}
    assert (found[3].node, found[3].device_model) == (platform.node(), "")


def test_lines_of_the_first_release_are_read_and_numbered_by_their_order(ledger):
    write(ledger, "student", 0.0, 10.0, status="failed")
    write(ledger, "student", 20.0, 25.0)
    assert [(one.number, one.node, one.safe_seconds) for one in ledger.attempts()] == [(1, "", 0.0), (2, "", 0.0)]


def test_a_checkpoint_says_what_is_safe(ledger):
    write(ledger, "student", 100.0, 110.0, status="failed")
    for at, step in ((103.0, 30), (106.5, 60)):
        ledger.append({"attempt": "stage-student-100.0-main", "event": "checkpoint", "step": step, "time": at})
    (attempt,) = ledger.attempts()
    assert (attempt.safe_seconds, attempt.safe_step) == (0.0, None), "what comes after its end is not its own"
    write(ledger, "teacher", 200.0)
    for at, step in ((203.0, 30), (206.5, 60)):
        ledger.append({"attempt": "stage-teacher-200.0-main", "event": "checkpoint", "step": step, "time": at})
    attempt = ledger.attempts()[1]
    assert (attempt.safe_seconds, attempt.safe_step, attempt.seconds) == (6.5, 60, 6.5)


def close_at(ledger, at, trial, status):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: at)
        return ledger.close_open(trial, status)


def test_who_sees_a_death_closes_what_was_left_open_once(ledger):
    write(ledger, "student", 100.0, beats=(104.0,), trial="a")
    write(ledger, "placement", 99.0, beats=(104.0,), trial="a", kind="hold")
    write(ledger, "student", 100.0, beats=(104.0,), trial="b")
    write(ledger, "student", 108.0, beats=(109.0,), trial="a")
    assert len(close_at(ledger, 106.0, "a", "failed")) == 2
    assert close_at(ledger, 107.0, "a", "interrupted") == [], "both are closed already"
    found = [(one.kind, one.trial, one.seconds, one.status) for one in ledger.attempts()]
    assert found == [
        ("stage", "a", 6.0, "failed"),
        ("hold", "a", 7.0, "failed"),
        ("stage", "b", 4.0, "open"),
        ("stage", "a", 1.0, "open"),  # began after the dead: its successor
    ]


def test_an_attempt_that_was_thought_dead_tells_its_own_end(ledger):
    write(ledger, "student", 100.0, beats=(104.0,))
    close_at(ledger, 120.0, None, "failed")
    assert ledger.attempts()[0].seconds == 20.0
    ledger.append({"attempt": "stage-student-100.0-main", "event": "end", "status": "finished", "time": 110.0})
    ledger.append({"attempt": "stage-student-100.0-main", "event": "beat", "time": 111.0})
    assert [(one.seconds, one.status) for one in ledger.attempts()] == [(10.0, "finished")]


def test_a_clock_that_is_set_back_changes_no_seconds(ledger, monkeypatch):
    attempt = ledger.start("stage", "student", "main", 1, "cpu-core")
    ledger.beat(attempt)
    true_time = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: true_time() - 3600)
        ledger.checkpoint(attempt, 5)
        ledger.end(attempt, "finished")
    (found,) = ledger.attempts()
    assert 0 <= found.safe_seconds <= found.seconds < 60


def test_a_run_that_was_removed_stays_removed(ledger):
    attempt = ledger.start("stage", "student", "main", 1, "cpu-core")
    shutil.rmtree(ledger.path.parent)
    with pytest.raises(OSError, match="No such file"):
        ledger.beat(attempt)
    assert not ledger.path.parent.exists()


@pytest.mark.parametrize("waits_to", ["begin", "end"])
def test_what_waits_for_its_storage_to_say_that_it_begins_or_ended_is_held_meanwhile(ledger, waits_to):
    storage = Storage(ledger.path.parent)
    ledger = Ledger(storage, ledger.path)
    ledger.start("hold", "tune-trial", "another", 1, "cpu-core")
    attempt = None if waits_to == "begin" else ledger.start("hold", "tune-trial", "main", 1, "cpu-core")
    root = ledger.path.parent
    storage.wait_up_to(20.0)
    root.rename(aside := root.with_name("aside"))
    is_back = threading.Timer(1.0, lambda: aside.rename(root))
    is_back.start()
    attempt = attempt or ledger.start("hold", "tune-trial", "main", 1, "cpu-core", time.time())
    ledger.end(attempt, "finished")
    is_back.join()
    found = ledger.attempts()[-1]
    assert (found.trial, found.status) == ("main", "finished")
    assert 1.0 <= found.seconds < 10
