"""How a local Ray is started, and what is said where it does not start."""

import logging
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import pytest
import ray
from ray_kit import call, clean_environment, write_recipe

from minidisc_ray.configs.base import UserError
from minidisc_ray.ray_backend import cluster as room
from minidisc_ray.ray_backend.cluster import cluster, kept_cluster, outlives_run

TIMED_OUT = "The current node timed out during startup. This could happen because some of the raylet failed to startup."
PORT_IN_USE = "Failed to start the dashboard agent: port 52365 is already in use"


@pytest.fixture
def starts(monkeypatch):
    """Ray's start in place of which errors come, one for each try; None stands for a Ray."""
    errors, addresses, ended = [], [], []

    def init(address, **options):
        addresses.append(address)
        if (error := errors.pop(0)) is not None:
            raise error

    monkeypatch.setattr(room, "_init", init)
    monkeypatch.setattr(room, "living_nodes", list)
    monkeypatch.setattr(room, "_SECONDS_BETWEEN_TRIES", 0.0)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(len(addresses)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return errors, addresses, ended


def test_a_slow_start_is_tried_once_more(starts, caplog):
    caplog.set_level(logging.WARNING, "minidisc_ray")
    errors, addresses, ended = starts
    errors += [RuntimeError(TIMED_OUT), None]
    with cluster(None):
        assert not outlives_run()
    assert addresses == ["local", "local"]
    assert ended == [1, 2], "what was left of the first try goes before the second one"
    assert "trying once more" in caplog.text


@pytest.mark.parametrize(
    ("text", "advice"),
    [(TIMED_OUT, "give --address auto"), (PORT_IN_USE, "--dashboard-agent-listen-port")],
    ids=["busy", "port"],
)
def test_the_second_failure_says_what_to_do(starts, text, advice):
    errors, addresses, _ = starts
    errors += [RuntimeError(text), RuntimeError(text)]
    with pytest.raises(RuntimeError, match="Ray did not start") as raised, cluster(None):
        pytest.fail("there is no cluster")
    assert text[:40] in str(raised.value)
    assert advice in str(raised.value)
    assert len(addresses) == 2


def enter(address):
    with cluster(address):
        pytest.fail("there is no cluster")


def test_a_cluster_that_is_not_there_is_no_local_one(starts):
    errors, addresses, _ = starts
    errors += [ConnectionError("no Ray")]
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"^compute.address: the cluster at {address} could not be reached \(no Ray"
        ):
            enter(address)
    assert addresses == [address]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_dead_host_is_not_waited_for(starts, monkeypatch, scheme):
    """Ray alone would try for most of a minute; one that refuses, and one that does not answer at all."""
    monkeypatch.setattr(room, "_SECONDS_TO_REACH", 0.2)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        host, port = full.getsockname()
        address = f"{scheme}{host}:{port}"
        with suppress(TimeoutError):
            # What is not accepted fills the queue, and the system then drops every further packet.
            for _ in range(10):
                stack.enter_context(socket.create_connection((host, port), 0.2))
        begun = time.monotonic()
        with pytest.raises(UserError, match=rf"^compute.address: nothing answers at {address} \(timed out\)"):
            enter(address)
        assert time.monotonic() - begun < 10
    with pytest.raises(UserError, match=rf"^compute.address: nothing answers at {address} \(.*refused"):
        enter(address)
    assert starts[1] == [], "Ray was not asked"


@pytest.mark.parametrize("address", ["auto", "head", "head:port"])
def test_what_is_no_host_with_a_port_is_for_ray(starts, address):
    starts[0].append(ConnectionError("no Ray"))
    with pytest.raises(UserError, match=rf"the cluster at {address} could not be reached"):
        enter(address)


def test_one_ray_for_all_runs_of_a_command(starts):
    errors, addresses, ended = starts
    errors += [None]
    with cluster(None):
        for _ in range(2):
            with cluster(None):
                assert not outlives_run(), "it ends with the command"
        assert not ended
        with pytest.raises(KeyboardInterrupt), cluster(None):
            raise KeyboardInterrupt
        assert ended == [1], "the workers of a run that is stopped end before its ledger is closed"
    assert addresses == ["local"]


def test_what_a_run_starts_is_kept_for_the_runs_that_follow(starts):
    errors, addresses, ended = starts
    with kept_cluster():
        assert not addresses, "nothing is started before a run asks for it"
        errors += [None]
        for _ in range(2):
            with cluster(None):
                assert not outlives_run(), "it ends with the command"
        assert (addresses, ended) == (["local"], [])
    assert ended == [1]
    errors += [None, None]
    with pytest.raises(KeyboardInterrupt), kept_cluster(), cluster(None):
        raise KeyboardInterrupt
    assert ended == [1, 2], "a run that is stopped ends it at once"
    with cluster(None):
        pass
    assert ended == [1, 2, 3], "later runs have one of their own again"


def test_a_dashboards_address_is_refused_in_one_sentence(starts, capsys, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "minidisc")
    code, _, errors = call(capsys, "run", recipe, "--address", "http://127.0.0.1:8265")
    assert code == 2
    (sentence,) = errors.splitlines()
    assert sentence.startswith("minidisc: compute.address: http://127.0.0.1:8265 is a dashboard's; give the cluster's")
    assert not starts[1], "no Ray was asked for"
    assert not (tmp_path / "storage").exists()


NOWHERE = "teacher={kind: pretrained, path: nowhere/at-all}"


def test_a_mistake_is_one_sentence_beside_a_ray_that_starts(starts, capsys, monkeypatch, tmp_path):
    # Without a network the hub would be tried for a minute; the variable is read at the import, long ago here.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    starts[0].append(None)
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "conventional")
    code, _, errors = call(capsys, "run", recipe, "--set", NOWHERE)
    assert code == 2
    (sentence,) = errors.splitlines()
    assert sentence.startswith("minidisc: teacher.path: ")
    assert starts[2] == [1], "the Ray that had started ends"
    assert not (tmp_path / "storage").exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(120)
def test_a_mistake_that_is_found_while_ray_starts_is_one_sentence(tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "conventional")
    arguments = ["run", str(recipe), "--set", NOWHERE]
    done = subprocess.run(
        [sys.executable, "-c", "from minidisc_ray.cli import main; main()", *arguments],
        env=clean_environment(HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("minidisc: teacher.path: ")
    assert not (tmp_path / "storage").exists()
