"""Steps of a trial that need no training: pruning, taking a candidate, choosing an assistant."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.choosing import choose
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.failures import trial_folder
from minidisc_ray.pipeline.making import take_candidate, take_model, teacher_in_order
from minidisc_ray.pipeline.records import StageRecord, read_record
from minidisc_ray.pipeline.scoring import metric_above, record_of
from minidisc_ray.pipeline.shared import structures_of
from minidisc_ray.schedules.plan import CandidateStep, ChooseStep, PruneStep


def prune_teacher(context: Context, step: PruneStep, folder: Path) -> StageRecord:
    """Cut a smaller model out of the teacher."""
    prepared, scale = context.prepared, step.scale_percent
    if context.workers.is_first:
        sparse = cut(teacher_in_order(prepared), structures_of(prepared, (scale,))[scale])
        save_model(sparse, prepared.tokenizer, folder / "model")
    context.workers.wait()
    return record_of(context, step.name, scale, load_model(folder / "model"))


def take_assistant(context: Context, step: CandidateStep, folder: Path) -> StageRecord:
    """Take a candidate out of the run's own sandwich."""
    sandwich = context.prepared.run_folder / "stages" / "sandwich"
    candidate = take_candidate(context, sandwich, step.scale_percent, folder)
    return record_of(context, step.name, step.scale_percent, candidate)


def choose_assistant(context: Context, step: ChooseStep, before: Sequence[StageRecord], folder: Path) -> StageRecord:
    """Choose among candidates by the recipe's rule, and keep the first one's model."""
    prepared = context.prepared
    found = _candidates(context, step, before)
    task = prepared.task
    metrics = {scale: task.selection_score(selection) for scale, (selection, _) in found.items()}
    teacher_metric, teacher_percent = metric_above(context, before)
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
        assistant = take_model(context, stage, folder)
    else:
        assistant = take_candidate(context, stage, chosen, folder)
    record = record_of(context, step.name, chosen, assistant)
    return record.model_copy(
        update={
            "selection_metrics": {chosen: selection},
            "chosen_percent": chosen,
            "chosen_chain": choice.chain,
            "tradeoffs": choice.tradeoffs,
        }
    )


def _candidates(
    context: Context, step: ChooseStep, before: Sequence[StageRecord]
) -> dict[int, tuple[dict[str, float], Path]]:
    """By scale what a choice is made from: selection metrics, and the folder of the stage that trained them."""
    prepared = context.prepared
    if step.sandwich is not None:
        sandwich = next(record for record in before if record.stage == step.sandwich)
        folder = context.folder / "stages" / step.sandwich
        student = prepared.config.student_percent
        return {scale: (found, folder) for scale, found in sandwich.selection_metrics.items() if scale != student}
    candidates = {}
    for trial in prepared.plan.trials:
        folder = trial_folder(prepared.run_folder, trial.name) / "stages" / trial.steps[-1].name
        # An assistant whose trial failed is no candidate.
        if (record := read_record(folder, verify=False)) is not None and record.scale_percent is not None:
            candidates[record.scale_percent] = (record.selection_metrics[record.scale_percent], folder)
    return candidates
