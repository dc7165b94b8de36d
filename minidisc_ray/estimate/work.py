"""What a run has left to do: its unfinished stages, with their closed-form FLOPs."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from minidisc_ray.estimate.time_left import StageWork
from minidisc_ray.pipeline.decision import decided
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.failures import trial_folder
from minidisc_ray.run_files.records import read_record
from minidisc_ray.schedules.plan import ImportanceStep, Step, TeacherStep, Trial

# By trial and by stage, in the order of execution.
Work = Mapping[str, Mapping[str, StageWork]]


def work_of(prepared: PreparedRun) -> Work:
    """A run's unfinished stages, by trial; encodes the run's rows if they are not encoded yet.

    Until a run has decided whether to use an assistant, it is expected to.
    """
    prepared = decided(prepared)
    finished = {(trial, stage) for trial, stage, _ in finished_stages(prepared)}
    every = [trial.name for trial in prepared.plan.trials]
    work: dict[str, dict[str, StageWork]] = {}
    for found in Estimator(prepared, promoted=every).stages():
        if (found.trial, found.stage) not in finished:
            # A stage scores its model after each epoch, and its kept model after the last step: about half each.
            in_steps = (found.training_flops + found.evaluation_flops / 2) / found.flops if found.flops else 1.0
            work.setdefault(found.trial, {})[found.stage] = StageWork(found.flops, in_steps)
    return work


def flops_of(stages: Mapping[str, StageWork]) -> float:
    """FLOPs of a trial's stages together."""
    return sum(stage.flops for stage in stages.values())


def finished_stages(prepared: PreparedRun) -> Iterator[tuple[str, str, Path]]:
    """Trial, stage and folder of each stage that has a record, in the order of execution."""
    for trial, step in prepared.plan.every_step():
        folder = _folder_of(prepared, trial, step)
        if read_record(prepared.storage, folder, verify=False) is not None:
            yield trial.name, step.name, folder


def _folder_of(prepared: PreparedRun, trial: Trial, step: Step) -> Path:
    if isinstance(step, TeacherStep):
        return prepared.teacher_folder
    if isinstance(step, ImportanceStep):
        return prepared.importance_folder
    return trial_folder(prepared.run_folder, trial.name) / "stages" / step.name
