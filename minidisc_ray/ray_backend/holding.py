"""Seconds held: a placement group from granted to released, written to the run's ledger.

Ray Train's own callback interface for worker groups is a developer interface, so Ray is pinned to a minor release and a
test holds this against the ledger.
"""

import time
from pathlib import Path
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from minidisc_ray.accounting.ledger import Ledger

_SECONDS_BETWEEN_BEATS = 15.0


class HoldingCallback(WorkerGroupCallback):
    """Opens a ``hold`` in the ledger when a worker group has its resources and closes it when it gives them back."""

    def __init__(self, ledger_path: str, trial: str, devices: float, device_type: str) -> None:
        self.ledger_path = ledger_path
        self.trial = trial
        self.devices = devices
        self.device_type = device_type
        self._attempt: str | None = None
        self._asked_at = 0.0
        self._beat_at = 0.0

    def before_worker_group_start(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Note when the placement group was asked for."""
        self._asked_at = time.time()

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Count from the moment at which the placement group was granted; before that it waited for others."""
        granted_at = self._asked_at + _creation_seconds(worker_group)
        self._attempt = Ledger(Path(self.ledger_path)).start(
            "hold", "placement-group", self.trial, self.devices, self.device_type, min(granted_at, time.time())
        )

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:  # noqa: ARG002
        """Beat, so that a killed controller's hold is counted nearly to its end."""
        if self._attempt is not None and time.monotonic() - self._beat_at > _SECONDS_BETWEEN_BEATS:
            self._beat_at = time.monotonic()
            Ledger(Path(self.ledger_path)).beat(self._attempt)

    def after_worker_group_shutdown(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Close the hold."""
        self._close("finished")

    def after_worker_group_abort(self, worker_group_context: Any) -> None:  # noqa: ARG002
        """Close the hold of an aborted group."""
        self._close("interrupted")

    def _close(self, status: str) -> None:
        if self._attempt is not None:
            Ledger(Path(self.ledger_path)).end(self._attempt, status)
            self._attempt = None


def _creation_seconds(worker_group: Any) -> float:
    """From asking for a placement group to having it, as the cluster's control store tells."""
    try:
        group = worker_group._worker_group_state.placement_group_handle.placement_group
        table = ray.util.placement_group_table(group)
        return float(table["stats"]["end_to_end_creation_latency_ms"]) / 1000
    except (AttributeError, KeyError, TypeError):
        return 0.0
