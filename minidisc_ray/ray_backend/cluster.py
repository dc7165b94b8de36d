"""Attaching to a Ray cluster, or starting one for the length of a run."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from minidisc_ray.configs.base import UserError
from minidisc_ray.ray_backend.policies.resources import Node

# A report waits for the controller's next poll; the default of 2 s would be added to every epoch.
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TOKENIZERS_PARALLELISM": "false",
    # The older reporter is the one that verbose=0 silences wholly; progress is shown by the driver.
    "RAY_AIR_NEW_OUTPUT": "0",
}


_is_kept = threading.Event()


def is_kept() -> bool:
    """Whether the latest run's Ray was there before it and stays after it."""
    return _is_kept.is_set()


@contextmanager
def cluster(address: str | None) -> Iterator[list[Node]]:
    """Nodes of the cluster at an address (else ``RAY_ADDRESS``), or of a local Ray that ends with the context.

    A process that is connected already stays so, for instance in a notebook.

    Raises:
        UserError: if there is no cluster at the address.
    """
    if ray.is_initialized():
        _is_kept.set()
        yield _nodes()
        return
    _is_kept.clear()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and address.startswith(("http://", "https://")):
        raise UserError(
            f"compute.address: {address} is a dashboard's; give the cluster's own address (HOST:6379 or auto), or "
            "submit a job to the dashboard with `ray job submit`"
        )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            # "local" and never a guess: a stale file of an earlier cluster would attach us to a dead one.
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else {"include_dashboard": True}),
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"the cluster at {address}" if address else "a local Ray"
        hint = "; if it asks for a token, set RAY_AUTH_MODE=token" if address and not _has_token_mode() else ""
        raise UserError(f"compute.address: {where} could not be reached ({_first_line(error)}){hint}") from error
    except Exception as error:
        # A dashboard that does not start ends in a bare Exception with its whole log for a message.
        raise RuntimeError(f"Ray did not start: {_first_line(error)}") from error
    _protect_token()
    _keep_sigterm(on_sigterm)
    try:
        yield _nodes()
    finally:
        ray.shutdown()


def _has_token_mode() -> bool:
    return os.environ.get("RAY_AUTH_MODE") == "token"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _nodes() -> list[Node]:
    return [
        Node(cpus=node["Resources"].get("CPU", 0.0), gpus=node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]


def _keep_sigterm(handler: Any) -> None:
    """Put the caller's own handler back: Ray's exits with 15, and its core prints a stack and aborts 3 s later."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _protect_token() -> None:
    """Ray writes its token readable by everybody; make it the user's own."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        token.chmod(0o600)
