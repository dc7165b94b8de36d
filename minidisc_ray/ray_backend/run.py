"""Executes runs on a cluster and monitors them; a single run is a study of one."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.lease import Lease, leased
from minidisc_ray.estimate.work import finished_stages, flops_of, work_of
from minidisc_ray.log import logger
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, own_result, probe_storage
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.cluster import cluster, outlives_run
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.finisher import Finisher, OnResult
from minidisc_ray.ray_backend.following import Follower
from minidisc_ray.ray_backend.items import Which, item_title, items_of
from minidisc_ray.ray_backend.metrics import publish
from minidisc_ray.ray_backend.nodes import check_fit
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.resources import trials_at_once
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.reuse import are_short
from minidisc_ray.ray_backend.policies.sharing import sharing_cluster
from minidisc_ray.ray_backend.supervision.stalls import StallWatch, end_on_its_node
from minidisc_ray.ray_backend.supervision.watching import closing_runs_on_stop, in_thread
from minidisc_ray.run_files.fetching import fetch_run, probe_bucket
from minidisc_ray.run_files.progress import Progress, ProgressReader, RunProgress, Watch, read_trial_progress
from minidisc_ray.run_files.records import reused_text
from minidisc_ray.run_files.result import RunResult

# Under load a step of Tune's loop takes seconds. A driver that gets SIGTERM exits after twenty.
_SECONDS_TO_LEAVE = 12.0


def run_many(
    runs: Sequence[PreparedRun],
    home: Path,
    on_result: OnResult | None = None,
    watch: Watch | None = None,
    which: Which = "new",
) -> dict[str, Exception]:
    """Execute runs that are not finished; a trial that fails leaves its reason and ends no other run.

    Args:
        runs: checked recipes, each once, all with the same resources.
        home: folder of the lease and of Tune's files: the study's, or a single run's own.
        on_result: called in the calling thread for each run as soon as it has its result.
        watch: called in the calling thread, about twice a second, with the progress of running trials.
        which: see :func:`minidisc_ray.ray_backend.items.items_of`.

    Returns:
        By name of the run, why it got no result.

    Raises:
        UserError: if no node can hold a trial, runs ask for different resources, or another driver has a run.
        KeyboardInterrupt: after Ctrl-C; the same call again resumes the runs.
    """
    _check_compute(runs)
    compute = runs[0].config.compute
    probe_bucket(runs[0].storage)
    for run in runs:
        fetch_run(run.storage, run.run_folder)
    configure_storage_retries(runs)
    finisher, items = Finisher(runs, on_result), items_of(runs, which)
    if not items and not finisher.has_ended_trials():
        finisher.finish()
        return finisher.errors
    check_fit(compute)
    touched = _runs_of(items) or list(finisher.unfinished.values())
    probe_storage(touched[0])
    with leased(runs[0].storage, home, [run.run_folder for run in touched if run.run_folder != home]) as lease:
        for run in touched:
            fetch_run(run.storage, run.run_folder, is_exclusive=True)
        # Another driver may have finished some runs before this one got the lease.
        finisher.drop_finished()
        if items := items_of(runs, which):
            queue, touched = ItemQueue(items, RetryPolicy.of(compute)), _runs_of(items)
            _log_finished_stages(touched)
            with (
                closing_runs_on_stop(touched),
                cluster(compute.address) as nodes,
                sharing_cluster(home.name, compute.priority) as turn,
            ):
                at_once = trials_at_once(nodes, compute)
                for run in touched:
                    open_run(run)
                # Encodes the first run's rows into the storage, where workers find them.
                logger.info("encoding the rows of %s", touched[0].name)
                work = work_of(touched[0])
                shares_actors = are_short(max(map(flops_of, work.values()), default=0.0), compute)
                for run in runs:
                    run.wait_for_storage()
                monitor = RunMonitor(touched, queue, lease, finisher, watch, Follower(queue, at_once, turn, work))
                with in_thread(
                    fit_items,
                    queue,
                    at_once,
                    home / "ray",
                    turn,
                    None,
                    shares_actors,
                    must_leave_within=None if outlives_run() else _SECONDS_TO_LEAVE,
                ) as is_running:
                    while is_running():
                        monitor.check()
                finisher.finish(queue)
        finisher.finish()
    return finisher.errors


def results_of(runs: Sequence[PreparedRun], errors: Mapping[str, Exception]) -> list[RunResult]:
    """Read the results of runs, in order.

    Args:
        runs: as given to :func:`run_many`.
        errors: as :func:`run_many` returned them.

    Raises:
        Exception: the error of the first run that has one.
    """
    for run in runs:
        if run.name in errors:
            raise errors[run.name]
    return [own_result(run) for run in runs]


def _runs_of(items: Sequence[Item]) -> list[PreparedRun]:
    return list({item.run.name: item.run for item in items}.values())


def _log_finished_stages(runs: Sequence[PreparedRun]) -> None:
    """Log which stages are not executed again: all of a single run's, and of many runs a number and what they share."""
    found = [(run, stage, folder) for run in runs for _, stage, folder in finished_stages(run)]
    own = [each for each in found if each[2].is_relative_to(each[0].run_folder)]
    shown = found if len(runs) == 1 else [each for each in found if each not in own]
    for text in dict.fromkeys(reused_text(stage, folder) for _, stage, folder in shown):
        logger.info("%s", text)
    if len(runs) > 1 and own:
        logger.info("%d stages of %d runs are finished and not run again", len(own), len({run.name for run, *_ in own}))


