"""A whole run on a cluster, watched from the driver."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.lease import Lease, LeaseLostError, leased
from minidisc_ray.files.patience import restoring_storage, use_storage
from minidisc_ray.pipeline.finish import finish_run, is_finished, is_trial_finished
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, probe_storage
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.metrics import publish
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.resources import trials_at_once
from minidisc_ray.ray_backend.policies.sharing import Turn, sharing_cluster
from minidisc_ray.ray_backend.supervision.frozen import HoldWatch
from minidisc_ray.ray_backend.supervision.stalls import StallWatch, end_on_its_node
from minidisc_ray.ray_backend.supervision.watching import closing_ledgers_on_stop, watched
from minidisc_ray.ray_backend.sweep import fit_sweep
from minidisc_ray.ray_backend.trainer import fit_trial
from minidisc_ray.run_files.failures import remove_failure, write_failure
from minidisc_ray.run_files.mirrored import fetch_live_files, fetch_records, fetch_run, probe_bucket
from minidisc_ray.run_files.progress import Progress, ProgressReader, mark_stopped
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult, load_result
from minidisc_ray.schedules.plan import SHARED_TRIAL
from minidisc_ray.training.loop import TrainingError

Watch = Callable[[Sequence[Progress]], None]


@restoring_storage()
def run_on_ray(prepared: PreparedRun, watch: Watch | None = None) -> RunResult:
    """Execute a plan on the cluster that the recipe names, or on a local Ray, resuming what is there.

    Args:
        prepared: the checked recipe.
        watch: called about twice a second with every trial's progress, in the calling thread.

    Raises:
        UserError: if no node can hold the plan, or another driver is at work on the run.
        TrainingError: if the run, or every trial of a sweep, failed.
        KeyboardInterrupt: after Ctrl-C; the same call again goes on where this one stopped.
    """
    probe_bucket(prepared.config.storage)
    fetch_run(prepared.run_folder)
    if is_finished(prepared):
        return load_result(prepared.run_folder)
    started_at = time.time()
    configure_storage_retries([prepared])
    probe_storage(prepared)
    compute = prepared.config.compute
    with leased(prepared.run_folder) as lease:
        fetch_run(prepared.run_folder, is_exclusive=True)
        if is_finished(prepared):
            # Another driver was at it until now.
            return load_result(prepared.run_folder)
        with (
            closing_ledgers_on_stop(prepared.run_folder),
            cluster(compute.address) as nodes,
            sharing_cluster(prepared.name, compute.priority) as turn,
        ):
            at_once = trials_at_once(nodes, compute)
            folder = open_run(prepared)
            use_storage(prepared.storage, compute.storage_patience_seconds)
            looker = RunMonitor(folder, started_at, lease, compute.stall_seconds, watch)
            try:
                watched(lambda: _execute(prepared, at_once, turn), looker.look)
            except LeaseLostError:
                raise
            except BaseException:
                mark_stopped(prepared.run_folder)
                raise
        return finish_run(prepared, started_at)


def _execute(prepared: PreparedRun, at_once: int, turn: Turn) -> None:
    plan = prepared.plan
    if not plan.is_sweep:
        (trial,) = plan.trials
        if not is_trial_finished(prepared, trial):
            _fit_alone(prepared, trial.name, True, turn)
        return
    shared = (prepared.teacher_folder, prepared.importance_folder)
    fetch_records(*shared)
    before = plan.trial(SHARED_TRIAL)
    is_before_finished = before is None or is_trial_finished(prepared, before)
    if not is_before_finished or any(read_record(folder) is None for folder in shared):
        _fit_alone(prepared, SHARED_TRIAL, True, turn)
    fit_sweep(prepared, at_once, turn)
    if plan.after is not None and not is_trial_finished(prepared, plan.after):
        _fit_alone(prepared, plan.after.name, False, turn)


def _fit_alone(prepared: PreparedRun, trial: str, with_shared: bool, turn: Turn) -> None:
    queue = ItemQueue([Item(prepared, trial, trial, with_shared)])
    turn.is_about(queue, at_once=1)
    turn.wait()
    queue.next_item()
    remove_failure(prepared.run_folder, trial)
    try:
        fit_trial(prepared, trial, with_shared)
    except (UserError, TrainingError) as error:
        with suppress(OSError):
            write_failure(prepared.run_folder, trial, str(error))  # for `ls` and `status`
        raise
    queue.close(trial, None)


class RunMonitor:
    """What is seen to while trials run."""

    def __init__(
        self, folder: Path, since: float, lease: Lease, stall_seconds: float | None, watch: Watch | None
    ) -> None:
        self.folder = folder
        self.since = since
        self.lease = lease
        self.stalls = StallWatch(stall_seconds, end_on_its_node)
        self.holds = HoldWatch([folder], stall_seconds, end_on_its_node)
        self.watch = watch
        self._reader = ProgressReader(folder)

    def look(self) -> None:
        """See whether to go on, and what is going on now; what an interrupted run left is not."""
        self.lease.check()
        fetch_live_files(self.folder)
        found = [progress for progress in self._reader.read() if progress.updated_at >= self.since]
        self.stalls.check((self.folder, progress) for progress in found)
        self.holds.check()
        publish(self.folder)
        if self.watch is not None:
            self.watch(found)
