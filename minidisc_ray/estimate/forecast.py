"""From timed stages in miniature to the seconds of every stage of a plan, all its epochs trained.

A stage in miniature has a beginning and an end like any other; its steps are taken out of it and put back in as many as
there will be, and what its rows to score and the teacher's outputs take grows with all the rows there are. Seconds of a
step grow with the multiply-adds of its batch, those of a forward pass with batches and multiply-adds, and over scales
what a distillation takes is a line in multiply-adds (least squares).
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
from minidisc_ray.estimate.timings import StageKind, TimedPass, TimedStage, Timings
from minidisc_ray.preparation.closed_form import importance_rows, sizes_of, weights_of_scales
from minidisc_ray.preparation.objective import planned_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.race_costs import race_evaluation_flops, race_times, race_training_flops
from minidisc_ray.schedules.expected import expected_events, expected_percent, expected_sandwich
from minidisc_ray.schedules.plan import (
    MAIN_TRIAL,
    STUDENT,
    TEACHER,
    CandidateStep,
    ChooseStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    RaceStep,
    SandwichStep,
    Step,
    TeacherStep,
    Trial,
)
from minidisc_ray.schedules.training import training_of
from minidisc_ray.training.importance import BATCH_SIZE as IMPORTANCE_BATCH_SIZE
from minidisc_ray.training.teacher_outputs import cache_limit_bytes, cached_bytes

# Where an epoch is a single step, its beginning is not seen: forward, backward and the optimiser, in forward passes.
_PASSES_OF_STEP = 4


@dataclass(frozen=True)
class PassSpeed:
    """Forward passes without gradients: seconds for each batch, and for each multiply-add."""

    batch_seconds: float
    mac_seconds: float

    def seconds(self, shape: EncoderShape, structure: Structure, batches: Sizes) -> float:
        """Of one pass over some batches."""
        return self.batch_seconds * len(batches) + self.mac_seconds * macs_of(shape, structure, batches)


@dataclass(frozen=True)
class Line:
    """A straight line, cut off below zero."""

    slope: float
    intercept: float

    def __call__(self, x: float) -> float:
        """Its height at a place."""
        return max(0.0, self.intercept + self.slope * x)


@dataclass(frozen=True)
class Parts:
    """Seconds of a stage as it was timed: its steps over a whole epoch, the epoch's end, and everything else once."""

    steps: float
    epoch_end: float
    once: float


def fit_line(points: Sequence[tuple[float, float]]) -> Line:
    """Least squares through points (x, y); through a single x, a level line."""
    xs, ys = zip(*points, strict=True)
    if len(set(xs)) == 1:
        return Line(0.0, float(np.mean(ys)))
    slope, intercept = np.polyfit(xs, ys, 1)
    return Line(float(slope), float(intercept))


def fit_passes(passes: Sequence[tuple[int, float, float]]) -> PassSpeed:
    """Least squares over passes (batches, multiply-adds, seconds), neither part below zero."""
    counts, macs, seconds = (np.array(column, dtype=np.float64) for column in zip(*passes, strict=True))
    # In units of the largest pass: the solver would take a column that is smaller by many powers of ten for nothing.
    unit = macs.max()
    (batch_seconds, unit_seconds), _ = nnls(np.stack([counts / counts.max(), macs / unit], axis=1), seconds)
    return PassSpeed(float(batch_seconds / counts.max()), float(unit_seconds / unit))


