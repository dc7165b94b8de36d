"""What a run with ``schedule.kind: auto`` decided, from the record of that step."""

from minidisc_ray.configs.schedule import AutoConfig
from minidisc_ray.pipeline.trial import stage_folder
from minidisc_ray.preparation.outcomes import with_outcome
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.decision import GapDecision
from minidisc_ray.run_files.failures import trial_folder
from minidisc_ray.run_files.records import read_record
from minidisc_ray.schedules.plan import DecideStep


def decision_of(prepared: PreparedRun) -> GapDecision | None:
    """The decision; None if the plan has none to make, or it is not made yet."""
    for trial, step in prepared.plan.own_steps():
        if isinstance(step, DecideStep):
            folder = stage_folder(trial_folder(prepared.run_folder, trial.name), step)
            record = read_record(prepared.storage, folder, verify=False)
            return None if record is None else record.decision
    return None


def decided(prepared: PreparedRun) -> PreparedRun:
    """The run with the schedule and the steps that follow its decision; unchanged until it has decided."""
    if not isinstance(prepared.config.schedule, AutoConfig) or (decision := decision_of(prepared)) is None:
        return prepared
    return with_outcome(prepared, decision.uses_assistant)
