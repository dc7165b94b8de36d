"""The closed form of a plan's training FLOPs, for the epochs that the recipe asks for."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from minidisc_ray.core.flops import EncoderShape, forward_macs
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import EncodedRows, epoch_batches, evaluation_batches
from minidisc_ray.pipeline.planned import planned_objective
from minidisc_ray.pipeline.prepare import Prepared
from minidisc_ray.schedules.plan import (
    ChooseStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    SandwichStep,
    Step,
    TeacherStep,
)
from minidisc_ray.training.importance import BATCH_SIZE as IMPORTANCE_BATCH_SIZE
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE
from minidisc_ray.training.teacher_outputs import cached_bytes


@dataclass(frozen=True)
class StageEstimate:
    """Training FLOPs of one step of a plan."""

    trial: str
    stage: str
    training_flops: float
    in_ratio: bool


class Estimator:
    """Counts steps of a plan over the padded sizes of the training split's own batches."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        rows, config = prepared.train, prepared.config
        self.once = _sizes(rows, evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE))
        self.importance = _sizes(rows, evaluation_batches(rows.lengths, IMPORTANCE_BATCH_SIZE))
        trainings = {
            "finetune": config.finetune,
            "sandwich": config.sandwich_training,
            "distil": config.distil,
        }
        self.epochs = {name: training.num_epochs for name, training in trainings.items()}
        self.sizes = {
            name: _sizes(rows, epoch_batches(rows.lengths, training.batch_size, config.seed, 0))
            for name, training in trainings.items()
        }

    def stages(self) -> list[StageEstimate]:
        """Every step of the plan, in the order of execution."""
        plan = self.prepared.plan
        shared = [self._stage("shared", step) for step in plan.shared]
        return shared + [self._stage(trial.name, step) for trial in plan.trials for step in trial.steps]

    def _stage(self, trial: str, step: Step) -> StageEstimate:
        return StageEstimate(trial, step.name, self._flops(step), not isinstance(step, TeacherStep))

    def _flops(self, step: Step) -> float:
        full = self.prepared.shape.full()
        match step:
            case TeacherStep():
                if self.prepared.teacher_is_fine_tuned:
                    return 0.0
                return self._training("finetune", full)
            case ImportanceStep():
                limit = self.prepared.config.pruning.importance_rows
                count = len(self.prepared.train)
                return 4 * self._macs(self.importance, full) * min(limit or count, count) / count
            case SandwichStep():
                trained = sum(
                    weight * self._training("sandwich", self.prepared.structure(scale))
                    for scale, weight in _weights(step).items()
                )
                return trained + self._teacher("sandwich", full, step)
            case DistilStep():
                source = self.prepared.structure(self.prepared.source_percent(step))
                shape = self.prepared.student_shape if step.makes_student else self.prepared.shape
                return self._training("distil", self.prepared.made_structure(step), shape) + self._teacher(
                    "distil", source, step
                )
            case ChooseStep() | PruneStep():
                return 0.0

    def _training(self, stage: str, structure: Structure, shape: EncoderShape | None = None) -> float:
        return 6 * self._macs(self.sizes[stage], structure, shape) * self.epochs[stage]

    def _teacher(self, stage: str, structure: Structure, step: SandwichStep | DistilStep) -> float:
        prepared = self.prepared
        wanted = planned_objective(prepared, step).needs().teacher
        if not wanted:
            return 0.0
        size = cached_bytes(prepared.train, prepared.task.num_labels, wanted, prepared.shape, structure)
        if size <= prepared.config.compute.teacher_cache_gib * 2**30:
            return 2 * self._macs(self.once, structure)
        return 2 * self._macs(self.sizes[stage], structure) * self.epochs[stage]

    def _macs(self, sizes: Iterable[tuple[int, int]], structure: Structure, shape: EncoderShape | None = None) -> float:
        shape = shape or self.prepared.shape
        return float(sum(forward_macs(shape, structure, rows, length) for rows, length in sizes))


def _sizes(rows: EncodedRows, batches: Iterable[Tensor]) -> list[tuple[int, int]]:
    return [(len(indices), int(rows.lengths[indices].max())) for indices in batches]


def _weights(step: SandwichStep) -> dict[int, float]:
    """How often a step trains each scale."""
    if step.trained is not None:
        return dict.fromkeys(step.trained, 1.0)
    scales = step.scales
    if step.num_sampled == 1:
        return {scales[0]: 1.0}
    filling = scales[1:-1]
    share = (step.num_sampled - 2) / len(filling) if filling else 0.0
    return {scales[0]: 1.0, scales[-1]: 1.0, **dict.fromkeys(filling, share)}