class Forecaster:
    """Seconds of every step of plans that differ from a recipe in nothing but the schedule.

    Args:
        prepared: the checked recipe, with all its rows.
        timings: of its stages in miniature.
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
        self.once = scored_sizes(rows)
        self.selection = scored_sizes(prepared.selection)
        self.validation = tuple(size for found in prepared.validation.values() for size in scored_sizes(found))
        self.shape, self.full = prepared.shape, prepared.shape.full()
        # As it was timed: made from the teacher.
        step = DistilStep(TEACHER, config.student_percent, STUDENT)
        self.student = prepared.student_shape, prepared.expected_structure(Trial(MAIN_TRIAL, (step,)), step)
        self.speed = fit_passes([self._pass(found) for found in timings.passes])
        self.fill_rate = 0.0
        if (fill := timings.fill) is not None:
            self.fill_rate = fill.seconds / self.speed.seconds(self.shape, self.full, fill.batches)
        self.assistants = self._fit_assistants(prepared)

    def seconds(self, prepared: PreparedRun, trial: Trial, step: Step) -> float:
        """Of one step of a plan, if no epoch is left out."""
        match step:
            case TeacherStep():
                timed = self.timed("teacher")
                scoring = self._more(self.shape, self.full, validated=True)
                if prepared.teacher_is_fine_tuned:
                    return timed.seconds + scoring
                parts = self._parts(timed, "teacher", partial(macs_of, self.shape, self.full))
                end = parts.epoch_end + self._more(self.shape, self.full)
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
                return self._taken(prepared, expected_percent(prepared.plan, trial, step.name))
        raise AssertionError(step)

    def timed(self, kind: StageKind) -> TimedStage:
        """The stage of a kind that was timed; of several the first."""
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
        parts = self._parts(timed, "sandwich", partial(self._macs_trained, prepared, first))
        # A later sandwich has fewer candidates than the one that was timed.
        rows = self.train["sandwich"]
        steps = parts.steps * self._macs_trained(prepared, left, rows) / self._macs_trained(prepared, first, rows)
        scoring = self._scored(prepared, left, self.selection) - self._scored(prepared, first, self.timings.selection)
        epochs = prepared.config.sandwich_training.num_epochs
        teacher = self._teacher(prepared, trial, step, "sandwich", epochs, timed)
        return epochs * max(0.0, steps + parts.epoch_end + scoring) + max(0.0, parts.once + scoring + teacher)

    def _race(self, prepared: PreparedRun, trial: Trial, step: RaceStep) -> float:
        """A plain sandwich was timed in its place: its steps and epochs' ends, for what a race trains and scores."""
        timed, rows = self.timed("sandwich"), self.train["sandwich"]
        parts = self._parts(timed, "sandwich", partial(self._macs_trained, prepared, step))
        times = race_times(prepared)
        events = expected_events(step, times, len(prepared.selection))
        macs = race_training_flops(
            step, times, events, lambda scale: macs_of(self.shape, prepared.structure(scale), rows)
        )
        steps = parts.steps * macs / self._macs_trained(prepared, step, rows)
        scoring = race_evaluation_flops(prepared, step, times, events) / 2 * self.speed.mac_seconds
        teacher = self._teacher(prepared, trial, step, "sandwich", times.num_epochs, timed)
        return max(0.0, steps + times.num_epochs * parts.epoch_end + scoring + parts.once + teacher)

    def _macs_trained(self, prepared: PreparedRun, step: SandwichStep, batches: Sizes) -> float:
        weights = weights_of_scales(step).items()
        return sum(weight * macs_of(self.shape, prepared.structure(scale), batches) for scale, weight in weights)

    def _scored(self, prepared: PreparedRun, step: SandwichStep, batches: Sizes) -> float:
        return sum(self.speed.seconds(self.shape, prepared.structure(scale), batches) for scale in step.scales)

    def _distil(self, prepared: PreparedRun, trial: Trial, step: DistilStep) -> float:
        shape, structure = prepared.expected_shape(step.name), prepared.expected_structure(trial, step)
        macs = macs_of(shape, structure, self.train["distil"])
        if step.makes_student:
            timed = self.timed("student")
            parts = self._parts(timed, "distil", partial(macs_of, *self.student))
            parts = Parts(
                parts.steps * macs / macs_of(*self.student, self.train["distil"]), parts.epoch_end, parts.once
            )
        else:
            timed = self.timed("assistant")
            steps, epoch_end, once = (line(macs) for line in self.assistants)
            parts = Parts(steps, epoch_end, once)
        # From the teacher two copies are read, one with its units in order; from a smaller model that one alone.
        reading = self.timings.load_seconds if step.source != TEACHER else 0.0
        epochs = training_of(prepared.config, step).num_epochs
        teacher = self._teacher(prepared, trial, step, "distil", epochs, timed)
        scoring = self._more(shape, structure, validated=True)
        every = parts.steps + parts.epoch_end + self._more(shape, structure)
        return epochs * every + max(0.0, parts.once + scoring + teacher - reading)

    def _fit_assistants(self, prepared: PreparedRun) -> tuple[Line, Line, Line]:
        """Steps of an epoch, its end, and everything else, each over multiply-adds."""
        points = []
        for timed in self.timings.stages:
            if timed.stage == "assistant":
                structure = prepared.structure(timed.scale_percent)
                macs = macs_of(self.shape, structure, self.train["distil"])
                # Every stage takes its own rows of the teacher's outputs; as many as the first one here.
                parts = self._parts(timed, "distil", partial(macs_of, self.shape, structure))
                more = self._filled(self.timed("assistant")) - self._filled(timed)
                points.append((macs, parts.steps, parts.epoch_end, parts.once + more))
        if not points:
            return (Line(0.0, 0.0),) * 3
        steps, ends, once = ([(point[0], point[place]) for point in points] for place in (1, 2, 3))
        return fit_line(steps), fit_line(ends), fit_line(once)

    def _taken(self, prepared: PreparedRun, scale: int) -> float:
        """A model that is cut, saved, read and scored."""
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

    def _parts(self, timed: TimedStage, rows: str, macs: Callable[[Sizes], float]) -> Parts:
        counted = timed.counted
        rate = _PASSES_OF_STEP * self.speed.mac_seconds
        if counted:
            rate = sum(seconds for _, seconds in counted) / macs(tuple(size for size, _ in counted))
        # All but steps of the usual length: what the first ones took longer was for the stage, not for them.
        once = timed.seconds - timed.epoch_end_seconds - rate * macs(timed.batches)
        return Parts(rate * macs(self.train[rows]), timed.epoch_end_seconds, max(0.0, once))

    def _more(self, shape: EncoderShape, structure: Structure, validated: bool = False) -> float:
        """What scoring all rows takes longer than scoring the sample did."""
        whole, sample = self.selection, self.timings.selection
        if validated:
            whole, sample = (*whole, *self.validation), (*sample, *self.timings.validation)
        return self.speed.seconds(shape, structure, whole) - self.speed.seconds(shape, structure, sample)

    def _teacher(
        self,
        prepared: PreparedRun,
        trial: Trial,
        step: SandwichStep | DistilStep,
        rows: str,
        epochs: int,
        timed: TimedStage,
    ) -> float:
        """What the outputs of the model above take longer than the teacher's took on the sample."""
        wanted = planned_objective(prepared, trial, step).needs().teacher
        if not wanted:
            return 0.0
        above = prepared.structure(expected_percent(prepared.plan, trial, step.source))
        size = cached_bytes(prepared.train, prepared.task.num_labels, wanted, self.shape, above)
        compute = prepared.config.compute
        if size <= cache_limit_bytes(compute, compute.num_workers):
            whole = self.fill_rate * self.speed.seconds(self.shape, above, self.once)
        else:
            whole = epochs * self.speed.seconds(self.shape, above, self.train[rows])
        return whole - self._filled(timed)

    def _filled(self, timed: TimedStage) -> float:
        """Seconds of the teacher's outputs on the rows of a stage in miniature."""
        return self.fill_rate * self.speed.seconds(self.shape, self.full, timed.rows)

    def _pass(self, timed: TimedPass) -> tuple[int, float, float]:
        shape, structure = (self.shape, self.full) if timed.scale_percent == TEACHER_PERCENT else self.student
        return len(timed.batches), macs_of(shape, structure, timed.batches), timed.seconds
