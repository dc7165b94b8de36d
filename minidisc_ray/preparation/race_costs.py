"""The closed form of a race's FLOPs, along the path that it took or is expected to take."""

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
    """When a run's race is checked."""
    training = prepared.config.sandwich_training
    return CheckTimes(-(-len(prepared.train) // training.batch_size), training.num_epochs)


def race_training_flops(
    step: RaceStep, times: CheckTimes, events: Sequence[RaceEvent], epoch_flops: Callable[[int], float]
) -> float:
    """Of all steps: the largest candidate that is in, the slice, and each filling as often as any other.

    Args:
        step: the race.
        times: of its evaluations.
        events: its evaluations in order; the first one is at step 0.
        epoch_flops: of an epoch's steps at a scale in percent.
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
    """Of the teacher's answers, of every check, and of every epoch's end."""
    every_row = prepared.selection

    def of(scales: Sequence[int], rows: EncodedRows) -> float:
        # The student's slice is looked at with any.
        found = [prepared.structure(scale) for scale in (*scales, step.student_percent)]
        return float(sum(pass_flops(prepared.shape, structure, rows) for structure in found))

    total = float(pass_flops(prepared.shape, prepared.shape.full(), every_row))
    before = [RaceEvent(0, step.candidates, 0), *events]
    for earlier, event in pairwise(before):
        looked_at = scored_rows(len(every_row), event.num_rows, prepared.config.seed)
        total += of(times.scored(event.step, earlier.alive), take_rows(every_row, torch.from_numpy(looked_at)))
    for end in range(times.steps_per_epoch, times.num_steps + 1, times.steps_per_epoch):
        # The slice, and once it is chosen the assistant.
        total += of(events[-1].alive if events[-1].step <= end else (), every_row)
    return total


def _weights(step: RaceStep, alive: Sequence[int]) -> dict[int, float]:
    """How often a step trains each scale."""
    if not alive:
        return {step.student_percent: 1.0}
    if step.num_sampled == 1:
        return dict.fromkeys((*alive, step.student_percent), 1 / (1 + len(alive)))
    largest, *fillings = alive
    share = min(1.0, (step.num_sampled - 2) / len(fillings)) if fillings else 0.0
    return {**dict.fromkeys(fillings, share), largest: 1.0, step.student_percent: 1.0}
