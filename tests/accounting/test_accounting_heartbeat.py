"""What a process holds beats by itself, whatever the storage says; where it is killed its last beat is its end."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from storage_kit import LOCAL

import minidisc_ray
from minidisc_ray.accounting.heartbeat import SECONDS_BETWEEN_BEATS, Heartbeat
from minidisc_ray.accounting.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(LOCAL, tmp_path / "run" / "ledger.jsonl")


@pytest.mark.parametrize("beats", [False, True])
def test_a_process_that_is_killed_leaves_its_beats(ledger, beats):
    code = (
        "import os, sys, time, types\n"
        "package = types.ModuleType('minidisc_ray')\n"  # the ledger's room alone: no torch to import
        "package.__path__ = [sys.argv[2]]; sys.modules['minidisc_ray'] = package\n"
        "from pathlib import Path\n"
        "from minidisc_ray.accounting.ledger import Ledger\n"
        "from minidisc_ray.files.storage import Storage\n"
        "ledger = Ledger(Storage('/'), Path(sys.argv[1]))\n"
        "attempt = ledger.start('stage', 'teacher', 'main', 1, 'cpu-core')\n"
        "ledger.beat_while_open(attempt) if sys.argv[3] == 'True' else time.sleep(0.05) or ledger.beat(attempt)\n"
        "began = time.monotonic(); time.sleep(2.5 if sys.argv[3] == 'True' else 0)\n"
        "print(time.monotonic() - began); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(ledger.path), str(Path(minidisc_ray.__file__).parent), str(beats)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    (attempt,) = ledger.attempts()
    assert attempt.status == "open"
    if beats:
        assert 0 <= float(killed.stdout) - attempt.seconds < 2
    else:
        assert 0.04 < attempt.seconds < 30


def test_a_storage_that_refuses_beats_ends_nothing(ledger, monkeypatch):
    beaten, refusals = threading.Event(), []
    original = Ledger._write

    def write_or_refuse(self, event, entry_now):
        if event == "beat" and len(refusals) < 2:
            refusals.append(event)
            raise OSError("the storage is away")
        original(self, event, entry_now)
        if event == "beat":
            beaten.set()

    monkeypatch.setattr(Ledger, "_write", write_or_refuse)
    beating = Heartbeat(first=0.02)
    attempt = ledger.start("stage", "student", "main", 1, "cpu-core")
    beating.add(attempt, lambda: ledger.beat(attempt))
    assert beaten.wait(10)
    assert len(refusals) == 2
    beating.remove(attempt)
    ledger.end(attempt, "finished")
    assert ledger.attempts()[0].status == "finished"


def test_beats_grow_a_ledger_as_its_module_says(ledger):
    attempt = ledger.start("stage", "student", "main", 1, "cpu-core", time.time() - 36000)
    before = ledger.path.stat().st_size
    ledger.beat(attempt)
    bytes_an_hour = (ledger.path.stat().st_size - before) * 3600 / SECONDS_BETWEEN_BEATS
    assert bytes_an_hour == pytest.approx(190_000, rel=0.1)


def test_what_was_held_before_the_first_line_is_in_it(ledger):
    ledger.start("hold", "tune-trial", "main", 1, "cpu-core", time.time() - 6)
    (found,) = ledger.attempts()
    assert (found.status, found.seconds) == ("open", pytest.approx(6, abs=2))
    ledger.close_abandoned()
    (found,) = ledger.attempts()
    assert (found.status, found.seconds) == ("interrupted", pytest.approx(6, abs=2))
