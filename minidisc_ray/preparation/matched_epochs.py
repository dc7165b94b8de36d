"""Conventional distillation that is trained until it has cost what another schedule would."""

import math
from dataclasses import replace

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.preparation.checkpoint_student import plan_for
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.sizes import check_structures


def with_matched_epochs(prepared: PreparedRun) -> PreparedRun:
    """The same run with the epochs of a compute-matched schedule filled in; unchanged for every other one.

    They are the fewest whose FLOPs, in closed form and evaluation included, reach those of the schedule to be matched.

    Raises:
        UserError: if that schedule does not fit the recipe, or the recipe names other epochs.
    """
    schedule = prepared.config.schedule
    if not isinstance(schedule, ConventionalConfig) or schedule.match is None:
        return prepared
    config = prepared.config
    try:
        matched = config.with_schedule(schedule.match)
        check_structures(matched, prepared.shape)
    except UserError as error:
        raise UserError(f"schedule.match: {error}") from error
    target = _flops(prepared, matched)
    one, two = (_flops(prepared, config.with_num_epochs(count)) for count in (1, 2))
    needed = max(1, 1 + math.ceil((target - one) / (two - one)))
    if schedule.num_epochs not in (None, needed):
        raise UserError(
            f"schedule.num_epochs: {schedule.num_epochs} is not what reaches the cost of schedule.match; leave it out, "
            f"or write {needed}"
        )
    config = config.with_num_epochs(needed)
    return replace(prepared, config=config, plan=plan_for(config, prepared.checkpoint_student))


def _flops(prepared: PreparedRun, config: RunConfig) -> float:
    # As if there were memory for the teacher's outputs: the epochs are part of what the run is, resources are not.
    planned = replace(prepared, config=config, plan=plan_for(config, prepared.checkpoint_student))
    return sum(stage.flops for stage in Estimator(planned, cache_bytes=math.inf).stages() if stage.in_ratio)
