"""What the driver looks after, about twice a second, while trials run."""

import time
from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.driver.lease import Lease
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.finisher import Finisher
from minidisc_ray.ray_backend.metrics import publish
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.supervision.frozen import HoldWatch
from minidisc_ray.ray_backend.supervision.stalls import StallWatch, end_on_its_node
from minidisc_ray.run_files.mirrored import fetch_live_files
from minidisc_ray.run_files.progress import Progress, ProgressReader, Watch, read_trial_progress


class RunMonitor:
    """Checks the lease, ends what hangs, publishes metrics, shows progress and writes results.

    Args:
        runs: that are worked on.
        queue: their trials.
        lease: this driver's.
        finisher: of the runs; None for trials that leave no result.
        watch: called with the progress of what is running; of a single run with that of all its trials.
    """

    def __init__(
        self,
        runs: Sequence[PreparedRun],
        queue: ItemQueue,
        lease: Lease,
        finisher: Finisher | None,
        watch: Watch | None,
    ) -> None:
        stall_seconds = runs[0].config.compute.stall_seconds
        self._queue, self._lease, self._finisher, self._watch = queue, lease, finisher, watch
        self._stalls = StallWatch(stall_seconds, end_on_its_node)
        self._holds = HoldWatch([run.run_folder for run in runs], stall_seconds, end_on_its_node)
        self._only = runs[0] if len(runs) == 1 else None
        self._reader = ProgressReader(runs[0].run_folder)
        self._since = time.time()

    def check(self) -> None:
        """See whether to go on, and what is going on now.

        Raises:
            KeyboardInterrupt: if this driver was asked to stop.
            LeaseLostError: if another driver works on a run by now.
        """
        self._lease.check()
        running = self._queue.running()
        runs = list({item.run.name: item.run for item in running}.values())
        for run in runs:
            fetch_live_files(run.run_folder)
        seen = self._progress(running)
        self._stalls.check(seen)
        self._holds.check()
        for run in runs:
            publish(run)
        if self._watch is not None:
            self._watch([progress for _, progress in seen])
        if self._finisher is not None:
            self._finisher.finish(self._queue)

    def _progress(self, running: Sequence[Item]) -> list[tuple[Path, Progress]]:
        """Where trials stand, with their run's folder; what an interrupted run left is not shown."""
        if self._only is not None:
            return [(self._only.run_folder, found) for found in self._reader.read() if found.updated_at >= self._since]
        read = ((item, read_trial_progress(item.run.run_folder, item.trial)) for item in running)
        return [
            (item.run.run_folder, found.model_copy(update={"trial": item.title}))
            for item, found in read
            if found is not None and found.updated_at >= self._since
        ]
