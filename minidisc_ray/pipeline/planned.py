"""The objective of each step of a plan, known from sizes alone: whether it can be met, and what it asks for."""

from typing import TYPE_CHECKING

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.schedule import SparseTeacherConfig
from minidisc_ray.objectives import Objective
from minidisc_ray.pipeline.matching import stage_objective
from minidisc_ray.schedules.plan import STUDENT, TEACHER, DistilStep, SandwichStep

if TYPE_CHECKING:
    from minidisc_ray.pipeline.prepare import Prepared


def planned_objective(prepared: "Prepared", step: SandwichStep | DistilStep) -> Objective:
    """The objective of a step.

    Raises:
        UserError: if the step's models or the task cannot give what it needs.
    """
    was_distilled = False
    below_shape = prepared.student_shape if step.name == STUDENT else prepared.shape
    if isinstance(step, SandwichStep):
        above, below = prepared.shape.full(), [prepared.structure(scale) for scale in step.scales]
    else:
        above, below = prepared.structure(prepared.source_percent(step)), [prepared.made_structure(step)]
        was_distilled = step.source != TEACHER and not isinstance(prepared.config.schedule, SparseTeacherConfig)
    return stage_objective(prepared.config, prepared.shape, prepared.task, above, below, was_distilled, below_shape)


def check_objective(prepared: "Prepared") -> None:
    """Refuse an objective that some step's models, their task or the batches cannot give what it needs.

    Raises:
        UserError: saying which.
    """
    config = prepared.config
    for step in (step for trial in prepared.plan.trials for step in trial.steps):
        if not isinstance(step, SandwichStep | DistilStep):
            continue
        is_sandwich = isinstance(step, SandwichStep)
        key, training = ("sandwich", config.sandwich_training) if is_sandwich else ("distil", config.distil)
        objective = planned_objective(prepared, step)
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
    step = prepared.plan.trials[0].steps[-1]
    assert isinstance(step, DistilStep)
    if planned_objective(prepared, step).needs().reads_predictions:
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
