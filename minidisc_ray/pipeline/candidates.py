"""A run's assistant candidates as its result has them, and what other values of lambda would have chosen."""

from minidisc_ray.configs.schedule import (
    LambdaSelectionConfig,
    MaxiDiscConfig,
    MiniDiscConfig,
    NegativeDerivativeSelectionConfig,
)
from minidisc_ray.core.flops import kept_share
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.tradeoff import lambda_tradeoff, negative_derivative
from minidisc_ray.pipeline.choice import scan_lambda
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.run_files.result import CandidateRecord
from minidisc_ray.schedules.plan import MAIN_TRIAL, DistilStep, SandwichStep

_LAMBDA = 0.2


def candidate_records(
    prepared: PreparedRun,
    records: dict[str, list[StageRecord]],
    structures: dict[int, Structure],
    teacher: StageRecord,
) -> list[CandidateRecord]:
    """The assistant candidates of a run that chooses among some, largest first.

    Args:
        prepared: the checked recipe.
        records: of each trial's stages.
        structures: by scale.
        teacher: its stage's record.
    """
    score = prepared.task.selection_score
    student = prepared.plan.student_percent
    metrics: dict[int, float] = {}
    trained: set[int] = set()
    for trial in prepared.plan.all_trials():
        if trial in prepared.plan.probes:
            continue
        # Of several sandwiches the first one is that of the whole grid.
        for record in records[trial.name]:
            if record.stage in ("sandwich", "assistant"):
                metrics |= {s: score(m) for s, m in record.selection_metrics.items() if s != student}
            if record.stage == "sandwich":
                trained |= set(record.trained_scales or ())
                # A candidate that left a race has the metric of its last evaluation there.
                last_seen = {s: m for check in record.race for s, m in check.metrics.items() if s != student}
                metrics = last_seen | metrics
        for step in trial.steps:
            if isinstance(step, SandwichStep):
                continue
            if isinstance(step, DistilStep) and isinstance(step.scale, int):
                trained.add(step.scale)
    schedule = prepared.config.schedule
    rule = schedule.selection if isinstance(schedule, MiniDiscConfig | MaxiDiscConfig) else None
    lam = rule.lam if isinstance(rule, LambdaSelectionConfig) else _LAMBDA
    order = rule.order if isinstance(rule, NegativeDerivativeSelectionConfig) else 1
    by_lambda = lambda_tradeoff(metrics, lam)
    by_derivative = negative_derivative(metrics, score(teacher.selection_metrics[TEACHER_PERCENT]), order=order)
    return [
        CandidateRecord(
            scale_percent=scale,
            metric=metrics[scale],
            lambda_tradeoff=by_lambda[scale],
            negative_derivative=by_derivative[scale],
            trained=scale in trained,
            heads=structures[scale].heads,
            neurons=structures[scale].neurons,
            kept_share=kept_share(prepared.shape, structures[scale]),
        )
        for scale in sorted(metrics, reverse=True)
    ]


def scan_of(prepared: PreparedRun, records: dict[str, list[StageRecord]]) -> dict[float, tuple[int, int]]:
    """What each value of lambda would keep and choose, of a run that chooses out of a sandwich."""
    schedule = prepared.config.schedule
    if not isinstance(schedule, MiniDiscConfig) or schedule.search == "race":
        return {}
    record = next(record for record in records[MAIN_TRIAL] if record.stage == "sandwich")
    trial = prepared.plan.trial(MAIN_TRIAL)
    assert trial is not None
    step = trial.step("sandwich")
    assert isinstance(step, SandwichStep)
    return scan_lambda(step, record.history, prepared.task.selection_score)
