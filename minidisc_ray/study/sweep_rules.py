"""Rules that pick one of MaxiDisc's students, and how often each picks the best of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minidisc_ray.configs.schedule import MiniDiscConfig
from minidisc_ray.configs.selection import LambdaSelectionConfig
from minidisc_ray.core.flops import encoder_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.evaluation.assumptions import Share, share_of
from minidisc_ray.evaluation.choices import Sweep, best_scales, pick_scales
from minidisc_ray.evaluation.rules import (
    BestAssistantRule,
    BestStudentRule,
    LambdaRule,
    NegativeDerivativeRule,
    NoAssistantRule,
    ParameterRatioRule,
    Rule,
)
from minidisc_ray.study.answers import EVERY_TASK, FinishedRun, RunGroup, is_exhaustive, sweeps_of


@dataclass(frozen=True)
class Hits:
    """How often a rule picked the best of MaxiDisc's students on validation; several may be best.

    Attributes:
        teacher: the teacher's name in the study; None if the study has only one.
        scale_percent: the student's scale.
        task: the task's name in the study, or "every task" for all together.
        rule: the rule's label.
        share: of the seeds (and tasks) in which it did, with the Wilson interval.
        chance: the share that a pick at random among the same students is expected to reach.
        num_students: the number of students that a pick is made from; the smallest one of a seed.
        seeds: of the sweeps; over every task those of the task that has the fewest.
    """

    teacher: str | None
    scale_percent: int | None
    task: str
    rule: str
    share: Share
    chance: float
    num_students: int
    seeds: tuple[int, ...]


def rules_of(group: RunGroup, sweeps: dict[int, Sweep]) -> list[Rule]:
    """The rules that a group's runs have the models for."""
    rules: list[Rule] = [LambdaRule(lam) for lam in sorted({0.2, *_lambdas(group)})]
    if all(sweep.teacher is not None for sweep in sweeps.values()):
        rules.append(NegativeDerivativeRule())
    rules += [_law(group), BestAssistantRule()]
    if all(sweep.conventional is not None for sweep in sweeps.values()):
        rules.append(NoAssistantRule())
    return rules


def smallest_candidate(group: RunGroup) -> int | None:
    """The smallest assistant scale of the sweep that rules pick from."""
    trials = _exhaustive_run(group).prepared.plan.trials
    return min((trial.assistant_percent for trial in trials if trial.assistant_percent is not None), default=None)


def hits_of(groups: Sequence[RunGroup]) -> Iterator[Hits]:
    """Each task's hits by rule, MaxiDisc's own choice among them, then those of every task if all have the rule."""
    found = [(group, _hits(group)) for group in groups]
    for place in dict.fromkeys((group.teacher, group.scale_percent) for group in groups):
        of_place = [(group, hits) for group, hits in found if (group.teacher, group.scale_percent) == place]
        for rule in dict.fromkeys(rule for _, hits in of_place for rule in hits):
            having = [hits[rule] for _, hits in of_place if rule in hits]
            yield from having
            if len(having) == len(of_place) > 1:
                yield _together(having)


def _hits(group: RunGroup) -> dict[str, Hits]:
    sweeps = sweeps_of(group)
    if not sweeps:
        return {}
    best = {seed: best_scales(group.rows, sweep) for seed, sweep in sweeps.items()}
    chance = sum(len(best[seed]) / len(sweep.trials) for seed, sweep in sweeps.items()) / len(sweeps)
    fewest = min(len(sweep.trials) for sweep in sweeps.values())
    found = {}
    for rule in (*rules_of(group, sweeps), BestStudentRule()):
        if not isinstance(rule, NoAssistantRule):
            picks = pick_scales(group.rows, sweeps, rule)
            share = share_of(sum(picks[seed] in best[seed] for seed in sweeps), len(sweeps))
            place = (group.teacher, group.scale_percent, group.task, rule.label)
            found[rule.label] = Hits(*place, share, chance, fewest, tuple(sorted(sweeps)))
    return found


def _together(hits: Sequence[Hits]) -> Hits:
    first, total = hits[0], sum(each.share.total for each in hits)
    return Hits(
        first.teacher,
        first.scale_percent,
        EVERY_TASK,
        first.rule,
        share_of(sum(each.share.count for each in hits), total),
        sum(each.chance * each.share.total for each in hits) / total,
        min(each.num_students for each in hits),
        min((each.seeds for each in hits), key=len),
    )


def _lambdas(group: RunGroup) -> Iterator[float]:
    for runs in group.of("minidisc").values():
        schedule = next(iter(runs.values())).prepared.config.schedule
        if isinstance(schedule, MiniDiscConfig) and isinstance(schedule.selection, LambdaSelectionConfig):
            yield schedule.selection.lam


def _law(group: RunGroup) -> ParameterRatioRule:
    run = _exhaustive_run(group)
    sizes = {
        candidate.scale_percent: encoder_parameters(
            run.prepared.shape, Structure(candidate.scale_percent, candidate.heads, candidate.neurons)
        )
        for candidate in run.result.candidates
    }
    return ParameterRatioRule(sizes, run.result.student.encoder_parameters)


def _exhaustive_run(group: RunGroup) -> FinishedRun:
    """A run of the first method that tries every scale in full."""
    return next(next(iter(runs.values())) for runs in group.of("maxidisc").values() if is_exhaustive(runs))
