"""Tables of a study's findings: differences, regret, what rules would pick, rank correlations, trends of gains."""

from collections.abc import Callable, Sequence

from minidisc_ray.evaluation.assumptions import Share
from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.evaluation.rules import BestStudentRule, NoAssistantRule, ParameterRatioRule
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.study.findings import Finding, Findings, TaskAgreement
from minidisc_ray.study.gains import GAP, GainTrend
from minidisc_ray.study.sweep_rules import Hits

SAME_PREDICTIONS = "the same predictions"
NEEDS_NOTHING = "nothing"
# Over fewer scales a rank correlation can take so few values that any order of students gives a large one.
FEWEST_SCALES = 4
# What has a teacher, a scale, a task and seeds.
_Found = Finding | TaskAgreement | Hits
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
            "Differences between methods",
            (
                method,
                Column("Minus", "against", is_number=False),
                *_task_columns(findings.differences, num_seeds),
                *_with_interval("Difference", _own_interval),
                Column("Half-width", lambda found: f"{100 * found.interval.half_width:.1f}", priority=1),
                Column("Above, one-sided", lambda found: signed_points(found.interval.lower_bound), priority=1),
                Column("Shown", lambda found: _verdict(found.interval), is_number=False),
            ),
            findings.differences,
        ),
        Table(
            "Regret to MaxiDisc",
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
        Table(
            "Rules that pick the best student",
            (
                Column("Rule", "rule", is_number=False),
                *_task_columns(findings.hits, num_seeds),
                Column("Students", "num_students"),
                Column("Hits", lambda found: f"{found.share.count} of {found.share.total}"),
                Column("Share", "share", wilson_text),
                Column("By chance", lambda found: f"{found.chance * found.share.total:.1f} of {found.share.total}"),
            ),
            findings.hits,
        ),
        _agreements(shown_agreements(findings.agreements), num_seeds),
        Table(
            "Do the method's assumptions hold?",
            (
                Column("Method", "method", is_number=False),
                Column("Runs", lambda one: one.one_maximum.total),
                Column("One maximum", "one_maximum", wilson_text),
                Column("Pairs", lambda one: one.falling_pairs.total),
                Column("Falling pairs", "falling_pairs", wilson_text),
            ),
            findings.assumptions,
        ),
        _trends(findings.gain_trends),
    )
    return [table for table in tables if table.rows]


def is_same(interval: Interval) -> bool:
    """Whether both sides score the same on every bootstrap draw, as models with the same answers do."""
    return max(abs(interval.low), abs(interval.high), abs(interval.mean)) < 1e-12


def shown_agreements(found: Sequence[TaskAgreement]) -> list[TaskAgreement]:
    """Rank correlations of tasks with enough scales and at least one correlation that is defined."""
    defined = {task_key(each) for each in found if each.agreement.mean is not None}
    return [each for each in found if each.agreement.num_scales >= FEWEST_SCALES and task_key(each) in defined]


def task_key(found: _Found) -> tuple[str | None, int | None, str]:
    """Teacher, student scale and task."""
    return found.teacher, found.scale_percent, found.task


def lacks_seeds(found: _Found, num_seeds: int) -> bool:
    """Whether a finding averages fewer seeds than the study has."""
    return len(_seeds(found)) < num_seeds


def needs_of(rule: str) -> str:
    """What must be trained before the rule with this label can pick."""
    if rule == NoAssistantRule().label or rule.endswith(f" {_LAW}"):
        return NEEDS_NOTHING
    return "every student" if rule == BestStudentRule().label else "every assistant's metric"


def _trends(found: Sequence[GainTrend]) -> Table:
    teachers, scales = {each.teacher for each in found}, {each.scale_percent for each in found}
    return Table(
        "Does the gain of an assistant change with the gap, or with training rows?",
        (
            Column("Method", "method", is_number=False),
            *([Column("Teacher", "teacher", is_number=False)] if len(teachers) > 1 else []),
            *([Column("Scale", "scale_percent", unit="%")] if len(scales) > 1 else []),
            Column(
                "With",
                lambda one: one.against if one.against == GAP else f"{one.against} of {one.same_data}",
                is_number=False,
            ),
            Column("Points", lambda one: one.trend.num_points),
            Column("Tasks", lambda one: one.trend.num_clusters),
            Column("Spearman", lambda one: _value(one.trend.spearman)),
            Column("Interval", lambda one: _ends(one.trend.low, one.trend.high)),
            Column("Slope", _slope),
        ),
        found,
    )


def _slope(one: GainTrend) -> str:
    """Points of gain for each point of gap, or for ten times the training rows."""
    factor = 1 if one.against == GAP else 100
    slope, low, high = (factor * value for value in (one.trend.slope, one.trend.slope_low, one.trend.slope_high))
    return f"{slope:+.2f} ({low:+.2f} to {high:+.2f})"


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


def _task_columns(found: Sequence[_Found], num_seeds: int) -> list[Column]:
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
        Column(heading, lambda found: signed_points(interval(found).mean)),
        Column(f"Interval{of}", lambda found: interval_text(interval(found))),
    )


def _own_interval(found: Finding) -> Interval:
    return found.interval


def _seeds(found: _Found) -> tuple[int, ...]:
    return found.agreement.seeds if isinstance(found, TaskAgreement) else found.seeds


def wilson_text(share: Share) -> str:
    """A share in percent with its interval."""
    return f"{100 * share.share:.0f}% ({100 * share.low:.0f} to {100 * share.high:.0f})"


def interval_text(interval: Interval) -> str:
    """The ends of a difference's interval in percentage points."""
    return SAME_PREDICTIONS if is_same(interval) else f"{signed_points(interval.low)} to {signed_points(interval.high)}"


def signed_points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
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
