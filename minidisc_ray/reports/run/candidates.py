"""Tables of a run's candidates and trials, and the line of what other values of lambda would choose."""

from minidisc_ray.configs.printable import printable
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.reports.words import hours_text, metric_title, percent_text, share_text
from minidisc_ray.run_files.result import CandidateRecord, RunResult, TrialRecord

_CHOSEN = "◀ chosen"
_BEST = "◀ best"


def lambda_scan_line(result: RunResult) -> str:
    """What each lambda would choose, as one line; empty where nothing was chosen."""
    by_value = sorted(result.choice_by_lambda.items(), key=lambda item: _number(item[0]))
    if not by_value:
        return ""
    epochs = result.epoch_by_lambda
    choices = [f"{lam} → {scale}%" + (f" (epoch {epochs[lam]})" if lam in epochs else "") for lam, scale in by_value]
    same = "" if epochs else "; all at the epoch that was kept for the run's own λ"
    return printable(f"λ {', '.join(choices)}{same}", kept="")


def selection_title(result: RunResult) -> str:
    """The heading of the metric that choices use: the primary metric, or the run's own selection metric."""
    own = result.selection_metric
    return metric_title(result.primary_metric) if own in (None, result.primary_metric) else str(own)


def candidate_table(result: RunResult) -> Table:
    """The candidates, largest first, the chosen ones marked; metrics are of the selection rows, in percent."""
    metric = selection_title(result)
    chosen = {model.scale_percent for model in result.assistants}

    def is_chosen(candidate: CandidateRecord) -> bool:
        return candidate.scale_percent in chosen

    columns = (
        Column("Scale", "scale_percent", unit="%"),
        Column(metric, "metric", percent_text),
        Column("λ-tradeoff", "lambda_tradeoff", "{:z.4f}".format),
        Column("Negative derivative", "negative_derivative", "{:z.3f}".format),
        # Not trained: only evaluated, as a slice of the shared parameters.
        Column("Trained", "trained", lambda trained: "trained" if trained else "evaluated", is_number=False),
        Column("Heads kept", lambda candidate: candidate.kept_share.get("heads"), share_text),
        Column("Neurons kept", lambda candidate: candidate.kept_share.get("neurons"), share_text),
        Column("", lambda candidate: _CHOSEN if is_chosen(candidate) else "", is_number=False),
    )
    largest_first = sorted(result.candidates, key=lambda candidate: -candidate.scale_percent)
    title = f"Assistant candidates, {metric} on: {result.selection_split}"
    return Table(title, columns, largest_first, is_marked=is_chosen)


def trial_table(result: RunResult) -> Table:
    """A sweep's trials in planned order, the trial of the final student marked; metrics in percent."""
    kept = {model.scale_percent for model in result.assistants}

    def is_best(trial: TrialRecord) -> bool:
        return trial.status == "finished" and trial.assistant_percent in kept

    kind = "Useful and lost" if result.cost.lost_device_hours else "Useful"
    columns = (
        Column("Assistant", "assistant_percent", unit="%"),
        Column("Status", "status", is_number=False),
        Column("Assistant selection", "assistant_selection", percent_text),
        Column("Student selection", "student_selection", percent_text),
        Column("Student validation", "student_validation", percent_text),
        Column(f"{kind} {result.cost.device_unit}", "device_hours", hours_text),
        Column("", lambda trial: _BEST if is_best(trial) else trial.reason, is_number=False),
    )
    title = f"Trials, {metric_title(result.primary_metric)} in percent; selected on: {result.selection_split}"
    return Table(title, columns, result.trials, is_marked=is_best)


def _number(text: str) -> float:
    """The number, or infinity for other text, which so sorts last."""
    try:
        return float(text)
    except ValueError:
        return float("inf")
