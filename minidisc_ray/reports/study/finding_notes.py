"""Notes that explain a study's findings."""

from collections.abc import Iterator, Sequence

from minidisc_ray.reports.study.findings import (
    FEWEST_SCALES,
    NEEDS_NOTHING,
    is_same,
    lacks_seeds,
    needs_of,
    shown_agreements,
    task_key,
)
from minidisc_ray.study.findings import Finding, Findings, TaskAgreement
from minidisc_ray.study.gains import FEWEST_POINTS, num_points
from minidisc_ray.study.sweep_rules import Hits

_DIFFERENCES = (
    "Differences are between students on validation, in percentage points. Shown: whether the interval, by a bootstrap "
    "over seeds and examples, excludes zero; where it does not, no benefit and no harm is claimed. Half-width: half "
    "the interval. Above, one-sided: the bound that the difference is above, one-sided 95%."
)
_SEEDS = "Seeds: those that both sides have finished; for every task those of the task that has the fewest."
_SAME = (
    "The same predictions: both sides score the same on every bootstrap draw, as models with the same answers do; this "
    "does not show that the methods are the same."
)
_FEW_SEEDS = (
    "With two to five seeds an interval is too narrow where most of the spread is between seeds: read it as a lower "
    "bound of the uncertainty."
)
_REGRETS = (
    "Regret: the score of MaxiDisc's student, its assistant chosen on the selection split, minus the method's; above "
    "zero the method is worse. Hindsight: the score of the best of MaxiDisc's students on validation itself, which "
    "no method can choose, minus the method's: an upper bound."
)
_RULES = (
    "Rules pick among MaxiDisc's own students by numbers of the selection split; regret is the score of MaxiDisc's "
    "pick minus the rule's. Needs: what must be trained before the rule can pick; one sandwich run gives every "
    "assistant's metric."
)
_HITS = (
    "Hits: in how many runs the rule picked the student of MaxiDisc that is best on validation, all of them if several "
    "are; by chance: what a pick at random among the same students is expected to reach. A miss may cost nothing: the "
    "regret above says what it costs. In brackets 95% intervals (Wilson)."
)
_TRENDS = (
    "Gain: the student's score minus the conventional student's; gap: the teacher's minus the conventional student's; "
    "a point for each task and seed. Slope: points of gain for each point of gap, or for ten times the training rows. "
    "Intervals are by a bootstrap over tasks and their seeds. The same conventional student is in gain and gap, so one "
    "that scores low by chance raises both: this shows when an assistant gained, and not why."
)
_AGREEMENTS = (
    "Rank correlation over scales with the student's validation metric; undefined where one side is the same at all "
    "scales."
)

_ASSUMPTIONS = (
    "One maximum: the share of runs whose λ-tradeoff over the candidates has a single maximum. Falling pairs: the "
    "share of neighbouring candidates of which the larger scores less on the selection split, against property 2. In "
    "brackets 95% intervals (Wilson), which assume independent cases; pairs of one run are not quite independent."
)


def finding_notes(findings: Findings, num_seeds: int) -> list[str]:
    """The notes below the tables of findings.

    Args:
        findings: of a study.
        num_seeds: of the study.
    """
    notes = [_DIFFERENCES] if findings.differences else []
    notes += [_REGRETS] if findings.regrets else []
    notes += [_RULES, *_blind_rules(findings.rules)] if findings.rules else []
    notes += [_HITS] if findings.hits else []
    agreements = shown_agreements(findings.agreements)
    notes += [_AGREEMENTS] if agreements else []
    notes += _left_out(findings.agreements)
    notes += [_ASSUMPTIONS] if findings.assumptions else []
    notes += [_TRENDS] if findings.gain_trends else []
    if blind := sum(not gain.teacher_has_learned for gain in findings.gains):
        notes.append(
            f"{blind} of {len(findings.gains)} gains are in no trend and no figure: their teacher scores no better "
            "than the majority class, so there is no gap to close."
        )
    learned = [gain for gain in findings.gains if gain.teacher_has_learned]
    if failed := sum(not gain.conventional_has_learned for gain in learned):
        notes.append(
            f"{failed} of {len(findings.gains)} gains are in no trend and no figure over the gap: their conventional "
            "student scores no better than the majority class, so gap and gain are both that of a failed training."
        )
    if findings.gains and not findings.gain_trends:
        notes.append(
            f"No trends of gains: a method needs {FEWEST_POINTS} points of tasks and seeds with different gaps; the "
            f"most here are {num_points(findings.gains)}."
        )
    numbers = (*findings.differences, *findings.regrets, *findings.hindsights, *findings.rules)
    notes += [_SAME] if any(is_same(finding.interval) for finding in numbers) else []
    shown: list[Finding | TaskAgreement | Hits] = [*numbers, *agreements, *findings.hits]
    notes += [_SEEDS] if any(lacks_seeds(each, num_seeds) for each in shown) else []
    counts = {finding.interval.num_seeds for finding in (*findings.differences, *findings.regrets)}
    if 1 in counts:
        notes.append("With one seed an interval is over examples alone.")
    if any(2 <= count <= 5 for count in counts):
        notes.append(_FEW_SEEDS)
    return [*notes, *findings.left_out]


def _blind_rules(found: Sequence[Finding]) -> Iterator[str]:
    """A note for each rule that needs metrics and yet picked the smallest candidate every time."""
    for rule in dict.fromkeys(finding.what for finding in found):
        judged = [finding for finding in found if finding.what == rule and finding.picks]
        smallest = dict.fromkeys(finding.smallest_candidate for finding in judged)
        always = all(set(finding.picks) == {finding.smallest_candidate} for finding in judged)
        if judged and always and needs_of(rule) != NEEDS_NOTHING:
            scales = " or ".join(f"{scale}%" for scale in smallest)
            yield (
                f"{rule} picked the smallest candidate, {scales}, on every task and seed: here its metrics "
                "made no difference."
            )


def _left_out(found: Sequence[TaskAgreement]) -> Iterator[str]:
    """Notes on tasks without rank correlations, with the reason."""
    shown = {task_key(each) for each in shown_agreements(found)}
    missing = [each for each in found if task_key(each) not in shown]
    few = _named([each for each in missing if each.agreement.num_scales < FEWEST_SCALES], found)
    same = _named([each for each in missing if each.agreement.num_scales >= FEWEST_SCALES], found)
    if few:
        yield f"No rank correlations on {few}: over fewer than {FEWEST_SCALES} scales they can take only a few values."
    if same:
        yield f"No rank correlations on {same}: the students, or their assistants, score the same at all scales."


def _named(chosen: Sequence[TaskAgreement], found: Sequence[TaskAgreement]) -> str:
    """Names of tasks, with teacher and student scale where there are several."""
    teachers, scales = {each.teacher for each in found}, {each.scale_percent for each in found}
    names = []
    for teacher, scale, task in dict.fromkeys(map(task_key, chosen)):
        at_scale = f" at {scale}%" if len(scales) > 1 else ""
        names.append(task + at_scale + (f" with {teacher}" if len(teachers) > 1 else ""))
    return ", ".join(names)
