"""Work in a thread, looked at from the calling one: how it is stopped, decided without a cluster."""

import threading
import time

import pytest
from wait_kit import wait_until

from minidisc_ray.ray_backend.supervision.watching import in_thread, is_stopped


def watch(action, check):
    with in_thread(action) as is_running:
        while is_running():
            check()


def stop():
    raise KeyboardInterrupt("anna on laptop")


def test_what_is_stopped_has_left_before_the_caller_goes_on():
    left = threading.Event()

    def work():
        wait_until(is_stopped, 10, "the stop", every=0.01)
        left.set()

    with pytest.raises(KeyboardInterrupt, match="anna on laptop"):
        watch(work, stop)
    assert left.is_set()
    assert is_stopped()


def test_what_does_not_leave_is_not_waited_for_long():
    is_over, started = threading.Event(), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        watch(lambda: is_over.wait(60), stop)
    assert time.monotonic() - started < 10
    is_over.set()


def test_a_failure_is_the_callers_and_the_next_run_is_not_stopped():
    with pytest.raises(KeyboardInterrupt):
        watch(lambda: threading.Event().wait(0.2), stop)
    seen = []

    def fail():
        seen.append(is_stopped())
        raise ValueError("work failed")

    with pytest.raises(ValueError, match="work failed"):
        watch(fail, lambda: None)
    assert seen == [False]
