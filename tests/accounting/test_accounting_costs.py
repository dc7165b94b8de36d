"""Useful, lost and idle: by hand, and as properties of whatever a ledger may hold."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.accounting.attempts import Attempt, attempts_of
from minidisc_ray.accounting.cost import held_by_stage, shares, startup_device_hours


def attempt(name, start, seconds, devices=1.0, status="finished", safe=0.0, kind="stage", trial="main", **more):
    return Attempt(kind, name, trial, seconds, devices, "cpu-core", status, start, safe_seconds=safe, **more)


def split(attempts, **options):
    return [(share.attempt.name, share.useful, share.lost, share.idle) for share in shares(attempts, **options)]


def test_what_a_killed_attempt_had_safe_is_useful_and_the_rest_is_lost():
    ledger = [
        attempt("group", 0.0, 100.0, devices=2, kind="hold"),
        attempt("teacher", 10.0, 20.0, devices=2),
        attempt("student", 30.0, 25.0, devices=2, status="open", safe=15.0),
        attempt("student", 60.0, 30.0, devices=2),
    ]
    assert split(ledger) == [("teacher", 40, 0, 20), ("student", 30, 20, 0), ("student", 60, 0, 30)]
    student = held_by_stage(ledger)["student"]
    assert (student.seconds, student.attempts) == (55.0, 2)
    assert student.device_hours == pytest.approx(110 / 3600)
    assert student.lost_device_hours == pytest.approx(20 / 3600)
    assert startup_device_hours(ledger) == pytest.approx(50 / 3600)


def test_without_a_checkpoint_all_of_a_failed_attempt_is_lost():
    assert split([attempt("student", 0.0, 9.0, status="failed")]) == [("student", 0, 9, 0)]


def test_an_attempt_that_is_alive_has_lost_nothing_yet():
    ledger = [attempt("student", 1000.0, 50.0, status="open", safe=30.0)]
    assert split(ledger, live_at=1053.0) == [("student", 50, 0, 0)]
    assert split(ledger, live_at=1070.0) == split(ledger) == [("student", 30, 20, 0)]


def test_time_that_two_attempts_claim_is_held_once():
    hold = attempt("group", 0.0, 100.0, kind="hold")
    thought_dead = attempt("student", 0.0, 60.0, status="interrupted", safe=20.0)
    successor = attempt("student", 40.0, 60.0)
    assert split([hold, thought_dead, successor]) == [("student", 20, 20, 0), ("student", 60, 0, 0)]


def test_two_holds_really_hold_twice():
    ledger = [
        attempt("group", 0.0, 10.0, kind="hold"),
        attempt("group", 0.0, 10.0, kind="hold"),
        attempt("student", 0.0, 10.0),
        attempt("student", 5.0, 5.0),
    ]
    assert split(ledger) == [("student", 10, 0, 0), ("student", 5, 0, 5)]


def test_a_hold_in_which_nothing_was_begun_is_idle():
    assert split([attempt("group", 5.0, 7.0, devices=3, kind="hold")]) == [("group", 0, 0, 21)]
    assert startup_device_hours([attempt("group", 5.0, 7.0, devices=3, kind="hold")]) == 21 / 3600


def test_energy_is_summed_where_it_is_known():
    ledger = [attempt("student", 0.0, 5.0, energy_joules=100.0), attempt("student", 5.0, 5.0)]
    assert held_by_stage(ledger)["student"].energy_joules == 100.0
    assert held_by_stage(ledger[1:])["student"].energy_joules is None


def test_ten_thousand_attempts_are_summed_in_a_moment():
    ledger = [attempt("student", 2.0 * number, 1.0, status="failed", safe=0.5) for number in range(10_000)]
    ledger.append(attempt("group", 0.0, 20_000.0, kind="hold"))
    # Of this process alone, so that a busy machine is no slow program.
    begun = time.process_time()
    student = held_by_stage(ledger)["student"]
    assert time.process_time() - begun < 2.0
    hours = (student.useful_device_hours, student.lost_device_hours, student.idle_device_hours)
    assert hours == pytest.approx((5000 / 3600, 5000 / 3600, 10_000 / 3600))


# Sixteenths of a second: floats hold them and their sums exactly.
times = st.integers(0, 400).map(lambda sixteenths: sixteenths / 16)
statuses = st.sampled_from(["finished", "failed", "interrupted", "open"])
attempts = st.builds(
    attempt,
    name=st.sampled_from(["teacher", "student"]),
    start=times,
    seconds=times,
    devices=st.sampled_from([0.25, 1.0, 2.0, 8.0]),
    status=statuses,
    safe=times,
    kind=st.sampled_from(["stage", "stage", "hold"]),
    trial=st.sampled_from(["a", "b"]),
)


def held_by_an_independent_meter(ledger):
    """Device-seconds, a sixteenth of a second at a time: each trial's holds, or its largest attempt where more."""
    total = Fraction(0)
    for trial in ("a", "b"):
        for tick in range(16 * 51):
            now = (tick + 0.5) / 16
            open_now = [
                one for one in ledger if one.trial == trial and one.started_at <= now < one.started_at + one.seconds
            ]
            holds = sum(Fraction(one.devices) for one in open_now if one.kind == "hold")
            largest = max((Fraction(one.devices) for one in open_now if one.kind == "stage"), default=Fraction(0))
            total += max(holds, largest) / 16
    return total


