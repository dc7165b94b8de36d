"""A process that holds devices and is frozen as a whole is ended, between two trials too."""

import json

import pytest
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.ray_backend.supervision.frozen import HoldWatch
from minidisc_ray.ray_backend.supervision.stalls import Place, end_on_its_node


class Watched:
    """A watch over one ledger, with a clock that is set and a killer that notes whom it was given."""

    def __init__(self, folder, stall_seconds=20.0, is_killed=True):
        self.ledger, self.now, self.ended = Ledger(LOCAL, folder / "ledger.jsonl"), 0.0, []
        self.answers = [None, is_killed]
        self.watch = HoldWatch([folder], stall_seconds, self.end, clock=lambda: self.now)

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
            self.watch.check()

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
    assert watched.ended == [Place("abc", 7, "boot")]
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


def test_what_is_over_is_not_opened_again_by_its_own_first_line(tmp_path):
    watched = Watched(tmp_path)
    attempt = watched.hold()
    first_line = watched.ledger.path.read_text()
    watched.ledger.end(attempt, "finished")
    watched.pass_seconds(5)
    with watched.ledger.path.open("a") as file:
        file.write(first_line)
    watched.pass_seconds(100)
    assert watched.ended == []


def test_a_ledger_that_was_cut_is_no_silence(tmp_path):
    watched = Watched(tmp_path)
    attempt = watched.hold()
    watched.pass_seconds(50, beating=attempt)
    watched.ledger.path.write_text("")
    watched.pass_seconds(100, beating=attempt)
    assert watched.ended == []


@pytest.mark.parametrize("node", ["", "node-7", "f" * 56, "a" * 100_000, "A" * 56, "0" * 55])
def test_a_node_that_cannot_be_is_not_asked(node):
    assert end_on_its_node(Place(node, 7, "boot"))() is False


def test_a_hold_says_which_process_it_is(tmp_path):
    watched = Watched(tmp_path)
    watched.hold()
    (line,) = watched.ledger.path.read_text().splitlines()
    assert {"pid": 7, "process_start": "boot", "node": "abc"}.items() <= json.loads(line).items()
