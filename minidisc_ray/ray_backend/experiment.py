"""Runs the trials of one or more runs as one Ray Tune experiment; retries a trial whose process died."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from minidisc_ray.files.waiting import StorageError
from minidisc_ray.log import logger
from minidisc_ray.ray_backend.cluster import outlives_run
from minidisc_ray.ray_backend.policies.queue import Failure, Item, ItemQueue
from minidisc_ray.ray_backend.policies.sharing import Turn
from minidisc_ray.ray_backend.supervision.watching import is_stopped
from minidisc_ray.ray_backend.trainer import last_line, next_name
from minidisc_ray.ray_backend.trial_actor import TrialActor, TrialWithWorkers
from minidisc_ray.ray_backend.worker import for_workers
from minidisc_ray.run_files.failures import remove_failure, write_failure
from minidisc_ray.run_files.progress import read_trial_progress

# Of an actor that only waits for its trial's workers: one byte. Tune refuses an empty request, and any share of a CPU
# would keep workers that need all CPUs of the cluster from starting.
_WAITING_RESOURCES = {"memory": 1.0}

# Idle actors keep their resources. A sweep that is blocked for longer ends them.
_MAX_SECONDS_BLOCKED = 5.0


class _QueueSearcher(Searcher):
    """Gives Tune the next trial of the queue; None, which makes Tune ask again, while none is ready."""

    def __init__(self, queue: ItemQueue, turn: Turn, errors: "_TuneErrors", shares_actors: bool) -> None:
        super().__init__()
        self.queue = queue
        self.shares_actors = shares_actors
        self.turn = turn
        self.errors = errors
        self.has_started = self.is_blocked = False
        self.storage_error: StorageError | None = None
        self.titles: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to restore it; we never restore one, and the queue is built from records.
        return {"titles": dict(self.titles)}

    def suggest(self, trial_id: str) -> Any:
        if self.queue.is_over or self.is_blocked or self.storage_error is not None:
            return Searcher.FINISHED
        if (blocked_seconds := self.turn.blocked_seconds) is not None:
            self.is_blocked = self.has_started and blocked_seconds > _MAX_SECONDS_BLOCKED
            return None
        item = self.queue.next_item()
        if item is None:
            return None
        self.has_started = True
        self.titles[trial_id] = item.title
        remove_failure(item.run.storage, item.run.run_folder, item.trial)
        # Ray writes this to disk; the run itself goes through the object store.
        return {
            "title": item.title,
            "attempt": self.queue.retries.number(item.title),
            "run": item.run.name,
            "trial": item.trial,
            "with_shared": item.with_shared,
            "shares_actor": self.shares_actors,
        }

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        try:
            self._handle_end(trial_id, result, error)
        except StorageError as refused:
            # Raised after the experiment: Tune would replace it by a traceback.
            self.storage_error = refused

    def _handle_end(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        title = self.titles.pop(trial_id)
        item = self.queue.handed_out[title]
        failure: Failure | None = None
        ended = result or {}
        if error:
            # Written now: the run's result, which quotes it, may be written before the experiment ends.
            failure = Failure(self.errors.sentence(trial_id))
            if self._retry(item):
                return
        elif not ended.get("finished"):
            failure = Failure(str(ended.get("sentence") or "it did not finish"), bool(ended.get("is_users")))
        if failure is not None:
            write_failure(item.run.storage, item.run.run_folder, item.trial, failure.sentence)
        for blocked in self.queue.close(title, failure):
            reason = self.queue.failed[blocked.title].sentence
            write_failure(blocked.run.storage, blocked.run.run_folder, blocked.trial, reason)

    def _retry(self, item: Item) -> bool:
        """Queue a trial again whose process crashed or was preempted; returns False if it has no retry left."""
        if is_stopped():
            return True  # the same command, given again, goes on with the trial
        folder = item.run.run_folder
        item.run.ledger.close_open(item.trial, "failed")
        item.run.storage.fetch(folder / "progress")
        progress = read_trial_progress(folder, item.trial)
        was_preempted = progress is not None and progress.status == "interrupted"
        wait = self.queue.retry(item.title, was_preempted)
        if wait is not None:
            what = "was preempted" if was_preempted else "lost its process"
            logger.warning("%s %s and goes on from its newest checkpoint in %g s", item.title, what, wait)
        return wait is not None

    def save(self, checkpoint_path: str) -> None:
        # Tune expects a file here. Nothing reads it: runs resume from the records of their stages.
        Path(checkpoint_path).write_text(json.dumps(sorted(self.queue.succeeded)), encoding="utf-8")


class _RunStopped(BaseException):
    """Ends Tune's loop. Not an :class:`Exception`, for which Tune would wait for its trials."""


