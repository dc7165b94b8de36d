"""Computes a plan's FLOPs in closed form, for training and evaluation over all epochs of the recipe."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from minidisc_ray.core.flops import EncoderShape, Sizes, macs_of
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.race import RaceEvent
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import EncodedRows, epoch_batches, evaluation_batches
from minidisc_ray.preparation.objective import planned_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.race_costs import race_evaluation_flops, race_times, race_training_flops
from minidisc_ray.schedules.expected import expected_events, expected_percent, expected_sandwich, expected_steps
from minidisc_ray.schedules.plan import (
    PROBE,
    TEACHER,
    CandidateStep,
    ChooseStep,
    DecideStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    RaceStep,
    SandwichStep,
    Step,
    TeacherStep,
    Trial,
)
from minidisc_ray.schedules.training import num_trained
from minidisc_ray.training.importance import BATCH_SIZE as IMPORTANCE_BATCH_SIZE
from minidisc_ray.training.importance import sample_parts, shuffled_rows
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE
from minidisc_ray.training.score import pass_flops
from minidisc_ray.training.teacher_outputs import cache_limit_bytes, cached_bytes

# importance_rows: auto adds rows until the ranking is stable; on GLUE's tasks this many were enough.
_AUTO_ROWS = 256


@dataclass(frozen=True)
class StageEstimate:
    """FLOPs of one step of a plan; ``in_ratio`` says whether cost ratios count it, as they do all but the teacher."""

    trial: str
    stage: str
    training_flops: float
    evaluation_flops: float
    in_ratio: bool

    @property
    def flops(self) -> float:
        """Training and evaluation together, as cost ratios compare them."""
        return self.training_flops + self.evaluation_flops


class Estimator:
    """Computes the FLOPs of a plan's steps from the padded sizes of the run's batches.

    Args:
        prepared: the checked recipe.
        cache_bytes: how much of the teacher's outputs is cached; by default a run's limit on this machine.
        race: the evaluations of the plan's race, once it is over; by default the expected ones.
        importance_rows: rows that importance was measured on; by default the expected number.
        promoted: names of the trials that go on after their probes; by default the expected ones.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        cache_bytes: float | None = None,
        race: Sequence[RaceEvent] | None = None,
        importance_rows: int | None = None,
        promoted: Collection[str] | None = None,
    ) -> None:
        self.prepared = prepared
        self.race, self.importance_rows, self.promoted = race, importance_rows, promoted
        compute = prepared.config.compute
        self.cache_bytes = cache_limit_bytes(compute, compute.num_workers) if cache_bytes is None else cache_bytes
        rows, config = prepared.train, prepared.config
        self.one_pass = sizes_of(rows, evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE))
        self.importance = sizes_of(rows, evaluation_batches(rows.lengths, IMPORTANCE_BATCH_SIZE))
        trainings = {
            "finetune": config.finetune,
            "sandwich": config.sandwich_training,
            "distil": config.distil_training,
        }
        self.epochs = {name: training.num_epochs for name, training in trainings.items()}
        self.sizes = {
            name: sizes_of(rows, epoch_batches(rows.lengths, training.batch_size, config.seed, 0))
            for name, training in trainings.items()
        }

    def stages(self) -> list[StageEstimate]:
        """Every step of the plan, in the order of execution."""
        return [
            StageEstimate(
                trial.name,
                step.name,
                self._training_flops(trial, step),
                self._evaluation_flops(trial, step),
                in_ratio=not isinstance(step, TeacherStep),
            )
            for trial, step in expected_steps(self.prepared.plan, self.promoted)
        ]

    def _training_flops(self, trial: Trial, step: Step) -> float:
        """FLOPs of a step's training, the teacher's forward passes included."""
        plan = self.prepared.plan
        full = self.prepared.shape.full()
        match step:
            case TeacherStep():
                if self.prepared.teacher_is_fine_tuned:
                    return 0.0
                return self._learner_flops("finetune", full)
            case ImportanceStep():
                prepared = self.prepared
                if prepared.config.pruning.importance == "magnitude":
                    return 0.0
                rows = self.importance_rows or importance_rows(prepared)
                if prepared.config.pruning.importance_rows == "auto":
                    return 4 * macs_of(prepared.shape, full, tuple(_sample_sizes(prepared, rows)))
                return 4 * macs_of(prepared.shape, full, self.importance) * rows / len(prepared.train)
            case RaceStep():
                times = race_times(self.prepared)
                trained = race_training_flops(step, times, self._events(step), self._race_epoch_flops)
                return trained + self._teacher_flops("sandwich", trial, step)
            case SandwichStep():
                trained = sum(
                    weight * self._learner_flops("sandwich", self.prepared.structure(scale))
                    for scale, weight in weights_of_scales(expected_sandwich(plan, trial, step)).items()
                )
                return trained + self._teacher_flops("sandwich", trial, step)
            case DistilStep():
                made = self.prepared.expected_structure(trial, step)
                epochs = num_trained(self.prepared.config, step)
                trained = self._learner_flops("distil", made, self.prepared.expected_shape(step.name), epochs)
                return trained + self._teacher_flops("distil", trial, step, epochs)
            case ChooseStep() | PruneStep() | CandidateStep() | DecideStep():
                return 0.0

    def _evaluation_flops(self, trial: Trial, step: Step) -> float:
        """FLOPs of evaluating after each epoch, and of scoring the step's models at its end."""
        plan, prepared = self.prepared.plan, self.prepared
        match step:
            case TeacherStep():
                epochs = 0 if prepared.teacher_is_fine_tuned else self.epochs["finetune"]
                return self._scoring_flops(prepared.shape.full(), epochs)
            case ImportanceStep():
                return 0.0
            case RaceStep():
                return race_evaluation_flops(prepared, step, race_times(prepared), self._events(step))
            case SandwichStep():
                sandwich = expected_sandwich(plan, trial, step)
                passes = dict.fromkeys(sandwich.scales, self.epochs["sandwich"])
                for scale in sandwich.candidates:
                    passes[scale] += 1
                return float(
                    sum(
                        count * pass_flops(prepared.shape, prepared.structure(scale), prepared.selection)
                        for scale, count in passes.items()
                    )
                )
            case DistilStep():
                made = prepared.expected_structure(trial, step)
                epochs, shape = num_trained(prepared.config, step), prepared.expected_shape(step.name)
                if step.name == PROBE:
                    return float(epochs * pass_flops(shape, made, prepared.selection))
                return self._scoring_flops(made, epochs, shape)
            case DecideStep(probe=name):
                probe = trial.step(name)
                assert isinstance(probe, DistilStep)
                teacher = pass_flops(prepared.shape, prepared.shape.full(), prepared.selection)
                made = prepared.expected_structure(trial, probe)
                return float(teacher + pass_flops(prepared.student_shape, made, prepared.selection))
            case ChooseStep():
                return self._scoring_flops(prepared.structure(self._source_percent(trial, step.name)))
            case PruneStep(scale_percent=percent) | CandidateStep(scale_percent=percent):
                return self._scoring_flops(prepared.structure(percent))

    def _scoring_flops(self, structure: Structure, epochs: int = 0, shape: EncoderShape | None = None) -> float:
        """FLOPs of scoring on the selection split after each epoch, and on it and every validation set at the end."""
        prepared, shape = self.prepared, shape or self.prepared.shape
        selection = pass_flops(shape, structure, prepared.selection)
        validation = sum(pass_flops(shape, structure, rows) for rows in prepared.validation.values())
        return float((epochs + 1) * selection + validation)

    def _learner_flops(
        self, stage: str, structure: Structure, shape: EncoderShape | None = None, epochs: int | None = None
    ) -> float:
        macs = macs_of(shape or self.prepared.shape, structure, self.sizes[stage])
        return 6 * macs * (self.epochs[stage] if epochs is None else epochs)

    def _race_epoch_flops(self, scale: int) -> float:
        return 6 * macs_of(self.prepared.shape, self.prepared.structure(scale), self.sizes["sandwich"])

    def _events(self, step: RaceStep) -> Sequence[RaceEvent]:
        return self.race or expected_events(step, race_times(self.prepared), len(self.prepared.selection))

    def _source_percent(self, trial: Trial, source: str) -> int:
        """The scale of the model that a step leaves: the race's choice once it is known, else the expected one."""
        if self.race and source != TEACHER and isinstance(trial.step(source), ChooseStep):
            alive = self.race[-1].alive
            return alive[0] if alive else TEACHER_PERCENT
        return expected_percent(self.prepared.plan, trial, source)

    def _teacher_flops(
        self, stage: str, trial: Trial, step: SandwichStep | DistilStep, epochs: int | None = None
    ) -> float:
        prepared = self.prepared
        structure = prepared.structure(self._source_percent(trial, step.source))
        wanted = planned_objective(prepared, trial, step).needs().teacher
        if not wanted:
            return 0.0
        size = cached_bytes(prepared.train, prepared.task.num_labels, wanted, prepared.shape, structure)
        if size <= self.cache_bytes:
            return 2 * macs_of(prepared.shape, structure, self.one_pass)
        count = self.epochs[stage] if epochs is None else epochs
        return 2 * macs_of(prepared.shape, structure, self.sizes[stage]) * count


