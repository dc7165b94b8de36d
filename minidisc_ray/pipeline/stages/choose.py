"""Chooses an assistant among the trained candidates."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.pipeline.choice import choose
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import copy_stage_model, extract_candidate
from minidisc_ray.pipeline.stages._scores import metric_above, score_and_record
from minidisc_ray.run_files.failures import trial_folder
from minidisc_ray.run_files.records import StageRecord, read_record
from minidisc_ray.schedules.plan import ChooseStep


def choose_assistant(context: Context, step: ChooseStep, attempt: StageAttempt) -> StageRecord:
    """Choose assistants by the recipe's rule and save the first one's model; a race has chosen already."""
    race = next((record for record in attempt.earlier if record.stage == step.sandwich and record.race), None)
    if race is not None:
        return _save_race_choice(context, step, attempt, race)
    prepared = context.prepared
    found = _candidates(context, step, attempt.earlier)
    task = prepared.task
    metrics = {scale: task.selection_score(selection) for scale, (selection, _) in found.items()}
    teacher_metric, teacher_percent = metric_above(context, attempt.earlier)
    choice = choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below)
    chosen = choice.chain[0]
    selection, stage = found[chosen]
    chain = " → ".join(f"{scale}%" for scale in choice.chain)
    context.note(
        f"{step.name}: assistant chosen: {chain} (selection {task.selection_label} {100 * metrics[chosen]:z.1f}, "
        f"trade-off {choice.tradeoffs[chosen]:.4f})"
    )
    if step.sandwich is None:
        assistant = copy_stage_model(context, stage, attempt.folder)
    else:
        assistant = extract_candidate(context, stage, chosen, attempt.folder)
    record = score_and_record(context, step.name, chosen, assistant)
    return record.model_copy(
        update={
            "selection_metrics": {chosen: selection},
            "chosen_percent": chosen,
            "chosen_chain": choice.chain,
            "tradeoffs": choice.tradeoffs,
        }
    )


def _save_race_choice(context: Context, step: ChooseStep, attempt: StageAttempt, race: StageRecord) -> StageRecord:
    """Save the assistant that a race chose, or the teacher if it chose no assistant."""
    last = race.race[-1]
    chosen = last.choice
    assert chosen is not None
    folder = context.folder / "stages" / race.stage
    assistant = extract_candidate(context, folder, chosen, attempt.folder)
    made = score_and_record(context, step.name, chosen, assistant)
    return made.model_copy(update={"chosen_percent": chosen, "chosen_chain": (chosen,), "tradeoffs": last.tradeoffs})


def _candidates(
    context: Context, step: ChooseStep, earlier: Sequence[StageRecord]
) -> dict[int, tuple[dict[str, float], Path]]:
    """Each candidate's selection metrics and the folder of the stage that trained it, by scale percent."""
    prepared = context.prepared
    if step.sandwich is not None:
        sandwich = next(record for record in earlier if record.stage == step.sandwich)
        folder = context.folder / "stages" / step.sandwich
        student = prepared.plan.student_percent
        return {scale: (found, folder) for scale, found in sandwich.selection_metrics.items() if scale != student}
    candidates = {}
    for trial in prepared.plan.trials:
        folder = trial_folder(prepared.run_folder, trial.name) / "stages" / trial.steps[-1].name
        record = read_record(prepared.storage, folder, verify=False)
        # An assistant whose trial failed is no candidate.
        if record is not None and record.scale_percent is not None:
            candidates[record.scale_percent] = (record.selection_metrics[record.scale_percent], folder)
    return candidates
