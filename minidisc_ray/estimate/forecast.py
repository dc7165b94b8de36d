"""Predicts the seconds of every stage of a plan, with all its epochs, from stages timed on a sample of the rows.

A timed stage has the start and end of a real one. The prediction replaces its steps by those of all rows, and scales
the time for scoring and for the teacher's outputs to all rows. The seconds of a step are proportional to the
multiply-adds of its batch, those of forward passes are linear in batches and multiply-adds, and those of a distillation
are linear in multiply-adds over scales (least squares).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import nnls

from minidisc_ray.core.flops import EncoderShape, Sizes, macs_of
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import epoch_batches, evaluation_batches
from minidisc_ray.estimate.sample_rows import scored_sizes
from minidisc_ray.estimate.timings import PASSES_OF_STEP, StageKind, TimedPass, TimedStage, Timings
from minidisc_ray.preparation.closed_form import importance_rows, sizes_of, weights_of_scales
from minidisc_ray.preparation.objective import planned_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.race_costs import race_evaluation_flops, race_times, race_training_flops
from minidisc_ray.schedules.expected import expected_events, expected_percent, expected_sandwich
from minidisc_ray.schedules.plan import (
    MAIN_TRIAL,
    PROBE,
    STUDENT,
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
from minidisc_ray.training.teacher_outputs import cache_limit_bytes, cached_bytes


@dataclass(frozen=True)
class PassSpeed:
    """The speed of forward passes without gradients: seconds a batch, and seconds a multiply-add."""

    batch_seconds: float
    mac_seconds: float

    def seconds(self, shape: EncoderShape, structure: Structure, batches: Sizes) -> float:
        """Seconds of one pass over ``batches``."""
        return self.batch_seconds * len(batches) + self.mac_seconds * macs_of(shape, structure, batches)


@dataclass(frozen=True)
class Line:
    """A straight line whose negative values are replaced by 0."""

    slope: float
    intercept: float

    def __call__(self, x: float) -> float:
        """The value at ``x``."""
        return max(0.0, self.intercept + self.slope * x)


@dataclass(frozen=True)
class StageSeconds:
    """Seconds of a stage: steps of one epoch over all rows, the end of an epoch, and all else, which occurs once."""

    steps: float
    epoch_end: float
    once: float


def fit_line(points: Sequence[tuple[float, float]]) -> Line:
    """The least squares line through points (x, y); a constant if all have the same x."""
    xs, ys = zip(*points, strict=True)
    if len(set(xs)) == 1:
        return Line(0.0, float(np.mean(ys)))
    slope, intercept = np.polyfit(xs, ys, 1)
    return Line(float(slope), float(intercept))


def fit_passes(passes: Sequence[tuple[int, float, float]]) -> PassSpeed:
    """Non-negative least squares over passes (batches, multiply-adds, seconds)."""
    counts, macs, seconds = (np.array(column, dtype=np.float64) for column in zip(*passes, strict=True))
    # Scaled to the largest pass, as the solver treats a column that is many powers of ten smaller as zero.
    unit = macs.max()
    (batch_seconds, unit_seconds), _ = nnls(np.stack([counts / counts.max(), macs / unit], axis=1), seconds)
    return PassSpeed(float(batch_seconds / counts.max()), float(unit_seconds / unit))


class Forecaster:
    """Predicts the seconds of each step of a recipe's plan, and of plans that differ from it only in the schedule.

    Args:
        prepared: the checked recipe, with all its rows.
        timings: of its stages on a sample.
    """

    def __init__(self, prepared: PreparedRun, timings: Timings) -> None:
        self.timings = timings
        config, rows = prepared.config, prepared.train
        trainings = {"teacher": config.finetune, "sandwich": config.sandwich_training, "distil": config.distil}
        self.train = {
            name: sizes_of(rows, epoch_batches(rows.lengths, training.batch_size, config.seed, 0))
            for name, training in trainings.items()
        }
        self.train["importance"] = sizes_of(rows, evaluation_batches(rows.lengths, IMPORTANCE_BATCH_SIZE))
        self.train_scored = scored_sizes(rows)
        self.selection = scored_sizes(prepared.selection)
        self.validation = tuple(size for found in prepared.validation.values() for size in scored_sizes(found))
        self.shape, self.full = prepared.shape, prepared.shape.full()
        # The timed student was distilled from the teacher.
        step = DistilStep(TEACHER, config.student_percent, STUDENT)
        self.student = prepared.student_shape, prepared.expected_structure(Trial(MAIN_TRIAL, (step,)), step)
        self.speed = fit_passes([self._pass(found) for found in timings.passes])
        self.fill_rate = 0.0
        if (fill := timings.fill) is not None:
            self.fill_rate = fill.seconds / self.speed.seconds(self.shape, self.full, fill.batches)
        self.assistants = self._fit_assistants(prepared)

    def seconds(self, prepared: PreparedRun, trial: Trial, step: Step) -> float:
        """Seconds of one step of a plan, if no training stops early."""
        match step:
            case TeacherStep():
                timed = self.timed("teacher")
                scoring = self._scoring_beyond_sample(self.shape, self.full, validated=True)
                if prepared.teacher_is_fine_tuned:
                    return timed.seconds + scoring
                parts = self._stage_seconds(timed, "teacher", partial(macs_of, self.shape, self.full))
                end = parts.epoch_end + self._scoring_beyond_sample(self.shape, self.full)
                return prepared.config.finetune.num_epochs * (parts.steps + end) + parts.once + scoring
            case ImportanceStep():
                return self._importance(prepared)
            case RaceStep():
                return self._race(prepared, trial, step)
            case SandwichStep():
                return self._sandwich(prepared, trial, step)
            case DistilStep():
                return self._distil(prepared, trial, step)
            case ChooseStep() | PruneStep() | CandidateStep():
                return self._cut_seconds(prepared, expected_percent(prepared.plan, trial, step.name))
            case DecideStep():
                pair = ((self.shape, self.full), self.student)
                return sum(self.timings.load_seconds + self.speed.seconds(*each, self.selection) for each in pair)
        raise AssertionError(step)

    def timed(self, kind: StageKind) -> TimedStage:
        """The first timed stage of a kind."""
        return next(timed for timed in self.timings.stages if timed.stage == kind)

    def _importance(self, prepared: PreparedRun) -> float:
        timed = self.timed("importance")
        share = importance_rows(prepared) / len(prepared.train)
        macs = share * macs_of(self.shape, self.full, self.train["importance"])
        reading = min(self.timings.load_seconds, timed.seconds)
        return reading + (timed.seconds - reading) * macs / macs_of(self.shape, self.full, timed.batches)

    def _sandwich(self, prepared: PreparedRun, trial: Trial, step: SandwichStep) -> float:
        timed = self.timed("sandwich")
        first = next(found for _, found in prepared.plan.own_steps() if isinstance(found, SandwichStep))
        left = expected_sandwich(prepared.plan, trial, step)
        parts = self._stage_seconds(timed, "sandwich", partial(self._macs_trained, prepared, first))
        # The plan's first sandwich was timed; a later one has fewer candidates.
        rows = self.train["sandwich"]
        steps = parts.steps * self._macs_trained(prepared, left, rows) / self._macs_trained(prepared, first, rows)
        scoring = self._scoring_seconds(prepared, left, self.selection)
        scoring -= self._scoring_seconds(prepared, first, self.timings.selection)
        epochs = prepared.config.sandwich_training.num_epochs
        teacher = self._teacher_beyond_sample(prepared, trial, step, "sandwich", epochs, timed)
        return epochs * max(0.0, steps + parts.epoch_end + scoring) + max(0.0, parts.once + scoring + teacher)

    def _race(self, prepared: PreparedRun, trial: Trial, step: RaceStep) -> float:
        """Seconds of a race, from a timed sandwich with its candidates, scaled to what a race trains and scores."""
        timed, rows = self.timed("sandwich"), self.train["sandwich"]
        parts = self._stage_seconds(timed, "sandwich", partial(self._macs_trained, prepared, step))
        times = race_times(prepared)
        events = expected_events(step, times, len(prepared.selection))
        macs = race_training_flops(
            step, times, events, lambda scale: macs_of(self.shape, prepared.structure(scale), rows)
        )
        steps = parts.steps * macs / self._macs_trained(prepared, step, rows)
        scoring = race_evaluation_flops(prepared, step, times, events) / 2 * self.speed.mac_seconds
        teacher = self._teacher_beyond_sample(prepared, trial, step, "sandwich", times.num_epochs, timed)
        return max(0.0, steps + times.num_epochs * parts.epoch_end + scoring + parts.once + teacher)

    def _macs_trained(self, prepared: PreparedRun, step: SandwichStep, batches: Sizes) -> float:
        weights = weights_of_scales(step).items()
        return sum(weight * macs_of(self.shape, prepared.structure(scale), batches) for scale, weight in weights)

    def _scoring_seconds(self, prepared: PreparedRun, step: SandwichStep, batches: Sizes) -> float:
        return sum(self.speed.seconds(self.shape, prepared.structure(scale), batches) for scale in step.scales)

    def _distil(self, prepared: PreparedRun, trial: Trial, step: DistilStep) -> float:
        shape, structure = prepared.expected_shape(step.name), prepared.expected_structure(trial, step)
        macs = macs_of(shape, structure, self.train["distil"])
        if step.makes_student:
            timed = self.timed("student")
            parts = self._stage_seconds(timed, "distil", partial(macs_of, *self.student))
            parts = StageSeconds(
                parts.steps * macs / macs_of(*self.student, self.train["distil"]), parts.epoch_end, parts.once
            )
        else:
            timed = self.timed("assistant")
            steps, epoch_end, once = (line(macs) for line in self.assistants)
            parts = StageSeconds(steps, epoch_end, once)
        # Distilling from the teacher, as was timed, reads two copies of it; from a smaller model, one less.
        reading = self.timings.load_seconds if step.source != TEACHER else 0.0
        epochs = num_trained(prepared.config, step)
        teacher = self._teacher_beyond_sample(prepared, trial, step, "distil", epochs, timed)
        scoring = self._scoring_beyond_sample(shape, structure, validated=step.name != PROBE)
        every = parts.steps + parts.epoch_end + self._scoring_beyond_sample(shape, structure)
        return epochs * every + max(0.0, parts.once + scoring + teacher - reading)

    def _fit_assistants(self, prepared: PreparedRun) -> tuple[Line, Line, Line]:
        """Lines over multiply-adds for each field of an assistant's ``StageSeconds``."""
        points = []
        for timed in self.timings.stages:
            if timed.stage == "assistant":
                structure = prepared.structure(timed.scale_percent)
                macs = macs_of(self.shape, structure, self.train["distil"])
                # Stages were timed with different numbers of rows; convert to the teacher's outputs of the first.
                parts = self._stage_seconds(timed, "distil", partial(macs_of, self.shape, structure))
                more = self._fill_seconds(self.timed("assistant")) - self._fill_seconds(timed)
                points.append((macs, parts.steps, parts.epoch_end, parts.once + more))
        if not points:
            return (Line(0.0, 0.0),) * 3
        steps, ends, once = ([(point[0], point[place]) for point in points] for place in (1, 2, 3))
        return fit_line(steps), fit_line(ends), fit_line(once)

    def _cut_seconds(self, prepared: PreparedRun, scale: int) -> float:
        """Seconds to cut, save, read and score a model."""
        batches = (*self.selection, *self.validation)
        scoring = self.speed.seconds(self.shape, prepared.structure(scale), batches)
        found = next((timed for timed in self.timings.stages if timed.stage == "choose"), None)
        if found is None:
            return 2 * self.timings.load_seconds + scoring
        sample = (*self.timings.selection, *self.timings.validation)
        return (
            max(0.0, found.seconds - self.speed.seconds(self.shape, prepared.structure(found.scale_percent), sample))
            + scoring
        )

    def _stage_seconds(self, timed: TimedStage, rows: str, macs: Callable[[Sizes], float]) -> StageSeconds:
        counted = timed.counted
        rate = PASSES_OF_STEP * self.speed.mac_seconds
        if counted:
            rate = sum(seconds for _, seconds in counted) / macs(tuple(size for size, _ in counted))
        # The extra time of the first, slower steps counts as part of the stage, not of its steps.
        once = timed.seconds - timed.epoch_end_seconds - rate * macs(timed.batches)
        return StageSeconds(rate * macs(self.train[rows]), timed.epoch_end_seconds, max(0.0, once))

    def _scoring_beyond_sample(self, shape: EncoderShape, structure: Structure, validated: bool = False) -> float:
        """Seconds to score all rows, less those to score the sample."""
        whole, sample = self.selection, self.timings.selection
        if validated:
            whole, sample = (*whole, *self.validation), (*sample, *self.timings.validation)
        return self.speed.seconds(shape, structure, whole) - self.speed.seconds(shape, structure, sample)

    def _teacher_beyond_sample(
        self,
        prepared: PreparedRun,
        trial: Trial,
        step: SandwichStep | DistilStep,
        rows: str,
        epochs: int,
        timed: TimedStage,
    ) -> float:
        """Seconds of the outputs of the step's teacher on all rows, less those of the teacher on the sample."""
        wanted = planned_objective(prepared, trial, step).needs().teacher
        if not wanted:
            return 0.0
        above = prepared.structure(expected_percent(prepared.plan, trial, step.source))
        size = cached_bytes(prepared.train, prepared.task.num_labels, wanted, self.shape, above)
        compute = prepared.config.compute
        if size <= cache_limit_bytes(compute, compute.num_workers):
            whole = self.fill_rate * self.speed.seconds(self.shape, above, self.train_scored)
        else:
            whole = epochs * self.speed.seconds(self.shape, above, self.train[rows])
        return whole - self._fill_seconds(timed)

    def _fill_seconds(self, timed: TimedStage) -> float:
        """Seconds of the teacher's outputs on the rows of a timed stage."""
        return self.fill_rate * self.speed.seconds(self.shape, self.full, timed.rows)

    def _pass(self, timed: TimedPass) -> tuple[int, float, float]:
        shape, structure = (self.shape, self.full) if timed.scale_percent == TEACHER_PERCENT else self.student
        return len(timed.batches), macs_of(shape, structure, timed.batches), timed.seconds
