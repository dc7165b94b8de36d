"""Predicts the cost of a recipe under each schedule, from the seconds of timed stages."""

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.schedule import AutoConfig
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.estimate.forecast import Forecaster
from minidisc_ray.estimate.records import Estimate, PredictedMethod, PredictedStage, PredictedTeacher, Timed
from minidisc_ray.estimate.timings import Overheads, TimedStage, Timings
from minidisc_ray.preparation.outcomes import with_outcome
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import read_record
from minidisc_ray.schedules.expected import expected_promoted, expected_scale, expected_steps
from minidisc_ray.schedules.plan import SHARED_TRIAL, DistilStep, TeacherStep, Trial

COMPARED = ("conventional", "minidisc", "maxidisc")
_AUTO = {"auto_small_gap": "Auto, small gap: ", "auto_large_gap": "Auto, large gap: "}


@dataclass(frozen=True)
class Alternatives:
    """The recipe under each schedule.

    Attributes:
        runs: conventional, MiniDisc and MaxiDisc, and the recipe's own schedule if it is none of them; for ``auto``
            both ways that it may go on.
        left_out: schedules that the recipe does not allow, and why.
    """

    runs: dict[str, PreparedRun]
    left_out: dict[str, str]

    @property
    def timed(self) -> PreparedRun:
        """The run whose stages are timed for all: one with a sandwich, if there is one."""
        return next(self.runs[kind] for kind in ("minidisc", "maxidisc", "conventional") if kind in self.runs)

    @property
    def assistant_scales(self) -> tuple[int, ...]:
        """At most three scales of the assistants in all plans: the largest, the middle one and the smallest."""
        found = {
            expected_scale(run.plan, trial, step.scale)
            for run in self.runs.values()
            for trial, step in run.plan.own_steps()
            if isinstance(step, DistilStep) and not step.makes_student
        }
        scales = sorted(found, reverse=True)
        places = sorted({0, len(scales) // 2, len(scales) - 1})
        return tuple(scales[place] for place in places) if scales else ()


def alternatives(prepared: PreparedRun) -> Alternatives:
    """A checked recipe under each schedule, with its other keys; rows are read and encoded once."""
    own = prepared.config.schedule
    is_plain = own.kind in COMPARED and getattr(own, "match", None) is None
    runs: dict[str, PreparedRun] = {}
    left_out: dict[str, str] = {}
    for kind in COMPARED:
        if is_plain and own.kind == kind:
            runs[kind] = prepared
            continue
        raw = {**prepared.config.model_dump(mode="json"), "name": None}
        if own.kind == kind:
            raw["schedule"] = {"kind": kind}
        try:
            other = prepare(resolve(raw, [f"schedule.kind={kind}"]), prepared.splits)
        except UserError as error:
            left_out[kind] = str(error)
            continue
        runs[kind] = replace(other, encoded=prepared.encoded)
    if isinstance(own, AutoConfig):
        runs |= {"auto_small_gap": with_outcome(prepared, False), "auto_large_gap": with_outcome(prepared, True)}
    elif not is_plain:
        runs["recipe"] = prepared
    return Alternatives(runs, left_out)


def predict_costs(found: Alternatives, recipe: PreparedRun, timings: Timings, overheads: Overheads) -> Estimate:
    """Predict the cost of whole runs.

    Args:
        found: the recipe under each schedule.
        recipe: the checked recipe, as the user gave it.
        timings: of stages on a sample of the rows.
        overheads: what a run takes beyond its stages.
    """
    forecaster = Forecaster(found.timed, timings)
    compute = recipe.config.compute
    devices = compute.num_workers * (compute.gpus_per_worker or compute.cpus_per_worker)
    price = compute.price_per_device_hour
    drafts = [
        _method(kind, run, run.name == recipe.name, forecaster, overheads, devices) for kind, run in found.runs.items()
    ]
    base = next(draft.device_hours for draft in drafts if draft.kind == "conventional")
    methods = [
        draft.model_copy(
            update={
                "ratio_to_conventional": draft.device_hours / base,
                "price": _price(price, draft.device_hours + draft.startup_device_hours),
            }
        )
        for draft in drafts
    ]
    teacher_hours = forecaster.seconds(recipe, Trial(SHARED_TRIAL, ()), TeacherStep()) * devices / 3600
    return Estimate(
        task=recipe.task.name,
        objective=recipe.config.objective.label,
        student_percent=recipe.plan.student_percent,
        devices=devices,
        device_unit=compute.hours_unit,
        currency=compute.currency,
        num_workers=compute.num_workers,
        teacher=PredictedTeacher(
            device_hours=teacher_hours,
            price=_price(price, teacher_hours),
            is_there=read_record(recipe.storage, recipe.teacher_folder) is not None,
        ),
        methods=tuple(methods),
        timed=tuple(_timed_step(found.timed, timed) for timed in timings.stages),
        overheads=overheads,
        timing_seconds=timings.seconds,
        load_average=None,
        stops_early=any(
            training.early_stop_epochs is not None and training.early_stop_epochs < training.num_epochs
            for training in (recipe.config.finetune, recipe.config.sandwich_training, recipe.config.distil_training)
        ),
        left_out=found.left_out,
    )


def load_average() -> float | None:
    """The load average of the last minute; None if the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """Seconds until the last trial ends, if each starts in order as soon as one of ``at_once`` slots is free."""
    free_at = [0.0] * at_once
    for duration in seconds:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def _price(price: float | None, device_hours: float) -> float | None:
    return None if price is None else price * device_hours


def _method(
    kind: str, run: PreparedRun, is_recipe: bool, forecaster: Forecaster, overheads: Overheads, devices: float
) -> PredictedMethod:
    slowdown = overheads.slowdown if min(overheads.at_once, len(run.plan.trials)) > 1 else 1.0
    swept = {trial.name for trial in (*run.plan.probes, *run.plan.trials)} if run.plan.is_sweep else set()
    stages = [
        PredictedStage(
            trial=trial.name,
            stage=step.name,
            seconds=(seconds := forecaster.seconds(run, trial, step) * (slowdown if trial.name in swept else 1.0)),
            device_hours=seconds * devices / 3600,
            in_ratio=not isinstance(step, TeacherStep),
        )
        for trial, step in expected_steps(run.plan)
    ]
    held, duration = _beyond_stages(run, stages, overheads)
    return PredictedMethod(
        method=_AUTO.get(kind, "") + run.config.schedule.label,
        kind=kind,
        is_recipe=is_recipe,
        stages=tuple(stages),
        device_hours=sum(stage.device_hours for stage in stages if stage.in_ratio),
        startup_device_hours=held * devices / 3600,
        duration_seconds=duration,
        price=None,
        ratio_to_conventional=1.0,
    )


def _beyond_stages(run: PreparedRun, stages: Sequence[PredictedStage], overheads: Overheads) -> tuple[float, float]:
    """Seconds that a run holds its workers outside stages, and its whole duration in seconds."""
    plan, job = run.plan, overheads.startup_seconds
    folders = {"teacher": run.teacher_folder, "importance": run.importance_folder}
    made_here = {step.name for step in plan.shared if read_record(run.storage, folders[step.name]) is None}
    shared = sum(s.seconds for s in stages if s.trial == SHARED_TRIAL and s.stage in made_here)
    by_trial: dict[str, float] = {trial.name: 0.0 for trial in plan.all_trials()}
    for stage in stages[len(plan.shared) :]:
        by_trial[stage.trial] += stage.seconds
    total = overheads.cluster_seconds
    if not plan.is_sweep:
        return job, total + overheads.job_seconds + job + shared + sum(by_trial.values())
    held = 0.0
    if made_here or plan.before:
        held += job
        total += overheads.job_seconds + job + shared + by_trial.get(SHARED_TRIAL, 0.0)
    # With several workers, each trial is a Train job of its own.
    is_job = run.config.compute.num_workers > 1
    each = job if is_job else overheads.trial_seconds
    between = overheads.job_seconds if is_job else 0.0
    total += overheads.sweep_seconds
    for trials in (plan.probes, expected_promoted(plan)):
        held += each * len(trials)
        total += makespan([between + each + by_trial[trial.name] for trial in trials], overheads.at_once)
    if plan.after is not None:
        held += job
        total += overheads.job_seconds + job + by_trial[plan.after.name]
    return held, total


def _timed_step(run: PreparedRun, timed: TimedStage) -> Timed:
    counted = timed.counted
    low = high = mean = None
    if counted:
        full = run.shape.full()
        rates = np.array([seconds / forward_macs(run.shape, full, *size) for size, seconds in counted])
        mean = float(np.mean([seconds for _, seconds in counted]))
        low, high = (float(value) for value in np.percentile(rates, (10, 90)) / rates.mean())
    return Timed(
        stage=timed.stage,
        scale_percent=timed.scale_percent,
        num_steps=len(counted),
        step_seconds=mean,
        spread_low=low,
        spread_high=high,
        seconds=timed.seconds,
    )
