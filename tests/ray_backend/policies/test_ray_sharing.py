"""Whose turn it is, decided without a cluster."""

import pytest
from ray_kit import prepared_run
from storage_kit import LOCAL

from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.sharing import Sweep, Turn, count_trials, sweep_ahead, waiting_trials
from minidisc_ray.ray_backend.policies.sweep_table import SweepTable
from minidisc_ray.run_files.progress import Progress, write_progress


def sweep(name, priority, waiting=0, holding=0):
    return Sweep(name, "ada", priority, waiting, holding)


@pytest.mark.parametrize(
    ("own", "others", "first"),
    [
        (0, [], None),
        (0, [("same", 0, 5)], None),
        (0, [("higher", 1, 1)], "higher"),
        (0, [("higher but content", 1, 0)], None),
        (0, [("lower", -1, 9)], None),
        (100, [("all others", 99, 9)], None),
        (-5, [("low", -4, 1), ("high", 7, 1), ("middle", 3, 1)], "high"),
        (-5, [("low", -4, 1), ("high but content", 7, 0)], "low"),
    ],
)
def test_of_two_priorities_the_lower_waits_while_the_higher_does(own, others, first):
    found = sweep_ahead(sweep("own", own), [sweep(*other) for other in others])
    assert (found.name if found else None) == first


@pytest.mark.parametrize(
    ("ready", "asked_for", "holding", "at_once", "waiting"),
    [
        (10, 0, 0, 4, 4),  # as many as it may have out
        (10, 4, 4, 4, 0),  # its own cap holds it back, and that waits for no one
        (10, 4, 1, 4, 3),  # asked for, and not granted
        (2, 2, 2, 8, 2),
        (0, 3, 3, 8, 0),
        (0, 0, 0, 8, 0),
        (5, 3, 3, 2, 0),
    ],
)
def test_what_waits_for_room(ready, asked_for, holding, at_once, waiting):
    assert waiting_trials(ready, asked_for, holding, at_once) == waiting


class Clock:
    """Seconds that a test lets pass."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def table(clock):
    """One that all sweeps have had the time to speak to."""
    made = SweepTable(clock)
    clock.now = 5.0
    return made


def test_a_sweep_whose_entry_is_not_renewed_is_dead(table, clock):
    assert table.exchange("a", {"says": "a"}) == []
    assert table.exchange("b", {"says": "b"}) == [{"says": "a"}]
    clock.now = 19.0
    assert table.exchange("a", {"says": "more"}) == [{"says": "b"}]
    clock.now = 21.0
    assert table.exchange("a", {"says": "more"}) == []
    assert table.exchange("b", {"says": "b"}) == [{"says": "more"}]
    table.remove("a")
    table.remove("a")
    assert table.exchange("b", {"says": "b"}) == []


def test_a_table_that_has_just_begun_does_not_know_yet_who_is_missing(clock):
    table = SweepTable(clock)
    assert table.exchange("a", {}) is None
    clock.now = 2.9
    assert table.exchange("a", {}) is None
    clock.now = 3.0
    assert table.exchange("a", {}) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared_run(tmp_path_factory.mktemp("sharing"), "conventional")


def begin(run, trial, at=2e9):
    progress = Progress(
        trial=trial, status="running", stage="x", stage_index=1, num_stages=1, started_at=at, updated_at=at
    )
    write_progress(LOCAL, run.run_folder, progress)


def test_sweeps_that_tell_each_other_take_turns(run, table, clock, caplog):
    low, high = (Turn(name, priority, table) for name, priority in (("low", 0), ("high", 5)))
    queue = ItemQueue([Item(run, name, name) for name in ("first", "second")])
    high.set_trials(queue, at_once=2)
    high.exchange()
    low.exchange()
    assert low.blocked_seconds is not None
    assert high.blocked_seconds is None
    assert "low starts no further trial for now: high of" in caplog.text

    queue.next_item(), queue.next_item()
    assert count_trials(queue, 2) == (2, 0), "handed out, without progress yet"
    begin(run, "first", at=1.0)
    assert count_trials(queue, 2) == (2, 0), "that was an earlier attempt"
    begin(run, "first")
    begin(run, "second")
    assert count_trials(queue, 2) == (0, 2)
    high.exchange()
    low.exchange()
    assert low.blocked_seconds is None
    assert "low starts trials again" in caplog.text

    queue.retry("first")  # no more retries: it stays out
    high.set_trials(ItemQueue([Item(run, "third", "third")]), at_once=1)
    high.exchange()
    low.exchange()
    assert low.blocked_seconds is not None
    clock.now += 16.0
    low.exchange()
    assert low.blocked_seconds is None, "the higher one was killed"
    high.exchange()
    low.exchange()
    assert low.blocked_seconds is not None
    high.leave()
    low.exchange()
    assert low.blocked_seconds is None


def test_a_sweep_waits_on_while_the_table_is_started_again(run, table, clock):
    high = Turn("high", 5, table)
    high.set_trials(ItemQueue([Item(run, "only", "only")]), at_once=1)
    high.exchange()
    low = Turn("low", 0, table)
    low.exchange()
    assert low.blocked_seconds is not None
    # Nothing that it said is lost: the entries of both come again.
    low._table = high._table = SweepTable(clock)
    low.exchange()
    assert low.blocked_seconds is not None
    high.exchange()
    clock.now += 4.0
    low.exchange()
    assert low.blocked_seconds is not None


@pytest.mark.parametrize("entry", [{}, {"beat": 1}, {"name": "x", "user": "y", "priority": "a lot"}, [], "{", None])
def test_entries_of_strangers_hold_no_sweep_back(table, entry):
    table.exchange("stranger", entry)
    turn = Turn("own", 0, table)
    turn.exchange()
    assert turn.blocked_seconds is None
