"""What a study found beyond its table, as text: differences, regret, what rules would pick, rank correlations."""

from collections.abc import Sequence

from minidisc_ray.evaluation.assumptions import Share
from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.evaluation.rules import BestStudentRule, NoAssistantRule, ParameterRatioRule
from minidisc_ray.reports.comparison.columns import Column, Section
from minidisc_ray.study.findings import Assumptions, Finding, Findings, TaskAgreement

SAME_PREDICTIONS = "the same predictions"
NEEDS_NOTHING = "nothing"
# Over fewer scales a rank correlation can take so few values that any order of students gives a large one.
FEWEST_SCALES = 4
_LAW = ParameterRatioRule({}, 1).label.split()[-1]


def finding_sections(findings: Findings, num_seeds: int) -> list[Section]:
    """A section for each part that found something.

    Args:
        findings: of a study.
        num_seeds: of the study; where every row has all of them, no column names them.
    """
    sections = []
    if findings.differences:
        sections.append(_differences(findings.differences, num_seeds))
    if findings.regrets:
        sections.append(_regrets(findings.regrets, findings.hindsights, num_seeds))
    if findings.rules:
        sections.append(_rules(findings.rules, num_seeds))
    if ordered := ordered_agreements(findings.agreements):
        sections.append(_agreements(ordered, num_seeds))
    if findings.assumptions:
        sections.append(_assumptions(findings.assumptions))
    return sections


def is_same(interval: Interval) -> bool:
    """Whether two sides score alike on every draw, as models do that give the same answers."""
    return max(abs(interval.low), abs(interval.high), abs(interval.mean)) < 1e-12


def ordered_agreements(found: Sequence[TaskAgreement]) -> list[TaskAgreement]:
    """Those of tasks where there is a rank correlation to be read: over enough scales, and not all undefined."""
    defined = {place_of(each) for each in found if each.agreement.mean is not None}
    return [each for each in found if each.agreement.num_scales >= FEWEST_SCALES and place_of(each) in defined]


def place_of(found: Finding | TaskAgreement) -> tuple[str | None, int | None, str]:
    """Teacher, student scale and task."""
    return found.teacher, found.scale_percent, found.task


def lacks_seeds(found: Finding | TaskAgreement, num_seeds: int) -> bool:
    """Whether a row stands on fewer seeds than the study has."""
    return len(_seeds(found)) < num_seeds


def needs_of(rule: str) -> str:
    """What must have been trained before a rule, by its label, can pick."""
    if rule == NoAssistantRule().label or rule.endswith(f" {_LAW}"):
        return NEEDS_NOTHING
    return "every student" if rule == BestStudentRule().label else "every assistant's metric"


def _differences(found: Sequence[Finding], num_seeds: int) -> Section:
    return Section(
        "Methods with assistants beside conventional ones",
        (
            _words("Method", [finding.what for finding in found]),
            _words("Less", [finding.against for finding in found]),
            *_places(found, num_seeds),
            _numbers("Difference", [_points(finding.interval) for finding in found]),
            _numbers("Interval", [_interval(finding.interval) for finding in found]),
            _words("Shown", [_verdict(finding.interval) for finding in found]),
        ),
    )


def _regrets(regrets: Sequence[Finding], hindsights: Sequence[Finding], num_seeds: int) -> Section:
    ceiling = {(f.teacher, f.scale_percent, f.task, f.what): f.interval for f in hindsights}
    best = [ceiling[f.teacher, f.scale_percent, f.task, f.what] for f in regrets]
    return Section(
        "Regret of one trial",
        (
            _words("Method", [finding.what for finding in regrets]),
            *_places(regrets, num_seeds),
            _numbers("Regret", [_points(finding.interval) for finding in regrets]),
            _numbers("Interval", [_interval(finding.interval) for finding in regrets]),
            _numbers("Hindsight", [_points(interval) for interval in best]),
            _numbers("Interval, hindsight", [_interval(interval) for interval in best]),
        ),
    )


def _rules(found: Sequence[Finding], num_seeds: int) -> Section:
    return Section(
        "Rules judged on MaxiDisc's students",
        (
            _words("Rule", [finding.what for finding in found]),
            _words("Needs", [needs_of(finding.what) for finding in found]),
            *_places(found, num_seeds),
            _words("Picks", [", ".join(map(_pick, finding.picks)) for finding in found]),
            _numbers("Regret", [_points(finding.interval) for finding in found]),
            _numbers("Interval", [_interval(finding.interval) for finding in found]),
        ),
    )


def _assumptions(found: Sequence[Assumptions]) -> Section:
    return Section(
        "Do the method's assumptions hold?",
        (
            _words("Method", [one.method for one in found]),
            _numbers("Runs", [str(one.one_maximum.total) for one in found]),
            _numbers("One maximum", [_share(one.one_maximum) for one in found]),
            _numbers("Pairs", [str(one.falling_pairs.total) for one in found]),
            _numbers("Falling pairs", [_share(one.falling_pairs) for one in found]),
        ),
    )


def _share(share: Share) -> str:
    return f"{100 * share.share:.0f}% ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _agreements(found: Sequence[TaskAgreement], num_seeds: int) -> Section:
    agreements = [each.agreement for each in found]
    return Section(
        "Does the trade-off order the students?",
        (
            _words("By", [one.predictor for one in agreements]),
            *_places(found, num_seeds),
            _words("Coefficient", ["Spearman" if one.coefficient == "spearman" else "Kendall" for one in agreements]),
            _numbers("Mean", [_value(one.mean) for one in agreements]),
            _numbers("Interval", [_ends(one.low, one.high) for one in agreements]),
            _numbers("Each seed", [", ".join(_value(value) for value in one.by_seed) for one in agreements]),
            _numbers("Scales", [str(one.num_scales) for one in agreements]),
        ),
    )


def _places(found: Sequence[Finding | TaskAgreement], num_seeds: int) -> list[Column]:
    """Teacher, scale and seeds only where they differ from row to row or from the study, and the task."""
    columns = []
    if len({each.teacher for each in found}) > 1:
        columns.append(_words("Teacher", [each.teacher or "" for each in found]))
    if len({each.scale_percent for each in found}) > 1:
        columns.append(_numbers("Scale", ["" if e.scale_percent is None else f"{e.scale_percent}%" for e in found]))
    columns.append(_words("Task", [each.task for each in found]))
    if any(lacks_seeds(each, num_seeds) for each in found):
        columns.append(_words("Seeds", [", ".join(map(str, _seeds(each))) for each in found]))
    return columns


def _seeds(found: Finding | TaskAgreement) -> tuple[int, ...]:
    return found.agreement.seeds if isinstance(found, TaskAgreement) else found.seeds


def _words(heading: str, cells: Sequence[str]) -> Column:
    return Column(heading, tuple(cells), is_number=False)


def _numbers(heading: str, cells: Sequence[str]) -> Column:
    return Column(heading, tuple(cells))


def _points(interval: Interval) -> str:
    return _signed(interval.mean)


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
