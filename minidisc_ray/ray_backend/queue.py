"""Trials of one run or of many as one Ray Tune experiment: each is handed out once what it needs is finished."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.pipeline.failures import forget_failure, leave_failure
from minidisc_ray.pipeline.prepare import prepare
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.ray_backend.trainer import fit_trial, last_line
from minidisc_ray.ray_backend.worker import settings_of, work
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.workers import Workers

# A trial that only waits for its own workers holds a byte: nothing is refused by Tune, and the smallest share of a CPU
# would keep workers that need every CPU of a cluster from ever starting.
_WAITING = {"memory": 1.0}


@dataclass(frozen=True)
class Item:
    """One trial of one run.

    Attributes:
        run: the checked recipe that the trial belongs to.
        trial: its name.
        title: what Tune, its folders and the dashboard call it.
        with_shared: whether it makes the teacher and the importance first.
        needs: titles of items that must have succeeded before it.
        follows: titles of items that must be over before it, whatever came of them.
    """

    run: Prepared
    trial: str
    title: str
    with_shared: bool = False
    needs: frozenset[str] = frozenset()
    follows: frozenset[str] = frozenset()


class ItemQueue:
    """Which items are waiting, out and over; a decision apart from the cluster, so that it is tested without one."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.waiting = {item.title: item for item in items}
        self.out: dict[str, Item] = {}
        self.succeeded: set[str] = set()
        self.failed: dict[str, str] = {}
        # Tune's thread moves items while another one looks at them.
        self._lock = threading.RLock()

    def next_item(self) -> Item | None:
        """The first item in order that may start, now out; None if there is none."""
        with self._lock:
            known = {*self.waiting, *self.out}
            for title, item in self.waiting.items():
                # What is not in the queue was finished before it.
                if not (item.needs | item.follows) & known:
                    del self.waiting[title]
                    self.out[title] = item
                    return item
            return None

    def close(self, title: str, failure: str | None) -> list[Item]:
        """An item is over; returns those that can now never start, which count as failed too."""
        with self._lock:
            self.out.pop(title)
            if failure is None:
                self.succeeded.add(title)
                return []
            self.failed[title] = failure
            lost: list[Item] = []
            for item in list(self.waiting.values()):
                # In the order of the queue nothing needs what comes after it, so one pass finds heirs of heirs too.
                if needed := sorted(item.needs & self.failed.keys()):
                    del self.waiting[item.title]
                    self.failed[item.title] = f"{needed[0]}, which it needs, failed: {self.failed[needed[0]]}"
                    lost.append(item)
            return lost

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits any more."""
        return not self.waiting

    def running(self) -> list[Item]:
        """The items that are out now."""
        with self._lock:
            return list(self.out.values())

    def open_titles(self) -> set[str]:
        """Titles of the items that are not over."""
        with self._lock:
            return {*self.waiting, *self.out}


class _QueueSearcher(Searcher):
    """Tune asks it for trials; it hands out what is ready, and says to wait while something else must end first."""

    def __init__(self, queue: ItemQueue) -> None:
        super().__init__()
        self.queue = queue
        self.titles: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its searcher down to restore it; the queue stays here, and is made anew from records.
        return {"titles": dict(self.titles)}

    def suggest(self, trial_id: str) -> Any:
        if self.queue.is_empty:
            return Searcher.FINISHED
        item = self.queue.next_item()
        if item is None:
            return None
        self.titles[trial_id] = item.title
        forget_failure(item.run.run_folder, item.trial)
        settings = json.dumps(settings_of(item.run, item.trial, item.with_shared))
        return {"title": item.title, "run_folder": str(item.run.run_folder), "settings": settings}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        title = self.titles[trial_id]
        item = self.queue.out[title]
        failure: str | None = None
        if error:
            failure = "its process died"
        elif not (result or {}).get("finished"):
            failure = str((result or {}).get("failure") or "it did not finish")
        if failure is not None:
            leave_failure(item.run.run_folder, item.trial, failure)
        for lost in self.queue.close(title, failure):
            leave_failure(lost.run.run_folder, lost.trial, self.queue.failed[lost.title])

    def save(self, checkpoint_path: str) -> None:
        # What is finished is known from the stages' own records; Tune alone wants a file here.
        Path(checkpoint_path).write_text(json.dumps(sorted(self.queue.succeeded)), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError(f"{checkpoint_path}: runs resume from their stages' records, not from Tune's")


def fit_items(queue: ItemQueue, at_once: int, storage: Path, experiment: str) -> None:
    """Run items, each in an actor that is used again; one that fails leaves its reason and ends none but its own heirs.

    Args:
        queue: the items, all with the same resources.
        at_once: trials that the cluster holds beside each other.
        storage: where Tune keeps its files.
        experiment: the first part of the experiment's name there.
    """
    items = list(queue.waiting.values())
    if not items:
        return
    compute = items[0].run.config.compute
    trainable: Any = partial(_trial_in_actor) if compute.num_workers == 1 else partial(_trial_with_workers)
    trainable.__name__ = "minidisc_trial"
    tuner = tune.Tuner(
        tune.with_resources(trainable, _resources(compute)),
        tune_config=tune.TuneConfig(
            # No metric for Tune to miss, no scheduler to drop scales: the exhaustive baseline is exhaustive.
            search_alg=_QueueSearcher(queue),
            num_samples=len(items),
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=_experiment_name(storage, experiment),
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=compute.max_failures),
            verbose=0,
        ),
    )
    with _quiet_tune():
        outcomes = tuner.fit()
    for outcome in outcomes:
        # Tune's own word on what killed a process says more than the queue could know.
        title = (outcome.config or {}).get("title")
        item = next((item for item in items if item.title == title), None)
        if outcome.error is not None and item is not None:
            leave_failure(item.run.run_folder, item.trial, last_line(outcome.error))


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


def _resources(compute: ComputeConfig) -> dict[str, float]:
    if compute.num_workers > 1:
        return _WAITING
    return {"CPU": float(compute.cpus_per_worker), "GPU": compute.gpus_per_worker}


def _trial_in_actor(config: dict[str, Any]) -> None:
    """One trial inside its reused Tune actor."""
    settings = json.loads(config["settings"])
    compute = settings["config"]["compute"]
    has_gpu = compute["gpus_per_worker"] > 0
    devices = compute["gpus_per_worker"] if has_gpu else compute["cpus_per_worker"]
    workers = Workers(device=torch.device("cuda" if has_gpu else "cpu"))
    ledger = Ledger(Path(config["run_folder"]) / "ledger.jsonl")
    with ledger.attempt("hold", "tune-trial", settings["trial"], devices, "gpu" if has_gpu else "cpu-core"):
        failure = work(settings, workers, _report_to_tune)
    _finish(failure)


def _trial_with_workers(config: dict[str, Any]) -> None:
    """One trial on workers of its own: a Ray Train job inside a Tune trial."""
    settings = json.loads(config["settings"])
    failure: str | None = None
    try:
        fit_trial(prepare(resolve(settings["config"])), settings["trial"], settings["with_shared"])
    except TrainingError as error:
        failure = str(error)
    _finish(failure)


def _finish(failure: str | None) -> None:
    # Tune keeps the last report; a trial's own metrics are read from its stages' records.
    tune.report({"finished": failure is None, "failure": failure or ""})


def _report_to_tune(metrics: dict[str, float], checkpoint: Path) -> None:  # noqa: ARG001
    tune.report(dict(metrics))


def _trial_name(trial: TuneTrial) -> str:
    return str(trial.config["title"])


def _experiment_name(storage: Path, experiment: str) -> str:
    number = 1
    while (storage / f"{experiment}-{number:03d}").exists():
        number += 1
    return f"{experiment}-{number:03d}"
