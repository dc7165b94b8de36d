"""A ledger that is followed: each line once, whole, however it comes."""

import json
import tracemalloc

import pytest
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.tail import LedgerTail


def events(tail):
    return [entry["event"] for entry in tail.new_entries()]


def test_only_what_is_new_is_read(tmp_path):
    ledger = Ledger(LOCAL, tmp_path / "ledger.jsonl")
    never_there = LedgerTail(ledger)
    assert events(never_there) == []
    attempt = ledger.start("hold", "tune-trial", "main", 1, "cpu-core")
    tail = LedgerTail(ledger)
    assert events(tail) == [], "it begins at the present end"
    assert events(never_there) == ["start"]
    ledger.beat(attempt)
    ledger.end(attempt, "finished")
    assert events(tail) == events(never_there) == ["beat", "end"]
    assert events(tail) == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path):
    ledger = Ledger(LOCAL, tmp_path / "ledger.jsonl")
    tail, line = LedgerTail(ledger), json.dumps({"attempt": "a", "event": "beat", "time": 1.0}) + "\n"
    with ledger.path.open("w") as file:
        file.write(line + line[:9])
        file.flush()
        assert events(tail) == ["beat"]
        assert events(tail) == []
        file.write(line[9:] + "no line\n[1]\n" + line)
        file.flush()
    assert events(tail) == ["beat", "beat"]


@pytest.mark.parametrize("how", ["cut", "replaced"])
def test_a_file_that_was_cut_or_replaced_is_followed_on(tmp_path, how):
    ledger = Ledger(LOCAL, tmp_path / "ledger.jsonl")
    attempt = ledger.start("hold", "tune-trial", "main", 1, "cpu-core")
    for _ in range(50):
        ledger.beat(attempt)
    tail = LedgerTail(ledger)
    if how == "cut":
        ledger.path.write_text("")
    else:
        other = tmp_path / "other"
        other.write_text(ledger.path.read_text() * 2)
        other.replace(ledger.path)
    ledger.end(attempt, "finished")
    assert events(tail)[-1] == "end"
    assert events(tail) == []


def test_a_line_without_an_end_fills_no_memory(tmp_path):
    ledger = Ledger(LOCAL, tmp_path / "ledger.jsonl")
    tail = LedgerTail(ledger)
    with ledger.path.open("wb") as file:
        file.truncate(2**27)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps({"attempt": "a", "event": "beat", "time": 1.0}).encode() + b"\n")
    tracemalloc.start()
    looks = [events(tail) for _ in range(6)]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert looks == [[], [], [], [], ["beat"], []], "32 MiB a look"
    assert most < 2**20
