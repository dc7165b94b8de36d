"""Writes the result of each run as soon as all its trials are over."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from minidisc_ray.configs.base import UserError
from minidisc_ray.log import logger
from minidisc_ray.pipeline.finish import finish_run, is_finished, is_trial_finished
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.items import item_title
from minidisc_ray.ray_backend.policies.queue import ItemQueue
from minidisc_ray.run_files.failures import read_failure, write_failure
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL
from minidisc_ray.training.loop import TrainingError

OnResult = Callable[[PreparedRun, RunResult], object]


class Finisher:
    """Writes the results of runs.

    Attributes:
        unfinished: runs without a result, by name.
        errors: by name of the run, why it got no result.
    """

    def __init__(self, runs: Sequence[PreparedRun], on_result: OnResult | None) -> None:
        self.unfinished = {run.name: run for run in runs if not is_finished(run)}
        self.errors: dict[str, Exception] = {}
        self.started_at = time.time()
        self._on_result = on_result

    def has_ended_trials(self) -> bool:
        """Whether a run has a finished final trial, and only its result is missing."""
        return any(is_trial_finished(run, trial) for run in self.unfinished.values() for trial in run.plan.ends)

    def drop_finished(self) -> None:
        """Forget the runs that another driver has finished meanwhile."""
        self.unfinished = {name: run for name, run in self.unfinished.items() if not is_finished(run)}

    def finish(self, queue: ItemQueue | None = None) -> None:
        """Write the results of runs without open trials in the queue; without a queue, of all unfinished runs."""
        open_titles = queue.open_titles() if queue is not None else set()
        for run in list(self.unfinished.values()):
            if any(item_title(run, trial.name) in open_titles for trial in run.plan.all_trials()):
                continue
            del self.unfinished[run.name]
            if any(is_trial_finished(run, trial) for trial in run.plan.ends):
                self._write_result(run)
            elif run.run_folder.exists():
                self._record_failure(run, queue)
            run.encoded.clear()

    def _write_result(self, run: PreparedRun) -> None:
        """Write a result; an error (a damaged record, a full disk) fails this run, and not the study."""
        logger.info("%s: writing its result", run.name)
        try:
            result = finish_run(run, self.started_at)
            if self._on_result is not None:
                self._on_result(run, result)
        except (UserError, TrainingError, OSError) as error:
            self.errors[run.name] = error
            with suppress(OSError):
                write_failure(run.storage, run.run_folder, MAIN_TRIAL, f"its result could not be written: {error}")

    def _record_failure(self, run: PreparedRun, queue: ItemQueue | None) -> None:
        """Record why a run made no student, in the run's own folder, whichever trial failed."""
        names = [SHARED_TRIAL, *(trial.name for trial in run.plan.all_trials())]
        failed = queue.failed if queue is not None else {}
        for name in names:
            if (failure := failed.get(item_title(run, name))) is not None:
                reason = f"trial {name} failed: {failure.sentence}"
                self.errors[run.name] = UserError(failure.sentence) if failure.is_users else TrainingError(reason)
                break
        reasons = [found for name in names if (found := read_failure(run.run_folder, name))]
        if reasons and read_failure(run.run_folder, MAIN_TRIAL) is None:
            write_failure(run.storage, run.run_folder, MAIN_TRIAL, reasons[0])
