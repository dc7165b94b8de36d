"""When what failed is tried again, and what hangs is ended: decided without a cluster."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray_kit import prepared_run

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.ray_backend.policies.queue import Failure, Item, ItemQueue
from minidisc_ray.ray_backend.policies.retries import RetryPolicy, RetryState
from minidisc_ray.ray_backend.supervision.leaving import EXIT_PREEMPTED


def test_waits_double_and_attempts_are_bounded():
    waits = RetryState(RetryPolicy(max_failures=3, first_wait_seconds=5.0), time.monotonic)
    assert [waits.record_end("a", False) for _ in range(5)] == [5.0, 10.0, 20.0, None, None]
    assert RetryPolicy(100, 300.0).wait_seconds(90) == 300.0


def test_to_be_asked_to_leave_is_no_failure_but_bounded_too():
    policy = RetryPolicy(max_failures=1, first_wait_seconds=5.0)
    waits = RetryState(policy, time.monotonic)
    assert [waits.record_end("a", True) for _ in range(policy.max_preemptions)] == [0.0] * policy.max_preemptions
    assert waits.record_end("a", False) == 5.0, "a crash afterwards is the first"
    assert waits.record_end("a", True) is None
    assert waits.number("a") > policy.max_preemptions


def test_without_failures_allowed_nothing_is_tried_again():
    assert RetryState(RetryPolicy(0, 5.0), time.monotonic).record_end("a", True) is None
    assert RetryState(RetryPolicy(0, 5.0), time.monotonic).record_end("a", False) is None


def test_an_item_goes_out_again_after_its_wait_and_others_meanwhile(tmp_path):
    run, now = prepared_run(tmp_path, "conventional"), [0.0]
    items = [Item(run, name, name) for name in ("first", "second", "third")]
    items.append(Item(run, "heir", "heir", needs=frozenset({"first"})))
    queue = ItemQueue(items, RetryPolicy(1, 5.0), clock=lambda: now[0])
    assert queue.next_item().title == "first"
    assert queue.retry("first") == 5.0
    assert queue.retries.number("first") == 2
    assert queue.next_item().title == "second"
    assert queue.close("second", None) == []
    assert queue.next_item().title == "third"
    assert queue.close("third", None) == []
    assert queue.next_item() is None
    assert not queue.is_over
    now[0] = 5.0
    assert queue.next_item().title == "first"
    assert queue.retry("first") is None
    assert [lost.title for lost in queue.close("first", Failure("its process died"))] == ["heir"]
    assert queue.is_over


@pytest.mark.parametrize("value", ["1", "never", "-5"])
def test_a_stall_must_be_a_number_of_seconds_that_training_can_keep(value):
    with pytest.raises(UserError, match=r"compute\.stall_seconds"):
        resolve({}, [f"compute.stall_seconds={value}"])


WORK = """
import pathlib, sys, time, threading
from minidisc_ray.ray_backend.supervision.leaving import watch_training, stop_on_sigterm
stop_on_sigterm()
file = pathlib.Path(sys.argv[1])
def train():
    with watch_training(file, float(sys.argv[2])):
        {body}
thread = threading.Thread(target=train)
# Before the thread: one that keeps the interpreter's lock lets no other thread print.
print("started", flush=True)
thread.start()
thread.join()
print("over", flush=True)
time.sleep(float(sys.argv[3]))
"""
MOVES = "for step in range(40): file.write_text(str(step)); time.sleep(0.1)"
HANGS = "file.write_text('1'); time.sleep(60)"
# A regular expression that takes for ever holds the interpreter's lock: no thread of Python's can end it.
HOLDS_THE_LOCK = "file.write_text('1'); import re; re.match('(a+)+$', 'a' * 64 + 'b')"


@contextmanager
def started(
    tmp_path: Path, body: str, stall_seconds: float, idle_seconds: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    arguments = [str(tmp_path / "progress"), str(stall_seconds), str(idle_seconds)]
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(body=body), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_moves_is_left_alone(tmp_path):
    with started(tmp_path, MOVES, 2.0) as process:
        output, errors = process.communicate(timeout=120)
    assert (output.split(), errors) == (["started", "over"], "")


@pytest.mark.parametrize("body", [HANGS, HOLDS_THE_LOCK], ids=["sleeps", "holds_the_lock"])
def test_what_hangs_ends_itself_and_says_where(tmp_path, body):
    with started(tmp_path, body, 1.0) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output.split() == ["started"]
    assert "Timeout" in errors
    assert "in train" in errors


def test_a_process_that_trains_nothing_leaves_at_once(tmp_path):
    with started(tmp_path, "pass", 30.0, idle_seconds=120) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        assert process.stdout.readline() == "over\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == EXIT_PREEMPTED
