"""Tables of a study's findings: differences, regret, what rules would pick, rank correlations."""

from collections.abc import Callable, Sequence

from minidisc_ray.evaluation.assumptions import Share
from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.evaluation.rules import BestStudentRule, NoAssistantRule, ParameterRatioRule
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.study.findings import Finding, Findings, TaskAgreement

SAME_PREDICTIONS = "the same predictions"
NEEDS_NOTHING = "nothing"
# Over fewer scales a rank correlation can take so few values that any order of students gives a large one.
FEWEST_SCALES = 4
_COEFFICIENTS = {"spearman": "Spearman", "kendall_tau_b": "Kendall"}
# The last word of the rule's label, which the ratio does not change.
_LAW = ParameterRatioRule({}, 1).label.split()[-1]


def finding_tables(findings: Findings, num_seeds: int) -> list[Table]:
    """A table for each part that found something.

    Args:
        findings: of a study.
        num_seeds: of the study; there is a column of seeds only if a row has fewer.
    """
    hindsights = {(task_key(found), found.what): found.interval for found in findings.hindsights}
    method = Column("Method", "what", is_number=False)
    tables = (
        Table(
            "Methods with assistants against conventional ones",
            (
                method,
                Column("Minus", "against", is_number=False),
                *_task_columns(findings.differences, num_seeds),
                *_with_interval("Difference", _own_interval),
                Column("Shown", lambda found: _verdict(found.interval), is_number=False),
            ),
            findings.differences,
        ),
        Table(
            "Regret of one trial",
            (
                method,
                *_task_columns(findings.regrets, num_seeds),
                *_with_interval("Regret", _own_interval),
                *_with_interval("Hindsight", lambda found: hindsights[task_key(found), found.what], ", hindsight"),
            ),
            findings.regrets,
        ),
        Table(
            "Rules judged on MaxiDisc's students",
            (
                Column("Rule", "what", is_number=False),
                Column("Needs", "what", needs_of, is_number=False),
                *_task_columns(findings.rules, num_seeds),
                Column("Picks", "picks", lambda picks: ", ".join(map(_pick, picks)), is_number=False),
                *_with_interval("Regret", _own_interval),
            ),
            findings.rules,
        ),
        _agreements(shown_agreements(findings.agreements), num_seeds),
        Table(
            "Do the method's assumptions hold?",
            (
                Column("Method", "method", is_number=False),
                Column("Runs", lambda one: one.one_maximum.total),
                Column("One maximum", "one_maximum", _share),
                Column("Pairs", lambda one: one.falling_pairs.total),
                Column("Falling pairs", "falling_pairs", _share),
            ),
            findings.assumptions,
        ),
    )
    return [table for table in tables if table.rows]


def is_same(interval: Interval) -> bool:
    """Whether both sides score the same on every bootstrap draw, as models with the same answers do."""
    return max(abs(interval.low), abs(interval.high), abs(interval.mean)) < 1e-12


def shown_agreements(found: Sequence[TaskAgreement]) -> list[TaskAgreement]:
    """Rank correlations of tasks with enough scales and at least one correlation that is defined."""
    defined = {task_key(each) for each in found if each.agreement.mean is not None}
    return [each for each in found if each.agreement.num_scales >= FEWEST_SCALES and task_key(each) in defined]


def task_key(found: Finding | TaskAgreement) -> tuple[str | None, int | None, str]:
    """Teacher, student scale and task."""
    return found.teacher, found.scale_percent, found.task


def lacks_seeds(found: Finding | TaskAgreement, num_seeds: int) -> bool:
    """Whether a finding averages fewer seeds than the study has."""
    return len(_seeds(found)) < num_seeds


def needs_of(rule: str) -> str:
    """What must be trained before the rule with this label can pick."""
    if rule == NoAssistantRule().label or rule.endswith(f" {_LAW}"):
        return NEEDS_NOTHING
    return "every student" if rule == BestStudentRule().label else "every assistant's metric"


def _agreements(found: Sequence[TaskAgreement], num_seeds: int) -> Table:
    return Table(
        "Does the trade-off order the students?",
        (
            Column("By", lambda one: one.agreement.predictor, is_number=False),
            *_task_columns(found, num_seeds),
            Column("Coefficient", lambda one: _COEFFICIENTS[one.agreement.coefficient], is_number=False),
            Column("Mean", lambda one: _value(one.agreement.mean)),
            Column("Interval", lambda one: _ends(one.agreement.low, one.agreement.high)),
            Column("Each seed", lambda one: ", ".join(map(_value, one.agreement.by_seed))),
            Column("Scales", lambda one: one.agreement.num_scales),
        ),
        found,
    )


def _task_columns(found: Sequence[Finding | TaskAgreement], num_seeds: int) -> list[Column]:
    """The task's column, and those of teacher, scale and seeds where rows differ in them."""
    teachers, scales = {each.teacher for each in found}, {each.scale_percent for each in found}
    columns = [Column("Teacher", "teacher", is_number=False)] if len(teachers) > 1 else []
    columns += [Column("Scale", "scale_percent", unit="%")] if len(scales) > 1 else []
    columns.append(Column("Task", "task", is_number=False))
    if any(lacks_seeds(each, num_seeds) for each in found):
        columns.append(Column("Seeds", lambda each: ", ".join(map(str, _seeds(each))), is_number=False))
    return columns


def _with_interval(heading: str, interval: Callable[[Finding], Interval], of: str = "") -> tuple[Column, Column]:
    """Two columns: a mean in percentage points, and the ends of its interval."""
    return (
        Column(heading, lambda found: _signed(interval(found).mean)),
        Column(f"Interval{of}", lambda found: _interval(interval(found))),
    )


def _own_interval(found: Finding) -> Interval:
    return found.interval


def _seeds(found: Finding | TaskAgreement) -> tuple[int, ...]:
    return found.agreement.seeds if isinstance(found, TaskAgreement) else found.seeds


def _share(share: Share) -> str:
    return f"{100 * share.share:.0f}% ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _interval(interval: Interval) -> str:
    return SAME_PREDICTIONS if is_same(interval) else f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.2f}"


def _verdict(interval: Interval) -> str:
    if not interval.excludes_zero:
        return "no"
    return "better" if interval.mean > 0 else "worse"


def _pick(scale: int | None) -> str:
    return "none" if scale is None else f"{scale}%"
