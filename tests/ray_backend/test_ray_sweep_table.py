"""The table of sweeps on a real Ray, between drivers of their own: who starts it, and what its end costs."""

import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import ray
import ray.exceptions
from ray_kit import RAY, clean_environment
from wait_kit import wait_until

from minidisc_ray.ray_backend.policies.sharing import Turn, sharing_cluster
from minidisc_ray.ray_backend.policies.sweep_table import ClusterTable

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]

# A driver that says each second what a sweep says that finds no room.
WAITING = """
    import sys, time
    import ray
    from minidisc_ray.ray_backend.policies.sweep_table import ClusterTable
    ray.init(sys.argv[1], log_to_driver=False)
    table, name = ClusterTable(), sys.argv[2]
    while True:
        found = table.exchange(name, {"name": name, "user": "ada", "priority": 5, "waiting": 1, "holding": 0})
        print("starting" if found is None else len(found), flush=True)
        time.sleep(1)
"""


@contextmanager
def driver(name):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WAITING), ray.get_runtime_context().gcs_address, name],
        env=clean_environment(RAY_AUTH_MODE="token"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        # The end of its output is the end of the driver.
        wait_until(lambda: process.stdout.readline() not in ("", "starting\n"), 60, "the driver's first answer")
        yield process
    finally:
        process.kill()
        process.communicate()


def actors():
    return [found for found in ray.util.list_named_actors(all_namespaces=True) if found["namespace"] == "minidisc"]


def test_a_sweep_waits_for_one_of_another_driver_until_that_dies_with_the_table():
    """The other driver started the table, so that its death ends both; the lower one may start trials soon after."""
    with driver("high") as high, sharing_cluster("low", 0) as low:
        wait_until(lambda: low.blocked_seconds is not None, 60, "the higher one's claim")
        assert len(actors()) == 1
        high.kill()
        killed_at = time.monotonic()
        wait_until(lambda: low.blocked_seconds is None, 60, "the end of the claim of a killed driver")
        assert time.monotonic() - killed_at < 30
        low.wait()
        assert len(actors()) == 1
    wait_until(lambda: not actors(), 30, "the end of the table, which no sweep needs any more")


def test_a_claim_outlives_the_driver_that_started_the_table():
    low, observer = Turn("low", 0, ClusterTable()), ClusterTable()
    with driver("first") as first, driver("high"):
        wait_until(lambda: _is_held(low) and _names(observer) == {"low", "first", "high"}, 60, "the claims of both")
        first.kill()
        held: list[bool] = []
        wait_until(lambda: held.append(_is_held(low)) or _names(observer) == {"low", "high"}, 60, "another table")
        assert all(held)
    # A claim that is not renewed ends after 15 s: by a clock that is set, in policies/test_ray_sharing.py.
    for leave in (low.leave, lambda: observer.remove("observer")):
        with suppress(ray.exceptions.RayError):
            leave()
    wait_until(lambda: not actors(), 30, "the end of the table")


def test_a_table_that_several_start_at_once_is_one():
    tables = {str(number): ClusterTable() for number in range(8)}

    def speak(name):
        return wait_until(lambda: _others(tables[name], name), 60, "an answer", every=1.0)

    with ThreadPoolExecutor(len(tables)) as pool:
        found = list(pool.map(speak, tables))
    assert {entry["name"] for others in found for entry in others} == tables.keys()
    assert len(actors()) == 1


def _others(table, name):
    # As a sweep does that is not answered in time.
    with suppress(ray.exceptions.RayError):
        return table.exchange(name, {"name": name})
    return None


def _names(table):
    return {entry["name"] for entry in _others(table, "observer") or ()} - {"observer"}


def _is_held(turn):
    with suppress(ray.exceptions.RayError):
        turn.exchange()
    time.sleep(0.5)
    return turn.blocked_seconds is not None
