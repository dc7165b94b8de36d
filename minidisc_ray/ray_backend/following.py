"""How far runs are, for the one who watches: trials left, time left, and what trials without a worker wait for."""

import copy
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import ray
from ray.util.state import list_placement_groups

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.estimate.time_left import StageWork, TimeLeft, TrialKey
from minidisc_ray.estimate.work import Work, work_of
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.sharing import Turn
from minidisc_ray.run_files.progress import Progress, RunProgress
from minidisc_ray.schedules.early_end import num_promoted
from minidisc_ray.schedules.plan import SHARED_TRIAL

_SECONDS_BETWEEN_QUESTIONS = 10.0
_QUESTION_SECONDS = 3


def stages_of(item: Item, work: Work) -> Mapping[str, StageWork]:
    """The unfinished stages that an item executes, in order."""
    plan = item.run.plan
    shared = [step.name for step in plan.shared] if item.with_shared else []
    trial = plan.trial(item.trial)
    own = [step.name for step in trial.steps] if trial is not None else []
    of_shared, of_trial = work.get(SHARED_TRIAL, {}), work.get(item.trial, {})
    found = {name: of_shared[name] for name in shared if name in of_shared}
    return found | {name: of_trial[name] for name in own if name in of_trial}


class Follower:
    """Adds to the progress of trials what their files do not have.

    Args:
        queue: the trials.
        at_once: how many of them run at the same time.
        turn: this sweep among the cluster's others; None without other sweeps.
        first: the work of the first run, which is known already.
    """

    def __init__(self, queue: ItemQueue, at_once: int, turn: Turn | None, first: Work) -> None:
        self._queue, self._at_once, self._turn = queue, at_once, turn
        self._items = {**queue.handed_out, **queue.waiting}
        self._time_left = TimeLeft()
        self._ended: set[str] = set()
        self._start_seconds: dict[str, float] = {}
        self._asked_at, self._answer = 0.0, ""
        runs = list({item.run.name: item.run for item in self._items.values()}.values())
        self._has_one_run = len(runs) == 1
        # Runs that are executed together have the same resources.
        self._hours_unit = runs[0].config.compute.hours_unit
        self._may_end_early = any(_stops_early(run.config) for run in runs)
        self._add(runs[0], first)
        if len(runs) > 1:
            threading.Thread(target=self._add_all, args=(runs[1:],), name="minidisc-work", daemon=True).start()

    def _add_all(self, runs: Sequence[PreparedRun]) -> None:
        # Runs of a study share their tokenizer, and one tokenizer fails if two threads encode with it.
        tokenizers = {id(run.tokenizer): copy.deepcopy(run.tokenizer) for run in runs}
        for run in runs:
            # A copy: the finisher forgets the rows of a run that is over.
            self._add(run, work_of(replace(run, encoded={}, tokenizer=tokenizers[id(run.tokenizer)])))

    def _add(self, run: PreparedRun, work: Work) -> None:
        for item in self._items.values():
            if item.run.name == run.name:
                self._time_left.add(_key(item), stages_of(item, work))

    def follow(
        self, running: Sequence[Item], shown: Sequence[Progress], of_trials: Mapping[str, Progress]
    ) -> RunProgress:
        """Progress of everything.

        Args:
            running: the items that are handed out.
            shown: the progress to show, with the trials' full names.
            of_trials: progress of running and finished items, by title.
        """
        for title, progress in of_trials.items():
            if title in self._items:
                self._time_left.follow(_key(self._items[title]), progress)
                if title not in self._start_seconds and title in self._queue.handed_out_at:
                    started_after = progress.started_at - self._queue.handed_out_at[title]
                    self._start_seconds[title] = max(0.0, started_after)
        for title in self._queue.succeeded - self._ended:
            self._ended.add(title)
            self._time_left.end(_key(self._items[title]))
        left = self._queue.open_titles()
        return RunProgress(
            trials=shown,
            num_finished=len(self._queue.succeeded),
            num_left=len(left),
            seconds_left=self._time_left.seconds(self._probabilities(left), self._at_once, self._mean_start()),
            waiting=self._waiting([item for item in running if not self._has_worker(item, of_trials)]),
            hours_unit=self._hours_unit,
            may_end_early=self._may_end_early,
        )

    def _mean_start(self) -> float:
        found = self._start_seconds.values()
        return sum(found) / len(found) if found else 0.0

    def _probabilities(self, titles: set[str]) -> dict[TrialKey, float]:
        held_back = self._queue.held_back()
        found: dict[TrialKey, float] = {}
        for title in titles:
            trials = self._items[title].run.plan.trials
            found[_key(self._items[title])] = num_promoted(len(trials)) / len(trials) if title in held_back else 1.0
        return found

    def _has_worker(self, item: Item, of_trials: Mapping[str, Progress]) -> bool:
        progress = of_trials.get(item.title)
        return progress is not None and progress.updated_at >= self._queue.handed_out_at.get(item.title, 0.0)

    def _waiting(self, items: Sequence[Item]) -> str | None:
        if not items:
            ahead = self._turn.ahead_text if self._turn is not None else None
            return f"waiting for {ahead}" if ahead is not None and not self._queue.handed_out else None
        now = time.monotonic()
        if not self._answer or now - self._asked_at > _SECONDS_BETWEEN_QUESTIONS:
            self._asked_at, self._answer = now, what_is_missing(items[0].run.config.compute)
        name = items[0].trial if self._has_one_run else items[0].title
        names = name if len(items) == 1 else f"{len(items)} trials"
        return f"{names}: waiting for a worker; {self._answer}"


def what_is_missing(compute: ComputeConfig) -> str:
    """Why trials of this process have no worker yet: resources that are not free, or processes that start."""
    context = ray.get_runtime_context()
    pending = None
    # Without an answer, nothing is said of resources.
    with suppress(Exception):
        pending = list_placement_groups(
            address=context.gcs_address,
            filters=[("creator_job_id", "=", context.get_job_id()), ("state", "=", "PENDING")],
            timeout=_QUESTION_SECONDS,
        )
    if not pending:
        return "its process starts"
    free, every = ray.available_resources(), ray.cluster_resources()
    needs = [
        (compute.num_workers * compute.cpus_per_worker, "CPU"),
        (compute.num_workers * compute.gpus_per_worker, "GPU"),
    ]
    return "; ".join(
        f"it needs {need:g} {kind}s, {free.get(kind, 0.0):g} of the cluster's {every.get(kind, 0.0):g} are free"
        for need, kind in needs
        if need > 0
    )


def _stops_early(config: RunConfig) -> bool:
    stages = (config.finetune, config.sandwich_training, config.distil_training)
    return any(stage.early_stop_epochs is not None for stage in stages)


def _key(item: Item) -> TrialKey:
    return item.run.name, item.trial
