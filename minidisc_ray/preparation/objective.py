"""Builds the objective of each step of a plan from model sizes alone, and checks that its needs can be met."""

import math
from collections.abc import Iterable

import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.objectives import Objective, build_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.schedules.expected import expected_percent, expected_sandwich
from minidisc_ray.schedules.plan import PROBE, TEACHER, DistilStep, PruneStep, RaceStep, SandwichStep, Trial
from minidisc_ray.schedules.training import last_epoch


def stage_objective(
    config: RunConfig,
    shape: EncoderShape,
    task: Task,
    above: Structure,
    below: Iterable[Structure],
    was_distilled: bool,
    below_shape: EncoderShape | None = None,
) -> Objective:
    """The recipe's objective between two models; its own parts are initialised the same in every process.

    Args:
        config: the recipe.
        shape: the unpruned teacher's sizes.
        task: what both models predict.
        above: the structure of the model that teaches.
        below: the structures of the models that learn, several in a sandwich.
        was_distilled: whether the model that teaches was made by a stage with this objective.
        below_shape: the unpruned sizes of the models that learn; by default the teacher's.

    Raises:
        UserError: if these models or their task cannot give what the objective needs.
    """
    smallest = min(below, key=lambda structure: structure.scale_percent)
    pair = Pair(
        _side(_teacher_name(config, above), shape, above, was_distilled),
        _side(f"student at {smallest.scale_percent}%", below_shape or shape, smallest, was_distilled=False),
        task,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_objective(config.objective, pair)


def planned_objective(prepared: PreparedRun, trial: Trial, step: SandwichStep | DistilStep) -> Objective:
    """The objective of a trial's step.

    Raises:
        UserError: if the step's models or the task cannot give what the objective needs.
    """
    above = prepared.structure(expected_percent(prepared.plan, trial, step.source))
    if isinstance(step, SandwichStep):
        below = [prepared.structure(scale) for scale in expected_sandwich(prepared.plan, trial, step).scales]
    else:
        below = [prepared.expected_structure(trial, step)]
    was_distilled = step.source != TEACHER and not isinstance(trial.step(step.source), PruneStep)
    below_shape = prepared.expected_shape(step.name)
    return stage_objective(prepared.config, prepared.shape, prepared.task, above, below, was_distilled, below_shape)


def check_objective(prepared: PreparedRun) -> None:
    """Refuse an objective whose needs a step's models, its task or its batches cannot meet.

    Raises:
        UserError: naming the key and the need.
    """
    config = prepared.config
    for trial, step in prepared.plan.own_steps():
        if not isinstance(step, SandwichStep | DistilStep):
            continue
        is_sandwich = isinstance(step, SandwichStep)
        key, training = ("sandwich", config.sandwich_training) if is_sandwich else ("distil", config.distil_training)
        objective = planned_objective(prepared, trial, step)
        _check_in_place(config, step, objective)
        _check_probe(config, step, objective)
        batch = min(training.batch_size, len(prepared.splits.train))
        rows = batch // (config.compute.num_workers * training.accumulation_steps)
        needed = objective.needs().rows
        num_steps = -(-len(prepared.splits.train) // training.batch_size) * training.num_epochs
        if objective.final_phase_start() * num_steps > num_steps - 1:
            raise UserError(
                f"objective.kind: {config.objective.kind} has a last phase that begins after all of {key}'s "
                f"{num_steps} steps; give it a larger share, or train longer"
            )
        # An objective that takes each row alone works with any number, even if some workers get no rows.
        if needed > 1 and rows < needed:
            raise UserError(
                f"{key}.batch_size: {batch} rows give each of {config.compute.num_workers} workers "
                f"{rows} in each of {training.accumulation_steps} parts, but objective.kind {config.objective.kind} "
                f"compares rows with each other and needs {needed}; raise the batch size"
            )


def _check_probe(config: RunConfig, step: SandwichStep | DistilStep, objective: Objective) -> None:
    """Refuse a probe that ends before the objective's last phase: it would score something else."""
    if not isinstance(step, DistilStep) or step.name != PROBE:
        return
    count, last, start = config.distil_training.num_epochs, last_epoch(config, step), objective.final_phase_start()
    needed = math.floor(start * count) + 1
    if start > 0 and last < needed:
        raise UserError(
            f"schedule.probe_share: {step.stop_share:g} ends the probe after epoch {last} of {count}, before the last "
            f"phase of objective.kind {config.objective.kind}; use {math.ceil(100 * needed / count) / 100:g} or more"
        )


def _check_in_place(config: RunConfig, step: SandwichStep | DistilStep, objective: Objective) -> None:
    if not isinstance(step, RaceStep) or not step.in_place:
        return
    wanted = objective.needs().teacher
    if not wanted:
        raise UserError(
            f"schedule.in_place: true, but objective.kind {config.objective.kind} needs no teacher; leave "
            "schedule.in_place out"
        )
    if wanted.queries | wanted.keys | wanted.values:
        raise UserError(
            f"schedule.in_place: true, but the objective, {config.objective.label}, compares attention, of which "
            "smaller networks have other heads; use one on logits or hidden states such as ltsd, or leave in_place out"
        )


def untrained_head_note(prepared: PreparedRun) -> str | None:
    """A warning if the objective never uses the student's predictions; else None."""
    trial = prepared.plan.ends[0]
    step = trial.steps[-1]
    assert isinstance(step, DistilStep)
    if planned_objective(prepared, trial, step).needs().reads_predictions:
        return None
    return (
        f"{prepared.config.objective.label} never uses predictions: the student predicts with "
        f"{_untrained_head(prepared)}, whose metric picks the kept epoch; add labels, kd or od beside it "
        "(kind: sum) or after it (kind: sequence)"
    )


def _untrained_head(prepared: PreparedRun) -> str:
    student = prepared.checkpoint_student
    if student is None:
        return "the teacher's classifier as it is"
    return "its own classifier as it is" if student.has_trained_head else "a new classifier that nothing trains"


def _side(name: str, shape: EncoderShape, structure: Structure, was_distilled: bool) -> Side:
    return Side(
        name=name,
        num_layers=len(structure.heads),
        hidden_size=shape.hidden_size,
        num_heads=shape.num_heads,
        head_size=shape.head_size,
        has_pruned_heads=min(structure.heads) < shape.num_heads,
        was_distilled=was_distilled,
    )


def _teacher_name(config: RunConfig, structure: Structure) -> str:
    teacher = config.teacher
    name = "the built-in model" if isinstance(teacher, BuiltinTeacherConfig) else teacher.path
    return name if structure.scale_percent == TEACHER_PERCENT else f"{name} at {structure.scale_percent}%"
