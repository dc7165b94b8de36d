"""Writes the result of each run as soon as none of its trials is to come."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from minidisc_ray.configs.base import UserError
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
    """The runs that have no result yet.

    Attributes:
        left: by name.
        errors: by name, why a run got no result.
    """

    def __init__(self, runs: Sequence[PreparedRun], on_result: OnResult | None) -> None:
        self.left = {run.name: run for run in runs if not is_finished(run)}
        self.errors: dict[str, Exception] = {}
        self.started_at = time.time()
        self._on_result = on_result

    def has_ended_trials(self) -> bool:
        """Whether a run only lacks its result."""
        return any(is_trial_finished(run, trial) for run in self.left.values() for trial in run.plan.ends)

    def drop_finished(self) -> None:
        """Forget runs that another driver has finished meanwhile."""
        self.left = {name: run for name, run in self.left.items() if not is_finished(run)}

    def finish(self, queue: ItemQueue | None = None) -> None:
        """Write the results of runs whose trials are over; without a queue those of all that are left."""
        open_titles = queue.open_titles() if queue is not None else set()
        for run in list(self.left.values()):
            if any(item_title(run, trial.name) in open_titles for trial in run.plan.all_trials()):
                continue
            del self.left[run.name]
            if any(is_trial_finished(run, trial) for trial in run.plan.ends):
                self._write_result(run)
            elif run.run_folder.exists():
                self._give_up(run, queue)
            run.encoded.clear()

    def _write_result(self, run: PreparedRun) -> None:
        """What keeps one run from its result (a damaged record, a full disk) is that run's failure, not the study's."""
        try:
            result = finish_run(run, self.started_at)
            if self._on_result is not None:
                self._on_result(run, result)
        except (UserError, TrainingError, OSError) as error:
            self.errors[run.name] = error
            with suppress(OSError):
                write_failure(run.storage, run.run_folder, MAIN_TRIAL, f"its result could not be written: {error}")

    def _give_up(self, run: PreparedRun, queue: ItemQueue | None) -> None:
        """A run that made no student says why in its own folder, whichever trial it was."""
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