def _check_compute(runs: Sequence[PreparedRun]) -> None:
    for run in runs[1:]:
        if run.config.compute != runs[0].config.compute:
            raise UserError(
                f"compute: {runs[0].name} and {run.name} ask for different resources; give all runs the same"
            )


class RunMonitor:
    """Checks the lease, ends processes that hang, publishes metrics, shows progress and writes results.

    Args:
        runs: that are executed.
        queue: their trials.
        lease: of this driver.
        finisher: of the runs; None for trials that leave no result.
        watch: called with the progress of running trials; for a single run, with that of all its trials.
        follower: of the trials; None for trials without a recipe's stages.
    """

    def __init__(
        self,
        runs: Sequence[PreparedRun],
        queue: ItemQueue,
        lease: Lease,
        finisher: Finisher | None,
        watch: Watch | None,
        follower: Follower | None = None,
    ) -> None:
        stall_seconds = runs[0].config.compute.stall_seconds
        self._hours_unit = runs[0].config.compute.hours_unit
        self._queue, self._lease, self._finisher, self._watch = queue, lease, finisher, watch
        self._stalls = StallWatch([run.ledger for run in runs], stall_seconds, end_on_its_node)
        self._only = runs[0] if len(runs) == 1 else None
        self._reader = ProgressReader(runs[0].run_folder)
        self._since = time.time()
        self._follower = follower

    def check(self) -> None:
        """Make one round of all checks.

        Raises:
            KeyboardInterrupt: if this driver was asked to stop.
            LeaseLostError: if another driver has taken over a run.
        """
        self._lease.check()
        running = self._queue.running()
        runs = _runs_of(running)
        for run in runs:
            for changing in ("progress", "ledger"):
                run.storage.fetch_if_due(run.run_folder / changing, run.storage.fetch)
        seen = self._progress(running)
        self._stalls.check((folder, progress) for _, folder, progress in seen)
        for run in runs:
            publish(run)
        if self._watch is not None:
            self._watch(self._run_progress(running, seen))
        if self._finisher is not None:
            self._finisher.finish(self._queue)

    def _run_progress(self, running: Sequence[Item], seen: Sequence[tuple[str, Path, Progress]]) -> RunProgress:
        shown = [progress.model_copy(update={"trial": title}) for title, _, progress in seen]
        if self._follower is None:
            return RunProgress(shown, hours_unit=self._hours_unit)
        only = self._only
        of_trials = {title if only is None else item_title(only, title): progress for title, _, progress in seen}
        return self._follower.follow(running, shown, of_trials)

    def _progress(self, running: Sequence[Item]) -> list[tuple[str, Path, Progress]]:
        """Title, run folder and progress of each trial; progress from before this driver started is left out."""
        if self._only is not None:
            found = [(progress.trial, self._only.run_folder, progress) for progress in self._reader.read()]
        else:
            read = ((item, read_trial_progress(item.run.run_folder, item.trial)) for item in running)
            found = [(item.title, item.run.run_folder, progress) for item, progress in read if progress is not None]
        return [each for each in found if each[2].updated_at >= self._since]
