"""Connects to a Ray cluster, or starts a local one for the length of a run."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit

import ray

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.redact import redact
from minidisc_ray.log import logger
from minidisc_ray.ray_backend.policies.resources import Node
from minidisc_ray.ray_backend.supervision.watching import is_left_behind

_ENVIRONMENT = {
    # A report waits for the controller's next poll, which with the default of 2 s would delay every epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TOKENIZERS_PARALLELISM": "false",
    # verbose=0 silences only the older reporter wholly; the driver shows progress itself.
    "RAY_AIR_NEW_OUTPUT": "0",
}


_START_ATTEMPTS = 2
_SECONDS_BETWEEN_TRIES = 2.0
# For each address of the host's name, of which there may be two.
_SECONDS_TO_REACH = 5.0

_outlives_run = threading.Event()
_is_started_here = threading.Event()
_is_kept = threading.Event()


def outlives_run() -> bool:
    """Whether this process was connected to Ray before the latest run, and stays connected after it."""
    return _outlives_run.is_set()


@contextmanager
def cluster(address: str | None) -> Iterator[list[Node]]:
    """Connect to the cluster at an address (else ``RAY_ADDRESS``), or start a local Ray; yields the living nodes.

    The connection, or the local Ray, ends with the context. An inner context uses the outer one's Ray, and shuts it
    down if it is left by an exception. A process that was connected before, for instance a notebook, stays connected.

    Raises:
        UserError: if there is no cluster at the address.
        RuntimeError: if a local Ray does not start.
    """
    if _is_started_here.is_set():
        try:
            yield living_nodes()
        except BaseException:
            # Workers end before the caller marks the run as stopped, so that they cannot overwrite that.
            _disconnect()
            raise
        return
    if ray.is_initialized():
        _outlives_run.set()
        yield living_nodes()
        return
    _outlives_run.clear()
    _connect(address)
    _is_started_here.set()
    try:
        yield living_nodes()
    except BaseException:
        _end()
        raise
    if not _is_kept.is_set():
        _end()


@contextmanager
def kept_cluster() -> Iterator[None]:
    """Within it, the Ray that a run starts stays for the runs that follow; nothing is started before."""
    _is_kept.set()
    try:
        yield
    finally:
        _is_kept.clear()
        if _is_started_here.is_set():
            _end()


def _end() -> None:
    _is_started_here.clear()
    _disconnect()


def _disconnect() -> None:
    if not is_left_behind():
        ray.shutdown()


def _connect(address: str | None) -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and address.startswith(("http://", "https://")):
        raise UserError(
            f"compute.address: {address} is a dashboard's; give the cluster's own address (HOST:6379 or auto), or "
            "submit a job to the dashboard with `ray job submit`"
        )
    if address is not None:
        logger.info("connecting to the Ray cluster at %s", redact(address))
        _check_reachable(address)
        try:
            _init(address)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            hint = (
                ""
                if os.environ.get("RAY_AUTH_MODE") == "token"
                else "; if it asks for a token, set RAY_AUTH_MODE=token"
            )
            raise UserError(
                f"compute.address: the cluster at {address} could not be reached ({first_line(error)}){hint}"
            ) from error
    else:
        logger.info("starting a local Ray")
        _start_local()
    _protect_token()


def _check_reachable(address: str) -> None:
    """Refuse an address that does not answer: Ray alone would try it for most of a minute.

    Raises:
        UserError: if no connection to it opens within some seconds.
    """
    try:
        found = urlsplit(address if "://" in address else f"//{address}")
        host, port = found.hostname, found.port
    except ValueError:
        return  # Ray says what is wrong with it
    if host is None or port is None:
        return  # such as auto
    try:
        create_connection((host, port), _SECONDS_TO_REACH).close()
    except OSError as error:
        raise UserError(
            f"compute.address: nothing answers at {address} ({first_line(error)}); check the address, and that a Ray "
            "cluster runs there"
        ) from error


def _start_local() -> None:
    """Start a Ray for this process; a second time where its processes were too slow for each other."""
    for number in range(1, _START_ATTEMPTS + 1):
        try:
            # Without "local", Ray would try the address of an earlier cluster that is gone.
            _init("local", include_dashboard=True)
            return
        except Exception as error:
            ray.shutdown()
            if number == _START_ATTEMPTS:
                raise RuntimeError(_start_error(error)) from error
            logger.warning("Ray did not start (%s); trying once more", first_line(error))
            time.sleep(_SECONDS_BETWEEN_TRIES)


def _start_error(error: Exception) -> str:
    text = f"Ray did not start: {first_line(error)}"
    if "port" in str(error).lower() and "in use" in str(error).lower():
        return (
            f"{text}; another Ray on this machine has the port: attach to it with --address auto, or start that one "
            "with --dashboard-agent-listen-port and --metrics-export-port of its own"
        )
    return (
        f"{text}; the machine may be busy or short of memory: try again, or start Ray yourself with `ray start --head` "
        "and give --address auto"
    )


def _init(address: str, **options: Any) -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    # Restores the caller's handler: Ray's exits with 15, and its core prints a stack and aborts 3 s later.
    if callable(on_sigterm) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def living_nodes() -> list[Node]:
    """The nodes of the cluster that this process is connected to, without those that died."""
    return [
        Node(cpus=node["Resources"].get("CPU", 0.0), gpus=node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]


def _protect_token() -> None:
    """Make Ray's token readable by the user alone; Ray writes it readable by all."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        token.chmod(0o600)
