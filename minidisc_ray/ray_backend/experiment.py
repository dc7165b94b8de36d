"""Trials of one run or of many as one Ray Tune experiment, tried again where a process died."""

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
from minidisc_ray.ray_backend.cluster import is_kept
from minidisc_ray.ray_backend.policies.queue import Failure, Item, ItemQueue
from minidisc_ray.ray_backend.policies.sharing import Turn
from minidisc_ray.ray_backend.supervision.watching import is_stopped
from minidisc_ray.ray_backend.trainer import last_line, next_name
from minidisc_ray.ray_backend.trial_actor import TrialActor, trial_with_workers
from minidisc_ray.ray_backend.worker import for_workers
from minidisc_ray.run_files.failures import remove_failure, write_failure
from minidisc_ray.run_files.progress import read_trial_progress

# A trial that only waits for its own workers holds a byte: nothing is refused by Tune, and the smallest share of a CPU
# would keep workers that need every CPU of a cluster from ever starting.
_WAITING = {"memory": 1.0}

# An actor between two trials keeps what it holds, so a sweep that must wait for longer gives its actors up.
_SECONDS_HELD_WITH_ACTORS = 5.0


class _QueueSearcher(Searcher):
    """Tune asks it for trials; it hands out what is ready, and says to wait while something else must end first."""

    def __init__(self, queue: ItemQueue, turn: Turn, errors: "_TuneErrors") -> None:
        super().__init__()
        self.queue = queue
        self.turn = turn
        self.errors = errors
        self.has_begun = self.has_given_way = False
        self.storage_error: StorageError | None = None
        self.titles: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its searcher down to restore it; the queue stays here, and is made from records.
        return {"titles": dict(self.titles)}

    def suggest(self, trial_id: str) -> Any:
        if self.queue.is_over or self.has_given_way or self.storage_error is not None:
            return Searcher.FINISHED
        if (held := self.turn.held_seconds) is not None:
            self.has_given_way = self.has_begun and held > _SECONDS_HELD_WITH_ACTORS
            return None
        item = self.queue.next_item()
        if item is None:
            return None
        self.has_begun = True
        self.titles[trial_id] = item.title
        remove_failure(item.run.storage, item.run.run_folder, item.trial)
        # All that Ray writes down of a trial: the run itself comes through the object store.
        return {
            "title": item.title,
            "attempt": self.queue.waits.number(item.title),
            "run": item.run.name,
            "trial": item.trial,
            "with_shared": item.with_shared,
        }

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        try:
            self._note_end(trial_id, result, error)
        except StorageError as refused:
            # What Tune would raise in its place is a traceback.
            self.storage_error = refused

    def _note_end(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        # Each trial once: what Tune keeps of it would grow with a long sweep.
        title = self.titles.pop(trial_id)
        item = self.queue.out[title]
        failure: Failure | None = None
        ended = result or {}
        if error:
            # At once: the run's result, with this reason in it, may be written before the experiment ends.
            failure = Failure(self.errors.sentence(trial_id))
            if self._is_tried_again(item):
                return
        elif not ended.get("finished"):
            failure = Failure(str(ended.get("sentence") or "it did not finish"), bool(ended.get("is_users")))
        if failure is not None:
            write_failure(item.run.storage, item.run.run_folder, item.trial, failure.sentence)
        for lost in self.queue.close(title, failure):
            write_failure(lost.run.storage, lost.run.run_folder, lost.trial, self.queue.failed[lost.title].sentence)

    def _is_tried_again(self, item: Item) -> bool:
        """A crash without an error is retried, and so is a process that was asked to leave: it left a checkpoint."""
        if is_stopped():
            return True  # by the same command, given again
        folder = item.run.run_folder
        item.run.ledger.close_open(item.trial, "failed")
        item.run.storage.fetch(folder / "progress")
        progress = read_trial_progress(folder, item.trial)
        was_preempted = progress is not None and progress.status == "interrupted"
        wait = self.queue.try_again(item.title, was_preempted)
        if wait is not None:
            what = "was asked to leave" if was_preempted else "lost its process"
            logger.warning("%s %s and goes on from its newest checkpoint in %g s", item.title, what, wait)
        return wait is not None

    def save(self, checkpoint_path: str) -> None:
        # What is finished is known from the stages' own records, and runs resume from those; Tune wants a file here.
        Path(checkpoint_path).write_text(json.dumps(sorted(self.queue.succeeded)), encoding="utf-8")


class _RunStopped(BaseException):
    """Not an :class:`Exception`: for one, Tune would wait for its trials."""


class _EndTuneWhenStopped(tune.Callback):
    """Takes Tune's loop, which hears no Ctrl-C outside of main threads, out of a Ray that is about to end.

    That takes the actors along. In one that stays the loop is left to see its trials end.
    """

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        if is_stopped() and not is_kept():
            raise _RunStopped


class _TuneErrors(tune.Callback):
    """Reads what Tune says killed a trial, and keeps Tune from loading the pickle of it that it wrote to the storage.

    Anyone who can write there could have put another one in its place.
    """

    def __init__(self) -> None:
        self._trials: Sequence[TuneTrial] = ()

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        self._trials = trials

    def sentence(self, trial_id: str) -> str:
        """Why a trial's process ended, in one line."""
        for trial in self._trials:
            # The driver's own copy, on its own disk.
            if trial.trial_id == trial_id and trial.error_file is not None:
                with suppress(OSError):
                    return last_line(Path(trial.error_file).read_text(encoding="utf-8", errors="replace"))
        return "its process died"

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:  # noqa: ARG002
        for trial in trials:
            trial.run_metadata.pickled_error_filename = trial.run_metadata.error_filename = None


def fit_items(queue: ItemQueue, at_once: int, storage: Path, turn: Turn, trainable: Any | None = None) -> None:
    """Run items, each in an actor that is used again; one that fails leaves its reason and ends those that need it.

    Where another sweep goes first, the experiment ends with what is running, and another one goes on from there.

    Args:
        queue: the items, all with the same resources.
        at_once: trials that the cluster holds beside each other.
        storage: where Tune keeps its files.
        turn: this sweep among the cluster's others.
        trainable: what a trial's actor is; by default what the recipe asks for.
    """
    items = dict(queue.waiting)
    if not items:
        return
    compute = next(iter(items.values())).run.config.compute
    own = {"CPU": float(compute.cpus_per_worker), "GPU": compute.gpus_per_worker}
    resources = own if compute.num_workers == 1 else _WAITING
    runs = {item.run.name: for_workers(item.run) for item in items.values()}
    actor = trainable or (TrialActor if compute.num_workers == 1 else trial_with_workers)
    turn.is_about(queue, at_once)
    while True:
        turn.wait()
        errors = _TuneErrors()
        searcher = _QueueSearcher(queue, turn, errors)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(actor, runs=runs), resources),
            tune_config=tune.TuneConfig(
                # No metric for Tune to miss, no scheduler to drop scales: the exhaustive baseline is exhaustive.
                search_alg=searcher,
                num_samples=len(items) * queue.waits.policy.max_attempts,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=next_name(storage, "tune"),
                storage_path=str(storage),
                # Tune would try again at once and for any reason; the queue waits, and knows whose fault it was.
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
                callbacks=[_EndTuneWhenStopped(), errors],
            ),
        )
        try:
            with _quiet_tune():
                tuner.fit()
        except Exception as error:
            # It reads its files again at its end, from whatever is left of the storage; nothing here needs them.
            if searcher.storage_error is None and not queue.is_over:
                raise
            logger.warning("Ray Tune could not finish its own files: %s", last_line(str(error)))
        if searcher.storage_error is not None:
            raise searcher.storage_error
        if queue.is_over or not searcher.has_given_way:
            return


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Tune prints the traceback of every failed trial; each has its sentence here, and Tune's own in ``error.txt``."""
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