class _EndTuneWhenStopped(tune.Callback):
    """Ends Tune's loop when the run is stopped; outside the main thread it gets no Ctrl-C.

    Only where Ray itself ends, and the actors with it. In a Ray that stays, the loop goes on until its trials end.
    """

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        if is_stopped() and not outlives_run():
            raise _RunStopped


class _TuneErrors(tune.Callback):
    """Reads why a trial died from Tune's text file, and keeps Tune from loading the pickled error.

    Anyone who can write to the storage could have replaced the pickle.
    """

    def __init__(self) -> None:
        self._trials: Sequence[TuneTrial] = ()

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        self._trials = trials

    def sentence(self, trial_id: str) -> str:
        """Why a trial's process ended, in one line."""
        for trial in self._trials:
            # On the driver's own disk, not in the storage.
            if trial.trial_id == trial_id and trial.error_file is not None:
                with suppress(OSError):
                    return last_line(Path(trial.error_file).read_text(encoding="utf-8", errors="replace"))
        return "its process died"

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        for trial in trials:
            trial.run_metadata.pickled_error_filename = trial.run_metadata.error_filename = None


def fit_items(
    queue: ItemQueue,
    at_once: int,
    storage: Path,
    turn: Turn,
    trainable: Any | None = None,
    shares_actors: bool = True,
) -> None:
    """Execute the items of a queue; a failed item leaves its reason, and fails those that need it.

    While another sweep has a higher priority, the experiment ends once its trials are over; a new one follows later.

    Args:
        queue: the items, all with the same resources.
        at_once: how many trials the cluster can run at the same time.
        storage: the folder of Tune's files.
        turn: this sweep among the cluster's others.
        trainable: the actor of a trial; None is the one that the recipe needs.
        shares_actors: whether a trial may run in the actor of an earlier one, whose name the actor keeps.
    """
    items = dict(queue.waiting)
    if not items:
        return
    compute = next(iter(items.values())).run.config.compute
    own = {"CPU": float(compute.cpus_per_worker), "GPU": compute.gpus_per_worker}
    resources = own if compute.num_workers == 1 else _WAITING_RESOURCES
    runs = {item.run.name: for_workers(item.run) for item in items.values()}
    actor = trainable or (TrialActor if compute.num_workers == 1 else TrialWithWorkers)
    # Its actors start a process for each worker of a trial anyway.
    shares_actors = shares_actors and compute.num_workers == 1 and len(items) > 1
    # Ray shows this name as the actors' class; Tune's own would be that of a wrapper.
    trainable = tune.with_resources(tune.with_parameters(actor, runs=runs), resources)
    trainable.__qualname__ = actor.__name__
    turn.set_trials(queue, at_once)
    while True:
        turn.wait()
        errors = _TuneErrors()
        searcher = _QueueSearcher(queue, turn, errors, shares_actors)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                # No scheduler, which could end trials early: the exhaustive baseline has to run all of them.
                search_alg=searcher,
                num_samples=len(items) * queue.retries.policy.max_attempts,
                max_concurrent_trials=at_once,
                reuse_actors=shares_actors,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=next_name(storage, "tune"),
                storage_path=str(storage),
                # Tune would retry at once and for any error; the queue waits, and retries only what may succeed.
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
                callbacks=[_EndTuneWhenStopped(), errors],
            ),
        )
        try:
            with _quiet_tune():
                tuner.fit()
        except Exception as error:
            # Tune reads its own files at the end, which may fail with the storage; nothing here needs them.
            if searcher.storage_error is None and not queue.is_over:
                raise
            logger.warning("Ray Tune could not finish its own files: %s", last_line(str(error)))
        if searcher.storage_error is not None:
            raise searcher.storage_error
        if queue.is_over or not searcher.is_blocked:
            return


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Keep Tune from printing the traceback of every failed trial; ``error.txt`` in its folder still has it."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _trial_name(trial: TuneTrial) -> str:
    title, attempt = str(trial.config["title"]), int(trial.config["attempt"])
    return title if attempt == 1 else f"{title}.attempt-{attempt}"
