"""What a study found beyond its table, as text: differences, regret, rules that cost nothing, rank correlations."""

from collections.abc import Sequence

from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.pipeline.findings import Finding, Findings, TaskAgreement
from minidisc_ray.reports.columns import Column, Section

_NOTES = {
    "differences": (
        "Differences are of percent points, of the students on validation. Shown: whether the interval, by a bootstrap "
        "over seeds and examples, excludes zero; where it does not, no benefit and no harm is claimed."
    ),
    "few_seeds": (
        "With two to five seeds an interval shows too little of what seeds do where most of the spread is theirs: read "
        "it as the least that is unknown."
    ),
    "regrets": (
        "Regret: MaxiDisc's student, its assistant chosen on the selection split, less MiniDisc's; above zero the one "
        "trial lost. Hindsight: the best of MaxiDisc's students on validation itself, which no method can choose, less "
        "MiniDisc's: a ceiling."
    ),
    "rules": (
        "Rules pick among MaxiDisc's own students by what they look at on the selection split; regret is MaxiDisc's "
        "pick less the rule's."
    ),
    "agreements": (
        "Rank correlation over scales with the student's validation metric; undefined where one side is the same at "
        "all scales."
    ),
}


def finding_sections(findings: Findings) -> list[Section]:
    """A section for each part that found something."""
    sections = []
    if findings.differences:
        sections.append(_differences(findings.differences))
    if findings.regrets:
        sections.append(_regrets(findings.regrets, findings.hindsights))
    if findings.rules:
        sections.append(_rules(findings.rules))
    if findings.agreements:
        sections.append(_agreements(findings.agreements))
    return sections


def finding_notes(findings: Findings) -> list[str]:
    """What a reader must know to read the sections rightly."""
    notes = [text for key, text in _NOTES.items() if getattr(findings, key, ())]
    counts = [finding.interval.num_seeds for finding in (*findings.differences, *findings.regrets)]
    if counts and min(counts) == 1:
        notes.append("With one seed an interval is over examples alone.")
    elif counts and min(counts) <= 5:
        notes.append(_NOTES["few_seeds"])
    return [*notes, *findings.left_out]


def _differences(found: Sequence[Finding]) -> Section:
    return Section(
        "Methods with assistants beside conventional ones",
        (
            *_places(found),
            _words("Method", [finding.what for finding in found]),
            _words("Less", [finding.against for finding in found]),
            _numbers("Difference", [_points(finding.interval) for finding in found]),
            _numbers("Interval", [_interval(finding.interval) for finding in found]),
            _words("Shown", [_verdict(finding.interval) for finding in found]),
        ),
    )


def _regrets(regrets: Sequence[Finding], hindsights: Sequence[Finding]) -> Section:
    ceiling = {(f.teacher, f.scale_percent, f.task, f.what): f.interval for f in hindsights}
    best = [ceiling[f.teacher, f.scale_percent, f.task, f.what] for f in regrets]
    return Section(
        "Regret of one trial",
        (
            *_places(regrets),
            _words("Method", [finding.what for finding in regrets]),
            _numbers("Regret", [_points(finding.interval) for finding in regrets]),
            _numbers("Interval", [_interval(finding.interval) for finding in regrets]),
            _numbers("Hindsight", [_points(interval) for interval in best]),
            _numbers("Interval, hindsight", [_interval(interval) for interval in best]),
        ),
    )


def _rules(found: Sequence[Finding]) -> Section:
    return Section(
        "Rules that cost nothing, among MaxiDisc's students",
        (
            *_places(found),
            _words("Rule", [finding.what for finding in found]),
            _words("Picks", [", ".join(map(_pick, finding.picks)) for finding in found]),
            _numbers("Regret", [_points(finding.interval) for finding in found]),
            _numbers("Interval", [_interval(finding.interval) for finding in found]),
        ),
    )


def _agreements(found: Sequence[TaskAgreement]) -> Section:
    agreements = [each.agreement for each in found]
    return Section(
        "Does the trade-off order the students?",
        (
            *_places(found),
            _words("By", [one.predictor for one in agreements]),
            _words("Coefficient", ["Spearman" if one.coefficient == "spearman" else "Kendall" for one in agreements]),
            _numbers("Mean", ["undefined" if one.mean is None else f"{one.mean:+.2f}" for one in agreements]),
            _numbers("Interval", [_ends(one.low, one.high) for one in agreements]),
            _numbers("Each seed", [", ".join(_value(value) for value in one.by_seed) for one in agreements]),
            _numbers("Scales", [str(one.num_scales) for one in agreements]),
        ),
    )


def _places(found: Sequence[Finding | TaskAgreement]) -> list[Column]:
    """Teacher and scale only where they differ, and the task."""
    columns = []
    if len({each.teacher for each in found}) > 1:
        columns.append(_words("Teacher", [each.teacher or "" for each in found]))
    if len({each.scale_percent for each in found}) > 1:
        columns.append(_numbers("Scale", ["" if e.scale_percent is None else f"{e.scale_percent}%" for e in found]))
    return [*columns, _words("Task", [each.task for each in found])]


def _words(heading: str, cells: Sequence[str]) -> Column:
    return Column(heading, tuple(cells), is_number=False)


def _numbers(heading: str, cells: Sequence[str]) -> Column:
    return Column(heading, tuple(cells))


def _points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.1f}"


def _interval(interval: Interval) -> str:
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


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
