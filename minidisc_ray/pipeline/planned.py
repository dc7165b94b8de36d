"""The objective of each step of a plan, known from sizes alone: whether it can be met, and what it asks for."""

from typing import TYPE_CHECKING

from torch import Tensor

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.schedule import SparseTeacherConfig
from minidisc_ray.objectives import Objective
from minidisc_ray.pipeline.matching import stage_objective
from minidisc_ray.schedules.plan import TEACHER, DistilStep, SandwichStep

if TYPE_CHECKING:
    from minidisc_ray.pipeline.prepare import Prepared


def planned_objective(prepared: "Prepared", step: SandwichStep | DistilStep) -> Objective:
    """The objective of a step.

    Raises:
        UserError: if the step's models or the task cannot give what it needs.
    """
    parts: dict[str, Tensor] | None = None
    if isinstance(step, SandwichStep):
        above, below = prepared.shape.full(), [prepared.structure(scale) for scale in step.scales]
    else:
        above, below = prepared.structure(prepared.source_percent(step)), [prepared.made_structure(step)]
        if step.source != TEACHER and not isinstance(prepared.config.schedule, SparseTeacherConfig):
            parts = {}
    return stage_objective(prepared.config, prepared.shape, prepared.task, above, below, parts)


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
        rows = training.batch_size // (config.compute.num_workers * training.accumulation_steps)
        needed = planned_objective(prepared, step).needs().rows
        if rows < needed:
            raise UserError(
                f"{key}.batch_size: {training.batch_size} rows give each of {config.compute.num_workers} workers "
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
        f"{prepared.config.objective.label} never looks at predictions: the student answers through the teacher's "
        "classifier as it is; put labels, kd or od beside it (kind: sum) or after it (kind: sequence) to train that"
    )
