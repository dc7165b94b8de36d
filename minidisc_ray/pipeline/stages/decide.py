"""Decides whether an assistant is worth its cost: compares a short conventional distillation with the teacher."""

from minidisc_ray.configs.schedule import AutoConfig, ConventionalConfig
from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, percentile_ends
from minidisc_ray.evaluation.resampling import score_draws
from minidisc_ray.evaluation.weighted import LabelledRows
from minidisc_ray.models.checkpoint import load_stored_model
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._scores import scoring_flops, selection_logits
from minidisc_ray.pipeline.stages._teacher_check import lead_of
from minidisc_ray.pipeline.structures import load_shared_teacher
from minidisc_ray.run_files.decision import GapDecision
from minidisc_ray.run_files.predictions import SELECTION
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import DecideStep

_DIGITS = 9  # a gap of exactly the threshold, as few rows give, must not be above it by a rounding error


def decide_on_assistant(context: Context, step: DecideStep, attempt: StageAttempt) -> StageRecord:
    """Measure the gap on the selection rows, in the metric that choices use, and record what follows from it.

    The point decides, not an end of its interval: with a few hundred rows the interval is wider than most gaps, and
    the two mistakes cost about the same, some points of score or a few times the FLOPs.
    """
    prepared = context.prepared
    schedule, task = prepared.config.schedule, prepared.task
    assert isinstance(schedule, AutoConfig)
    probe = next(record for record in attempt.earlier if record.stage == step.probe)
    assert probe.num_epochs is not None
    models = [
        load_shared_teacher(prepared),
        load_stored_model(context.storage, context.folder / "stages" / step.probe / "model"),
    ]
    labels = prepared.selection.labels.numpy()
    rows = LabelledRows(task, {SELECTION: labels}, scored_splits=[SELECTION])
    logits = [selection_logits(context, model) for model in models]
    answers = [rows.predictions({SELECTION: each}) for each in logits]
    scores = score_draws(rows, [SELECTION], answers, DEFAULT_RESAMPLING, selects=True)
    teacher, student = map(float, scores.point)
    low, high = percentile_ends(100 * (scores.replicates[:, 0] - scores.replicates[:, 1]), DEFAULT_RESAMPLING.level)
    decision = GapDecision(
        teacher_metric=teacher,
        student_metric=student,
        num_rows=len(prepared.selection),
        gap_points=round(100 * (teacher - student), _DIGITS),
        low_points=low,
        high_points=high,
        min_gap_points=round(step.min_gap_points, _DIGITS),
        student_has_learned=not lead_of(task, logits[1], labels, prepared.splits.train.labels).is_none,
        probe_epochs=probe.num_epochs,
        num_epochs=prepared.config.distil_training.num_epochs,
        outcome="",
    )
    followed = schedule.then if decision.uses_assistant else ConventionalConfig()
    decision = decision.model_copy(update={"outcome": followed.label})
    context.note(decision.sentence)
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        evaluation_flops=sum(scoring_flops(model, [prepared.selection]) for model in models),
        decision=decision,
    )
