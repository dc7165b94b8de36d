"""Checks a recipe and works out everything that is known before a run starts."""

import math
from dataclasses import replace

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import run_identity, run_name
from minidisc_ray.configs.model import LayersStudentConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.data import Splits
from minidisc_ray.preparation.checkpoint_student import plan_for, with_checkpoint_student
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.objective import check_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.shared_inputs import SharedInputs
from minidisc_ray.preparation.sizes import check_structures, with_law_scale
from minidisc_ray.preparation.storage_check import check_storage
from minidisc_ray.preparation.student_scale import layers_percent
from minidisc_ray.run_files.fetching import open_storage


def prepare(config: RunConfig, splits: Splits | None = None, inputs: SharedInputs | None = None) -> PreparedRun:
    """Check a recipe against its data, models and storage, and return it prepared; starts nothing.

    Args:
        config: the recipe.
        splits: the recipe's rows, if they are loaded already.
        inputs: of recipes that were prepared before.

    Raises:
        UserError: for the first mistake found.
    """
    inputs = inputs or SharedInputs()
    splits = splits or inputs.splits(config)
    teacher = inputs.teacher(config, splits.task)
    tokenizer, shape, limit = teacher.tokenizer, teacher.shape, teacher.max_length
    if config.data.max_length > limit:
        raise UserError(f"data.max_length: {config.data.max_length} is more than the teacher's {limit} positions")
    if isinstance(config.student, LayersStudentConfig):
        config = config.with_student_scale(layers_percent(config.student, shape.num_layers))
    config, student = with_checkpoint_student(config, splits.task, tokenizer, shape)
    config = with_law_scale(config, shape, None if student is None else student.encoder_parameters)
    check_structures(config, shape)
    prepared = PreparedRun(
        config=config,
        storage=open_storage(config.storage),
        splits=splits,
        tokenizer=tokenizer,
        plan=plan_for(config, student),
        shape=shape,
        identity={},
        name="",
        teacher_is_fine_tuned=teacher.is_fine_tuned,
        checkpoint_student=student,
    )
    prepared = _with_matched_epochs(prepared, inputs)
    contents = {"data": splits.digest, "teacher": teacher.digest, "tokenizer": teacher.tokenizer_digest}
    if student is not None:
        contents["student"] = student.digest
    identity = run_identity(prepared.config, contents)
    prepared = replace(prepared, identity=identity, name=run_name(prepared.config, identity))
    check_objective(prepared)
    check_storage(prepared.storage, prepared.config.storage, prepared.name, prepared.identity)
    return prepared


def _with_matched_epochs(prepared: PreparedRun, inputs: SharedInputs) -> PreparedRun:
    """The run with the epochs of a compute-matched schedule filled in; unchanged for every other schedule.

    The epochs are the fewest whose closed-form FLOPs, evaluation included, reach those of the matched schedule.

    Raises:
        UserError: if the matched schedule does not fit the recipe, or the recipe gives other epochs.
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
    prepared.encoded.update(inputs.encoded(config))
    target = _flops(prepared, matched)
    inputs.encoded(config).update(prepared.encoded)
    one, two = (_flops(prepared, config.with_num_epochs(count)) for count in (1, 2))
    needed = max(1, 1 + math.ceil((target - one) / (two - one)))
    if schedule.num_epochs not in (None, needed):
        raise UserError(
            f"schedule.num_epochs: {schedule.num_epochs} epochs do not match the cost of schedule.match; leave "
            f"it out, or write {needed}"
        )
    config = config.with_num_epochs(needed)
    return replace(prepared, config=config, plan=plan_for(config, prepared.checkpoint_student))


def _flops(prepared: PreparedRun, config: RunConfig) -> float:
    # Counted as if all teacher outputs fit in the cache: the epochs are part of the run's identity, its memory is not.
    planned = replace(prepared, config=config, plan=plan_for(config, prepared.checkpoint_student))
    return sum(stage.flops for stage in Estimator(planned, cache_bytes=math.inf).stages() if stage.in_ratio)