@settings(max_examples=60, deadline=None)
@given(st.lists(attempts, max_size=7))
def test_useful_lost_and_idle_sum_to_what_an_independent_meter_counts(ledger):
    found = shares(ledger)
    assert all(min(share.useful, share.lost, share.idle) >= 0 for share in found)
    assert sum(Fraction(share.held) for share in found) == held_by_an_independent_meter(ledger)
    assert all(share.lost == 0 for share in found if share.attempt.status == "finished")
    assert all(share.useful + share.lost <= share.attempt.seconds * share.attempt.devices for share in found)
    of_stages = [one for one in ledger if one.kind == "stage"]
    assert [share.attempt for share in found if share.attempt.kind == "stage"] == sorted(
        of_stages, key=lambda one: [*dict.fromkeys(other.trial for other in ledger)].index(one.trial)
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(times, times, st.sampled_from([1.0, 4.0]), statuses, times), min_size=1, max_size=6))
def test_attempts_one_after_another_within_their_hold_are_charged_whole(parts):
    at, ledger = 1e9, []
    for gap, seconds, devices, status, safe in parts:
        ledger.append(attempt("student", at + gap, seconds, devices, status, safe))
        at += gap + seconds
    hold = attempt("group", 1e9, at - 1e9, max(part[2] for part in parts), kind="hold")
    found = shares([hold, *ledger])
    assert [share.useful + share.lost for share in found] == [one.seconds * one.devices for one in ledger]
    assert sum(share.held for share in found) == hold.seconds * hold.devices


moments = st.floats(-1e6, 2e9) | st.just(1e9)
lines = st.fixed_dictionaries(
    {"attempt": st.sampled_from(["x", "y"]), "time": moments},
    optional={
        "event": st.sampled_from(["start", "beat", "checkpoint", "end", "close", "energy", "other"]),
        "seconds": st.floats(-10, 1e6) | st.sampled_from([float("nan"), "7", None, True]),
        "status": st.sampled_from(["finished", "failed"]),
        "step": st.integers() | st.text(),
        "joules": st.floats() | st.none(),
    },
)
begun = [
    {"attempt": one, "event": "start", "time": 1e9, "kind": "stage", "name": one, "trial": "a", "devices": 2,
     "device_type": "cpu-core"}
    for one in "xy"
]  # fmt: skip


@settings(deadline=None)
@given(st.lists(lines, max_size=12).flatmap(lambda found: st.permutations([*begun, *found])))
def test_no_order_of_lines_and_no_clock_makes_a_number_negative(entries):
    found = attempts_of(entries)
    assert sorted(one.name for one in found if one.devices == 2) == ["x", "y"]
    assert all(0 <= one.safe_seconds <= one.seconds for one in found)
    parts = shares(found)
    assert all(min(share.useful, share.lost, share.idle) >= 0 for share in parts)
    assert sum(share.held for share in parts) <= sum(one.seconds * one.devices for one in found) * (1 + 1e-9)
