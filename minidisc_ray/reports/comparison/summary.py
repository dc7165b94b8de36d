"""A summary of methods on one task and seed: scores with intervals, FLOPs, and a sentence with the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.evaluation.resampling import bootstrap
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.reports.words import method_name, metric_title, percent_text, ratio_text, scales_text
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.answers import FinishedRun, groups_of, teacher_answers

Verdict = Literal["beats", "draws with", "loses to"]
_TEACHER = "Teacher"


@dataclass(frozen=True)
class SummaryRow:
    """One model.

    Attributes:
        method: its name.
        assistant: scales of the assistants between teacher and student.
        score: on the validation rows, a share, with its bootstrap interval.
        price: FLOPs, of training and evaluation, as a multiple of the conventional student's; None of the teacher.
    """

    method: str
    assistant: str
    score: Interval
    price: float | None


@dataclass(frozen=True)
class Summary:
    """The methods of one task and seed, compared.

    Attributes:
        title: task, student's scale, rows.
        metric: the score's name.
        rows: the teacher's first.
        finding: MiniDisc against each other method, in a sentence.
        verdicts: the same in a word each, in the order of the rows.
    """

    title: str
    metric: str
    rows: tuple[SummaryRow, ...]
    finding: str
    verdicts: tuple[Verdict, ...]


def summarise(runs: Sequence[FinishedRun]) -> Summary:
    """Compare runs of one task, student scale and seed: a conventional one, a MiniDisc, and others.

    Raises:
        UserError: if a run lacks its predictions, or the runs are of several tasks or student scales.
    """
    groups, reasons = groups_of(runs)
    if reasons or len(groups) != 1:
        raise UserError(reasons[0] if reasons else "these runs are of several tasks or student scales")
    (group,) = groups
    seed = runs[0].result.seed
    results = {name: found[seed].result for name, found in group.runs.items()}
    models = {name: group.students(name) for name in results}
    estimates = bootstrap(group.rows, {_TEACHER: {seed: teacher_answers(runs[0], group.rows)}, **models})
    prices = _prices(results)
    rows = [SummaryRow(_TEACHER, "", estimates[_TEACHER].interval(), None)]
    for name, result in results.items():
        chain = scales_text([model.scale_percent for model in result.assistants], "%")
        rows.append(SummaryRow(method_name(result), chain, estimates[name].interval(), prices[name]))
    first = runs[0].result
    ours = next(name for name, result in results.items() if result.method == "minidisc")
    differences = {name: (estimates[ours] - estimates[name]).interval() for name in results if name != ours}
    num_rows = estimates[ours].num_examples
    return Summary(
        f"{first.task} · student at {first.student.scale_percent}% · {num_rows:,} validation rows · seed {seed}",
        first.primary_metric,
        tuple(rows),
        _finding(ours, results, differences, prices),
        tuple(map(_verdict, differences.values())),
    )


def summary_table(summary: Summary) -> Table:
    """The summary as a table: scores in percent, FLOPs in multiples of the conventional student's."""
    level = summary.rows[0].score.level
    columns = (
        Column("Method", "method", is_number=False),
        Column("Assistant", "assistant"),
        Column(metric_title(summary.metric), lambda row: percent_text(row.score.mean)),
        Column(f"{100 * level:.0f}% interval", _interval),
        Column("FLOPs", "price", ratio_text),
    )
    return Table(summary.title, columns, summary.rows)


def _interval(row: SummaryRow) -> str:
    return f"{percent_text(row.score.low)} to {percent_text(row.score.high)}"


def _prices(results: dict[str, RunResult]) -> dict[str, float | None]:
    base = next((result.cost.flops for result in results.values() if result.method == "conventional"), None)
    return {
        name: result.cost.flops / base if base and result.cost.flops is not None else None
        for name, result in results.items()
    }


def _verdict(difference: Interval) -> Verdict:
    if not difference.excludes_zero:
        return "draws with"
    return "beats" if difference.mean > 0 else "loses to"


def _finding(
    ours: str, results: dict[str, RunResult], differences: dict[str, Interval], prices: dict[str, float | None]
) -> str:
    """A sentence on MiniDisc against each other method: verdict, difference, interval and relative FLOPs."""
    parts = []
    for name, found in differences.items():
        ends = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
        flops = _relative_flops(prices[ours], prices[name])
        parts.append(f"{_verdict(found)} {method_name(results[name])} ({100 * found.mean:+.1f} points, {ends}){flops}")
    return f"{method_name(results[ours])} {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}."


def _relative_flops(ours: float | None, theirs: float | None) -> str:
    if not ours or not theirs:
        return ""
    return f" at {ratio_text(ours / theirs)} its FLOPs"