def early_end_cost_share(prepared: PreparedRun, promoted: Collection[str] | None = None) -> float:
    """FLOPs of a sweep that ends trials early, as a share of those of running all trials in full without probes.

    Args:
        prepared: a recipe whose plan has probes.
        promoted: names of the trials that run in full; by default the expected ones.
    """
    plan = prepared.plan
    probes = {probe.name for probe in plan.probes}
    spent = [stage for stage in Estimator(prepared, promoted=promoted).stages() if stage.in_ratio]
    every = Estimator(prepared, promoted={trial.name for trial in plan.trials}).stages()
    in_full = [stage for stage in every if stage.in_ratio and stage.trial not in probes]
    return sum(stage.flops for stage in spent) / sum(stage.flops for stage in in_full)


def importance_rows(prepared: PreparedRun) -> int:
    """The number of training rows that importance is expected to be measured on."""
    if prepared.config.pruning.importance == "magnitude":
        return 0
    count, limit = len(prepared.train), prepared.config.pruning.importance_rows
    return min(_AUTO_ROWS if limit == "auto" else limit or count, count)


def _sample_sizes(prepared: PreparedRun, num_rows: int) -> Iterator[tuple[int, int]]:
    """Batch sizes of a growing sample: its parts are batched one by one, which pads more than batching all rows."""
    order, lengths = shuffled_rows(len(prepared.train), prepared.config.data.selection_seed), prepared.train.lengths
    done = 0
    for parts in sample_parts(order):
        if done >= num_rows:
            return
        done += sum(map(len, parts))
        for part in parts:
            for batch in evaluation_batches(lengths[part], IMPORTANCE_BATCH_SIZE):
                yield len(batch), int(lengths[part][batch].max())


def sizes_of(rows: EncodedRows, batches: Iterable[Tensor]) -> Sizes:
    """Rows and padded length of each batch."""
    return tuple((len(indices), int(rows.lengths[indices].max())) for indices in batches)


def weights_of_scales(step: SandwichStep) -> dict[int, float]:
    """How often, on average, one optimiser step trains each scale."""
    if step.trained is not None:
        return dict.fromkeys(step.trained, 1.0)
    scales = step.scales
    if step.num_trained == 1:
        return {scales[0]: 1.0}
    between = scales[1:-1]
    share = (step.num_trained - 2) / len(between) if between else 0.0
    return {scales[0]: 1.0, scales[-1]: 1.0, **dict.fromkeys(between, share)}
