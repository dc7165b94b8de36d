"""Decides from the probes' records which trials of a sweep go on."""

import math
from collections.abc import Collection, Mapping

from minidisc_ray.pipeline.trial import stage_folder
from minidisc_ray.preparation.closed_form import early_end_cost_share
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.failures import read_failure, trial_folder
from minidisc_ray.run_files.fetching import fetch_records
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import EarlyEnd
from minidisc_ray.schedules.early_end import Verdict, promoted_scales
from minidisc_ray.schedules.plan import Trial


def verdicts(prepared: PreparedRun, pending: Collection[str] | None = None) -> dict[str, Verdict]:
    """The verdict on each trial, by name; empty if the plan has no probes.

    Args:
        prepared: the checked recipe.
        pending: names of the probes that will still run; by default all that neither finished nor failed.
    """
    plan, scores = prepared.plan, _probe_scores(prepared)
    if not plan.probes:
        return {}
    without_score = [probe.name for probe in plan.probes if probe.assistant_percent not in scores]
    if pending is None:
        pending = {name for name in without_score if read_failure(prepared.run_folder, name) is None}
    is_undecided = any(name in pending for name in without_score)
    best = promoted_scales(scores)
    found: dict[str, Verdict] = {}
    for trial in plan.trials:
        if _student_score(prepared, trial) is not None:
            found[trial.name] = "goes on"
        elif is_undecided:
            found[trial.name] = "waits"
        elif trial.assistant_percent not in scores:
            found[trial.name] = "has no probe"
        else:
            found[trial.name] = "goes on" if trial.assistant_percent in best else "ends"
    return found


def _probe_scores(prepared: PreparedRun) -> dict[int, float]:
    """The selection score of each finished probe's student, by its assistant's scale."""
    scores = {}
    for probe in prepared.plan.probes:
        score = _student_score(prepared, probe)
        if score is not None and probe.assistant_percent is not None:
            scores[probe.assistant_percent] = score
    return scores


def early_end_record(prepared: PreparedRun, found: Mapping[str, Verdict]) -> EarlyEnd | None:
    """What ending trials early saved and risked; None if no trial was ended."""
    scores = _probe_scores(prepared)
    scale_of = {trial.name: trial.assistant_percent or 0 for trial in prepared.plan.trials}
    promoted = {name for name, verdict in found.items() if verdict == "goes on"}
    ended = [scores[scale_of[name]] for name, verdict in found.items() if verdict == "ends"]
    kept = [scores[scale_of[name]] for name in promoted if scale_of[name] in scores]
    if not ended or not kept:
        return None
    return EarlyEnd(
        num_trials=len(scale_of),
        num_ended=len(ended),
        best_ended_probe=max(ended),
        worst_kept_probe=min(kept),
        standard_error=_standard_error(prepared, max(ended)),
        saved_share=1 - early_end_cost_share(prepared, promoted),
    )


def should_run(prepared: PreparedRun, trial: Trial) -> bool:
    """Whether a trial runs: it has no probe, or its probe was one of the best."""
    return verdicts(prepared).get(trial.name, "goes on") == "goes on"


def _student_score(prepared: PreparedRun, trial: Trial) -> float | None:
    """The selection score of a trial's student; None if the trial did not finish."""
    folder = trial_folder(prepared.run_folder, trial.name)
    fetch_records(prepared.storage, folder / "stages")
    record = read_record(prepared.storage, stage_folder(folder, trial.steps[-1]), verify=False)
    return None if record is None else prepared.task.selection_score(record.selection_metrics[record.percent])


def _standard_error(prepared: PreparedRun, share: float) -> float | None:
    """The standard error of an accuracy, after Agresti and Coull, so that it is never zero; None for other metrics."""
    if prepared.task.chosen_by != ("accuracy",):
        return None
    rows = len(prepared.selection) + 4
    centre = (share * len(prepared.selection) + 2) / rows
    return math.sqrt(centre * (1 - centre) / rows)
