"""What a reader must know to read a study's findings rightly."""

from collections.abc import Iterator, Sequence

from minidisc_ray.reports.study.findings import (
    FEWEST_SCALES,
    NEEDS_NOTHING,
    is_same,
    lacks_seeds,
    needs_of,
    ordered_agreements,
    place_of,
)
from minidisc_ray.study.findings import Finding, Findings, TaskAgreement

_DIFFERENCES = (
    "Differences are of percent points, of the students on validation. Shown: whether the interval, by a bootstrap "
    "over seeds and examples, excludes zero; where it does not, no benefit and no harm is claimed."
)
_SEEDS = "Seeds: those that both sides have finished; for every task those of the task that has the fewest."
_SAME = (
    "The same predictions: both sides score alike on every draw, as models do that give the same answers; that is no "
    "certainty about methods."
)
_FEW_SEEDS = (
    "With two to five seeds an interval shows too little of what seeds do where most of the spread is theirs: read it "
    "as the least that is unknown."
)
_REGRETS = (
    "Regret: MaxiDisc's student, its assistant chosen on the selection split, less MiniDisc's; above zero the one "
    "trial lost. Hindsight: the best of MaxiDisc's students on validation itself, which no method can choose, less "
    "MiniDisc's: a ceiling."
)
_RULES = (
    "Rules pick among MaxiDisc's own students by what they look at on the selection split; regret is MaxiDisc's pick "
    "less the rule's. Needs: what must be trained before the rule can pick; one sandwich run gives every assistant's "
    "metric."
)
_AGREEMENTS = (
    "Rank correlation over scales with the student's validation metric; undefined where one side is the same at all "
    "scales."
)

_ASSUMPTIONS = (
    "One maximum: the share of runs whose λ-tradeoff over the candidates has a single maximum. Falling pairs: the "
    "share of neighbouring candidates of which the larger scores less on the selection split, against property 2. In "
    "brackets 95% intervals (Wilson), which take cases for independent; pairs of one run are not quite."
)


def finding_notes(findings: Findings, num_seeds: int) -> list[str]:
    """The notes below the sections.

    Args:
        findings: of a study.
        num_seeds: of the study.
    """
    notes = [_DIFFERENCES] if findings.differences else []
    notes += [_REGRETS] if findings.regrets else []
    notes += [_RULES, *_blind_rules(findings.rules)] if findings.rules else []
    ordered = ordered_agreements(findings.agreements)
    notes += [_AGREEMENTS] if ordered else []
    notes += _left_out(findings.agreements)
    notes += [_ASSUMPTIONS] if findings.assumptions else []
    numbers = (*findings.differences, *findings.regrets, *findings.hindsights, *findings.rules)
    notes += [_SAME] if any(is_same(finding.interval) for finding in numbers) else []
    shown: list[Finding | TaskAgreement] = [*numbers, *ordered]
    notes += [_SEEDS] if any(lacks_seeds(each, num_seeds) for each in shown) else []
    counts = {finding.interval.num_seeds for finding in (*findings.differences, *findings.regrets)}
    if 1 in counts:
        notes.append("With one seed an interval is over examples alone.")
    if any(2 <= count <= 5 for count in counts):
        notes.append(_FEW_SEEDS)
    return [*notes, *findings.left_out]


def _blind_rules(found: Sequence[Finding]) -> Iterator[str]:
    """Rules that look at metrics and might as well not have: all their picks are the smallest that they could take."""
    for rule in dict.fromkeys(finding.what for finding in found):
        judged = [finding for finding in found if finding.what == rule and finding.picks]
        smallest = dict.fromkeys(finding.smallest_candidate for finding in judged)
        always = all(set(finding.picks) == {finding.smallest_candidate} for finding in judged)
        if judged and always and needs_of(rule) != NEEDS_NOTHING:
            scales = " or ".join(f"{scale}%" for scale in smallest)
            yield (
                f"{rule} picked the smallest candidate, {scales}, on every task and seed: here the same as taking it "
                "without looking."
            )


def _left_out(found: Sequence[TaskAgreement]) -> Iterator[str]:
    """Why places have no rank correlation."""
    shown = {place_of(each) for each in ordered_agreements(found)}
    missing = [each for each in found if place_of(each) not in shown]
    few = _named([each for each in missing if each.agreement.num_scales < FEWEST_SCALES], found)
    same = _named([each for each in missing if each.agreement.num_scales >= FEWEST_SCALES], found)
    if few:
        yield f"No rank correlations on {few}: over fewer than {FEWEST_SCALES} scales they can take only a few values."
    if same:
        yield f"No rank correlations on {same}: the students, or their assistants, score the same at all scales."


def _named(chosen: Sequence[TaskAgreement], found: Sequence[TaskAgreement]) -> str:
    """Tasks, with teacher and student scale where there are several."""
    teachers, scales = {each.teacher for each in found}, {each.scale_percent for each in found}
    names = []
    for teacher, scale, task in dict.fromkeys(map(place_of, chosen)):
        at_scale = f" at {scale}%" if len(scales) > 1 else ""
        names.append(task + at_scale + (f" with {teacher}" if len(teachers) > 1 else ""))
    return ", ".join(names)
