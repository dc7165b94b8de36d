"""Work in a thread, looked at from the calling one: how it is stopped, decided without a cluster."""

import subprocess
import sys
import threading
import time

import pytest
from ray_kit import clean_environment
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


LEFT_BEHIND = """
import itertools, sys, threading, time
import ray
from minidisc_ray.cli import app
from minidisc_ray.cli.options import when_stopped
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.supervision.watching import in_thread

def calls_ray_for_ever():
    for number in itertools.count():
        ray.get(ray.put(number))

@app.app.command()
def stand_still():
    with when_stopped("go on later"), cluster(None) as nodes:
        with in_thread(calls_ray_for_ever, must_leave_within=0.5) as is_running:
            assert is_running()
            raise KeyboardInterrupt("anna on laptop")

app.main(["stand-still"])
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_thread_that_stays_in_ray_changes_no_exit_code():
    """Where Ray is shut down under such a thread, the process ends with code 1 or by a signal, and prints that."""
    command = [sys.executable, "-c", LEFT_BEHIND]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "minidisc: stopped by anna on laptop; go on later\n"
