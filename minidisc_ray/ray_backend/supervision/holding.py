"""Records in the run's ledger how long resources are held: a placement group from granted to released.

Ray Train's callback for worker groups is a developer interface, so Ray is pinned to a minor release, and tests check
the holds in the ledger.
"""

import os
import time
from contextlib import suppress
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.util.state import get_placement_group

from minidisc_ray.accounting.heartbeat import stop_calls
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.driver.driver import process_start
from minidisc_ray.ray_backend.supervision.leaving import stop_on_sigterm


class Hold:
    """A ``hold`` attempt in the ledger for devices that are held now: writes its own beats until it is closed."""

    def __init__(
        self, ledger: Ledger, holder: str, trial: str, devices: float, device_type: str, since: float | None = None
    ) -> None:
        self._ledger = ledger
        process = (os.getpid(), process_start(os.getpid()))
        self._attempt = self._ledger.start(
            "hold", holder, trial, devices, device_type, since, node=node_id(), process=process
        )
        self._ledger.beat_while_open(self._attempt)

    def close(self, status: str) -> None:
        """Record that the devices are released; if that cannot be written, the hold ends at its last beat."""
        stop_calls(self._attempt)
        with suppress(OSError):
            self._ledger.end(self._attempt, status)


def node_id() -> str:
    """The Ray node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


class HoldingCallback(WorkerGroupCallback):
    """Opens a ``hold`` in the ledger when a worker group gets its resources, and closes it when they are released.

    Args:
        ledger: of the run.
        trial: that the group belongs to.
        devices: how many the group holds.
        device_type: their unit.
    """

    def __init__(self, ledger: Ledger, trial: str, devices: float, device_type: str) -> None:
        self.ledger = ledger
        self.trial = trial
        self.devices = devices
        self.device_type = device_type
        self._hold: Hold | None = None
        self._asked_at = 0.0

    def before_worker_group_start(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Note when the placement group was requested."""
        self._asked_at = time.time()

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Open the hold, from the moment that the placement group was granted."""
        granted_at = self._asked_at + _creation_seconds(worker_group)
        since = min(granted_at, time.time())
        self._hold = Hold(self.ledger, "placement-group", self.trial, self.devices, self.device_type, since)
        worker_group.execute(stop_on_sigterm)

    def after_worker_group_shutdown(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Close the hold."""
        self._close("finished")

    def after_worker_group_abort(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Close the hold of an aborted group."""
        self._close("interrupted")

    def _close(self, status: str) -> None:
        if self._hold is not None:
            self._hold.close(status)
            self._hold = None


def granted_at() -> float | None:
    """When the placement group of this process's actor was granted, in seconds since the epoch; None if not known."""
    group = ray.util.get_current_placement_group()
    if group is None:
        return None
    try:
        # Without an address, it would ask the newest Ray of this machine, which may be another user's.
        found = get_placement_group(group.id.hex(), address=ray.get_runtime_context().gcs_address, timeout=5)
        stats = getattr(found, "stats", None) or {}
        asked_ns, took_us = stats["creation_request_received_ns"], stats["end_to_end_creation_latency_us"]
    except Exception:  # noqa: BLE001 - a dashboard that is off or slow costs a second of accuracy, no trial
        return None
    return float(asked_ns) / 1e9 + float(took_us) / 1e6


def _creation_seconds(worker_group: Any) -> float:
    """Seconds between the request and the grant of a group's resources, as Ray's GCS recorded them; 0 if unknown."""
    try:
        group = worker_group._worker_group_state.placement_group_handle.placement_group
        table = ray.util.placement_group_table(group)
        return float(table["stats"]["end_to_end_creation_latency_ms"]) / 1000
    except (AttributeError, KeyError, TypeError):
        return 0.0
