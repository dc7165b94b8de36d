"""The choice of an assistant among the candidates that were trained."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.log import logger
from minidisc_ray.pipeline.choice import choose
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import take_candidate, take_model, take_teacher
from minidisc_ray.pipeline.stages._scores import record_of, teacher_metric_of
from minidisc_ray.run_files.failures import trial_folder
from minidisc_ray.run_files.records import StageRecord, read_record
from minidisc_ray.schedules.plan import ChooseStep


def choose_assistant(context: Context, step: ChooseStep, attempt: StageAttempt) -> StageRecord:
    """Choose among candidates by the recipe's rule, and keep the first one's model; a race has chosen by itself."""
    if race := [record for record in attempt.earlier if record.stage == step.sandwich and record.race]:
        return _take_winner(context, step, attempt, race[0])
    prepared = context.prepared
    found = _candidates(context, step, attempt.earlier)
    task = prepared.task
    metrics = {scale: task.selection_score(selection) for scale, (selection, _) in found.items()}
    teacher_metric, teacher_percent = teacher_metric_of(context, attempt.earlier)
    choice = choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below)
    chosen = choice.chain[0]
    selection, stage = found[chosen]
    if context.workers.is_first:
        logger.info(
            "[%s] assistant chosen: %s (selection %s %.4f, trade-off %.4f)",
            context.trial,
            " → ".join(f"{scale}%" for scale in choice.chain),
            task.selection_label,
            metrics[chosen],
            choice.tradeoffs[chosen],
        )
    if step.sandwich is None:
        assistant = take_model(context, stage, attempt.folder)
    else:
        assistant = take_candidate(context, stage, chosen, attempt.folder)
    record = record_of(context, step.name, chosen, assistant)
    return record.model_copy(
        update={
            "selection_metrics": {chosen: selection},
            "chosen_percent": chosen,
            "chosen_chain": choice.chain,
            "tradeoffs": choice.tradeoffs,
        }
    )


def _take_winner(context: Context, step: ChooseStep, attempt: StageAttempt, race: StageRecord) -> StageRecord:
    """Keep the assistant that a race chose; of a race that chose none, the teacher."""
    last = race.race[-1]
    chosen = last.choice
    assert chosen is not None
    folder = context.folder / "stages" / race.stage
    if chosen == TEACHER_PERCENT:
        assistant = take_teacher(context, folder, attempt.folder)
    else:
        assistant = take_candidate(context, folder, chosen, attempt.folder)
    made = record_of(context, step.name, chosen, assistant)
    return made.model_copy(update={"chosen_percent": chosen, "chosen_chain": (chosen,), "tradeoffs": last.tradeoffs})


def _candidates(
    context: Context, step: ChooseStep, earlier: Sequence[StageRecord]
) -> dict[int, tuple[dict[str, float], Path]]:
    """By scale what a choice is made from: selection metrics, and the folder of the stage that trained them."""
    prepared = context.prepared
    if step.sandwich is not None:
        sandwich = next(record for record in earlier if record.stage == step.sandwich)
        folder = context.folder / "stages" / step.sandwich
        student = prepared.plan.student_percent
        return {scale: (found, folder) for scale, found in sandwich.selection_metrics.items() if scale != student}
    candidates = {}
    for trial in prepared.plan.trials:
        folder = trial_folder(prepared.run_folder, trial.name) / "stages" / trial.steps[-1].name
        # An assistant whose trial failed is no candidate.
        if (
            record := read_record(prepared.storage, folder, verify=False)
        ) is not None and record.scale_percent is not None:
            candidates[record.scale_percent] = (record.selection_metrics[record.scale_percent], folder)
    return candidates
