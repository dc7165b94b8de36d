import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.accounting import ledger as ledger_module
from minidisc_ray.accounting.cost import held_by_stage, startup_device_hours
from minidisc_ray.accounting.ledger import Attempt, Ledger

PACKAGE = str(Path(ledger_module.__file__).parents[1])


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
    return Ledger(tmp_path / "run" / "ledger.jsonl")


def test_device_hours_are_seconds_held_times_devices(ledger):
    write(ledger, "sandwich", 100.0, 1900.0, devices=4)
    (attempt,) = ledger.attempts()
    assert (attempt.seconds, attempt.device_hours, attempt.status) == (1800.0, 2.0, "finished")


def test_a_killed_attempt_counts_up_to_its_last_beat(ledger):
    write(ledger, "student", 1000.0, beats=(1015.0, 1030.0, 1045.0), devices=2)
    (attempt,) = ledger.attempts()
    assert (attempt.seconds, attempt.status) == (45.0, "open")
    assert held_by_stage([attempt])["student"].device_hours == pytest.approx(90 / 3600)


def test_failed_and_interrupted_attempts_are_charged_with_the_one_that_finished(ledger):
    write(ledger, "student", 0.0, 10.0, status="failed")
    write(ledger, "student", 20.0, 25.0, status="interrupted")
    write(ledger, "student", 30.0, beats=(33.0,))
    write(ledger, "student", 40.0, 80.0)
    held = held_by_stage(ledger.attempts())
    assert list(held) == ["student"]
    assert held["student"].seconds == 10 + 5 + 3 + 40


def test_trials_are_told_apart(ledger):
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
    found = [(attempt.name, attempt.status) for attempt in ledger.attempts()]
    assert found == [("teacher", "finished"), ("sandwich", "failed"), ("student", "interrupted")]
    assert all(0 <= attempt.seconds < 60 for attempt in ledger.attempts())


def test_a_process_that_is_killed_leaves_its_beats(ledger):
    code = (
        "import os, sys, time, types; from pathlib import Path\n"
        # The package's folder without what importing the package does: no torch to import.
        "package = sys.modules['minidisc_ray'] = types.ModuleType('minidisc_ray'); package.__path__ = [sys.argv[2]]\n"
        "from minidisc_ray.accounting.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "attempt = ledger.start('stage', 'teacher', 'main', 1, 'cpu-core')\n"
        "time.sleep(0.05); ledger.beat(attempt); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(ledger.path), PACKAGE], check=False)
    assert killed.returncode == -9
    (attempt,) = ledger.attempts()
    assert attempt.status == "open"
    assert 0.04 < attempt.seconds < 30


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e5), st.integers(1, 64)), min_size=1))
def test_the_sum_over_stages_is_the_sum_of_seconds_times_devices(entries):
    attempts = [
        Attempt("stage", name, "main", seconds, devices, "cpu-core", "finished", 0.0)
        for name, seconds, devices in entries
    ]
    total = sum(held.device_hours for held in held_by_stage(attempts).values())
    assert total == pytest.approx(sum(seconds * devices for _, seconds, devices in entries) / 3600)
