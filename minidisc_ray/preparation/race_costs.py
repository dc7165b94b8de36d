"""Computes a race's FLOPs in closed form, from the evaluations that it made or is expected to make."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from minidisc_ray.core.race import CheckTimes, RaceEvent
from minidisc_ray.data import EncodedRows
from minidisc_ray.data.batching import take_rows
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.schedules.plan import RaceStep
from minidisc_ray.training.race import scored_rows
from minidisc_ray.training.score import pass_flops


def race_times(prepared: PreparedRun) -> CheckTimes:
    """The steps at which a run's race is evaluated."""
    training = prepared.config.sandwich_training
    return CheckTimes(-(-len(prepared.train) // training.batch_size), training.num_epochs)


def race_training_flops(
    step: RaceStep, times: CheckTimes, events: Sequence[RaceEvent], epoch_flops: Callable[[int], float]
) -> float:
    """FLOPs of a race's training: each step trains the largest candidate left, the slice, and a draw of those between.

    Args:
        step: the race.
        times: the steps of its evaluations.
        events: its evaluations in order, the first one at step 0.
        epoch_flops: the FLOPs of training a scale, in percent, for one epoch.
    """
    ends = [*events[1:], RaceEvent(times.num_steps, (), 0)]
    total = 0.0
    for event, following in zip(events, ends, strict=True):
        epochs = (following.step - event.step) / times.steps_per_epoch
        total += epochs * sum(weight * epoch_flops(scale) for scale, weight in _weights(step, event.alive).items())
    return total


def race_evaluation_flops(
    prepared: PreparedRun, step: RaceStep, times: CheckTimes, events: Sequence[RaceEvent]
) -> float:
    """FLOPs of scoring the teacher once, and of a race's evaluations during and after its epochs."""
    every_row = prepared.selection

    def scoring_flops(scales: Sequence[int], rows: EncodedRows) -> float:
        # Every evaluation scores the student's slice too.
        scored = [prepared.structure(scale) for scale in (*scales, step.student_percent)]
        return float(sum(pass_flops(prepared.shape, structure, rows) for structure in scored))

    total = float(pass_flops(prepared.shape, prepared.shape.full(), every_row))
    for earlier, event in pairwise([RaceEvent(0, step.candidates, 0), *events]):
        indices = scored_rows(len(every_row), event.num_rows, prepared.config.seed)
        rows = take_rows(every_row, torch.from_numpy(indices))
        total += scoring_flops(times.scored(event.step, earlier.alive), rows)
    for end in range(times.steps_per_epoch, times.num_steps + 1, times.steps_per_epoch):
        # An epoch's end scores the slice, and the assistant once it is chosen.
        total += scoring_flops(events[-1].alive if events[-1].step <= end else (), every_row)
    return total


def _weights(step: RaceStep, alive: Sequence[int]) -> dict[int, float]:
    """How often, on average, one optimiser step trains each scale."""
    if not alive:
        return {step.student_percent: 1.0}
    if step.num_sampled == 1:
        return dict.fromkeys((*alive, step.student_percent), 1 / (1 + len(alive)))
    largest, *between = alive
    share = min(1.0, (step.num_sampled - 2) / len(between)) if between else 0.0
    return {**dict.fromkeys(between, share), largest: 1.0, step.student_percent: 1.0}
