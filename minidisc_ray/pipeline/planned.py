"""The objective of each step of a plan, known from sizes alone: whether it can be met, and what it asks for."""

from typing import TYPE_CHECKING

from minidisc_ray.configs.base import UserError
from minidisc_ray.objectives import Objective
from minidisc_ray.pipeline.matching import stage_objective
from minidisc_ray.schedules.expected import expected_percent, expected_sandwich
from minidisc_ray.schedules.plan import TEACHER, DistilStep, PruneStep, SandwichStep, Trial

if TYPE_CHECKING:
    from minidisc_ray.pipeline.prepared import Prepared


def planned_objective(prepared: "Prepared", trial: Trial, step: SandwichStep | DistilStep) -> Objective:
    """The objective of a trial's step.

    Raises:
        UserError: if the step's models or the task cannot give what it needs.
    """
    above = prepared.structure(expected_percent(prepared.plan, trial, step.source))
    if isinstance(step, SandwichStep):
        below = [prepared.structure(scale) for scale in expected_sandwich(prepared.plan, trial, step).scales]
    else:
        below = [prepared.made_structure(trial, step)]
    was_distilled = step.source != TEACHER and not isinstance(trial.step(step.source), PruneStep)
    below_shape = prepared.shape_made(step.name)
    return stage_objective(prepared.config, prepared.shape, prepared.task, above, below, was_distilled, below_shape)


def check_objective(prepared: "Prepared") -> None:
    """Refuse an objective that some step's models, their task or the batches cannot give what it needs.

    Raises:
        UserError: saying which.
    """
    config = prepared.config
    for trial, step in prepared.plan.own_steps():
        if not isinstance(step, SandwichStep | DistilStep):
            continue
        is_sandwich = isinstance(step, SandwichStep)
        key, training = ("sandwich", config.sandwich_training) if is_sandwich else ("distil", config.distil_training)
        objective = planned_objective(prepared, trial, step)
        batch = min(training.batch_size, len(prepared.splits.train))
        rows = batch // (config.compute.num_workers * training.accumulation_steps)
        needed = objective.needs().rows
        num_steps = -(-len(prepared.splits.train) // training.batch_size) * training.num_epochs
        if objective.settles_at() * num_steps > num_steps - 1:
            raise UserError(
                f"objective.kind: {config.objective.kind} has a last phase that begins after all of {key}'s "
                f"{num_steps} steps; give it a larger share, or train longer"
            )
        # Rows that stand alone need no other: a worker without any just waits.
        if needed > 1 and rows < needed:
            raise UserError(
                f"{key}.batch_size: {batch} rows give each of {config.compute.num_workers} workers "
                f"{rows} in each of {training.accumulation_steps} parts, but objective.kind {config.objective.kind} "
                f"compares rows with each other and needs {needed}; raise the batch size"
            )


def untrained_head_note(prepared: "Prepared") -> str | None:
    """What to know of an objective that never looks at predictions; None for the others."""
    trial = prepared.plan.ends[0]
    step = trial.steps[-1]
    assert isinstance(step, DistilStep)
    if planned_objective(prepared, trial, step).needs().reads_predictions:
        return None
    return (
        f"{prepared.config.objective.label} never looks at predictions: the student answers through "
        f"{_untrained_head(prepared)}, and that one's metric picks the kept epoch; put labels, kd or od beside it "
        "(kind: sum) or after it (kind: sequence)"
    )


def _untrained_head(prepared: "Prepared") -> str:
    own = prepared.own_student
    if own is None:
        return "the teacher's classifier as it is"
    return "its own classifier as it is" if own.has_trained_head else "a new classifier that nothing trains"
