"""Which trials of a sweep go on after their probes: from the records that those left."""

import math
from collections.abc import Mapping

from minidisc_ray.pipeline.trial import stage_folder
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.failures import read_failure, trial_folder
from minidisc_ray.run_files.mirrored import fetch_records
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import EarlyEnd
from minidisc_ray.schedules.early_end import Verdict, scales_that_go_on
from minidisc_ray.schedules.plan import Trial


def verdicts(prepared: PreparedRun) -> dict[str, Verdict]:
    """By trial that has a probe; empty where none has. A trial that has begun goes on, whatever came after it."""
    plan, scores = prepared.plan, probe_scores(prepared)
    open_probes = [
        probe
        for probe in plan.probes
        if probe.assistant_percent not in scores and read_failure(prepared.run_folder, probe.name) is None
    ]
    best = scales_that_go_on(scores, len(open_probes))
    found: dict[str, Verdict] = {}
    for trial in plan.trials if plan.probes else ():
        has_begun = stage_folder(trial_folder(prepared.run_folder, trial.name), trial.steps[0]).exists()
        if trial.assistant_percent in best or has_begun:
            found[trial.name] = "goes on"
        else:
            found[trial.name] = "waits" if open_probes else "ends"
    return found


def probe_scores(prepared: PreparedRun) -> dict[int, float]:
    """The selection score of each finished probe's student, by its assistant's scale."""
    scores = {}
    for probe in prepared.plan.probes:
        folder = trial_folder(prepared.run_folder, probe.name)
        fetch_records(folder / "stages")
        record = read_record(stage_folder(folder, probe.steps[-1]), verify=False)
        if record is not None and probe.assistant_percent is not None:
            scores[probe.assistant_percent] = prepared.task.selection_score(record.selection_metrics[record.percent])
    return scores


def early_end_record(prepared: PreparedRun, found: Mapping[str, Verdict]) -> EarlyEnd | None:
    """What ending trials early saved and risked; None where none was ended."""
    scores = probe_scores(prepared)
    scale_of = {trial.name: trial.assistant_percent for trial in prepared.plan.trials}
    ended = [scale_of[name] for name, verdict in found.items() if verdict == "ends"]
    best_ended = max((scores[scale] for scale in ended if scale in scores), default=None)
    kept = [scores[scale] for name, scale in scale_of.items() if found.get(name) == "goes on" and scale in scores]
    if best_ended is None or not kept:
        return None
    flops = {(stage.trial, stage.stage): stage.flops for stage in Estimator(prepared, going_on=set(scale_of)).stages()}
    probes = {probe.name for probe in prepared.plan.probes}
    trials_in_full = sum(value for (trial, _), value in flops.items() if trial in scale_of)
    spent = sum(value for (trial, _), value in flops.items() if trial in probes or found.get(trial) == "goes on")
    share = min(max(best_ended, 0.0), 1.0)
    return EarlyEnd(
        num_trials=len(scale_of),
        num_ended=len(ended),
        best_ended_probe=best_ended,
        worst_kept_probe=min(kept),
        standard_error=math.sqrt(share * (1 - share) / len(prepared.selection)),
        saved_share=1 - spent / trials_in_full,
    )


def is_ended(prepared: PreparedRun, trial: Trial) -> bool:
    """Whether a trial does not run, since its probe was none of the best."""
    return bool(prepared.plan.probes) and verdicts(prepared).get(trial.name) == "ends"
