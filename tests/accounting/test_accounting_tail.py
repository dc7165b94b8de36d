"""A ledger that is followed: each line once, whole, however it comes."""

import json

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.tail import LedgerTail


def events(tail):
    return [entry["event"] for entry in tail.new_entries()]


def test_only_what_is_new_is_read(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
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
    ledger = Ledger(tmp_path / "ledger.jsonl")
    tail, line = LedgerTail(ledger), json.dumps({"attempt": "a", "event": "beat", "time": 1.0}) + "\n"
    with ledger.path.open("w") as file:
        file.write(line + line[:9])
        file.flush()
        assert events(tail) == ["beat"]
        assert events(tail) == []
        file.write(line[9:] + "no line\n[1]\n" + line)
        file.flush()
    assert events(tail) == ["beat", "beat"]
