"""A run's assistant candidates for its result, and the choices that other values of lambda would have made."""

from minidisc_ray.configs.schedule import MaxiDiscConfig, MiniDiscConfig
from minidisc_ray.configs.selection import LambdaSelectionConfig, NegativeDerivativeSelectionConfig
from minidisc_ray.core.flops import kept_share
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.tradeoff import lambda_tradeoff, negative_derivative
from minidisc_ray.pipeline.choice import scan_lambda
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.run_files.result import CandidateRecord
from minidisc_ray.schedules.plan import MAIN_TRIAL, DistilStep, SandwichStep


def candidate_records(
    prepared: PreparedRun,
    records: dict[str, list[StageRecord]],
    structures: dict[int, Structure],
    teacher: StageRecord,
) -> list[CandidateRecord]:
    """The run's assistant candidates, largest first; empty if its schedule has none.

    Args:
        prepared: the checked recipe.
        records: the records of each trial's stages, by trial name.
        structures: each candidate's structure, by scale percent.
        teacher: the record of the teacher's stage.
    """
    score = prepared.task.selection_score
    student = prepared.plan.student_percent
    metrics: dict[int, float] = {}
    trained: set[int] = set()
    for trial in prepared.plan.all_trials():
        if trial in prepared.plan.probes:
            continue
        # Only the first of several sandwiches trains the whole grid; the later ones have other names.
        for record in records[trial.name]:
            if record.stage in ("sandwich", "assistant"):
                metrics |= {s: score(m) for s, m in record.selection_metrics.items() if s != student}
            if record.stage == "sandwich":
                trained |= set(record.trained_scales or ())
                # A candidate dropped from a race keeps the metric of its last evaluation.
                in_race = {s: m for check in record.race for s, m in check.metrics.items() if s != student}
                metrics = in_race | metrics
        for step in trial.steps:
            if isinstance(step, DistilStep) and isinstance(step.scale, int):
                trained.add(step.scale)
    schedule = prepared.config.schedule
    rule = schedule.selection if isinstance(schedule, MiniDiscConfig | MaxiDiscConfig) else None
    lambda_rule = rule if isinstance(rule, LambdaSelectionConfig) else LambdaSelectionConfig()
    order = rule.order if isinstance(rule, NegativeDerivativeSelectionConfig) else 1
    by_lambda = lambda_tradeoff(metrics, lambda_rule.lam)
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


def choices_by_lambda(prepared: PreparedRun, records: dict[str, list[StageRecord]]) -> dict[float, tuple[int, int]]:
    """For each value of lambda the epoch kept and the scale chosen; empty if the run chooses from no plain sandwich."""
    schedule = prepared.config.schedule
    if not isinstance(schedule, MiniDiscConfig) or schedule.search == "race":
        return {}
    record = next(record for record in records[MAIN_TRIAL] if record.stage == "sandwich")
    step = prepared.plan.trials[0].step("sandwich")
    assert isinstance(step, SandwichStep)
    return scan_lambda(step, record.history, prepared.task.selection_score)
