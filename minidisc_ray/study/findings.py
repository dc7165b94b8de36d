"""Findings of a study beyond its table: intervals of differences, regret, hindsight and rank correlations.

They are computed from the models' answers row by row; nothing is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minidisc_ray.configs.schedule import MiniDiscConfig
from minidisc_ray.configs.selection import LambdaSelectionConfig
from minidisc_ray.core.flops import encoder_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.evaluation.agreement import Agreement, rank_agreement
from minidisc_ray.evaluation.assumptions import Share, num_falls, num_maxima, share_of
from minidisc_ray.evaluation.choices import Sweep, hindsight, pick_scales, regret, rule_estimates
from minidisc_ray.evaluation.intervals import Estimate, Interval, Resampling, average
from minidisc_ray.evaluation.resampling import difference_estimate
from minidisc_ray.evaluation.rules import (
    BestAssistantRule,
    LambdaRule,
    NegativeDerivativeRule,
    NoAssistantRule,
    ParameterRatioRule,
    Rule,
)
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions
from minidisc_ray.study.answers import FinishedRun, RunGroup, groups_of, is_exhaustive, sweeps_of

EVERY_TASK = "every task"
_SWEEP = "MaxiDisc"
_MIN_CANDIDATES = 3  # of two values one is always the only maximum


@dataclass(frozen=True)
class Assumptions:
    """How often the paper's assumptions held in one method's runs, over all tasks, scales and seeds.

    Attributes:
        method: the method's name in the study.
        one_maximum: the share of runs whose λ-tradeoff has one maximum over the candidates (MiniDisc, section 3.2).
        falling_pairs: the share of neighbouring candidates where the larger one scores less (they break property 2).
    """

    method: str
    one_maximum: Share
    falling_pairs: Share


@dataclass(frozen=True)
class Finding:
    """One number of a study with its interval.

    Attributes:
        teacher: the teacher's name in the study; None if the study has only one.
        scale_percent: the student's scale; None for a student made of some layers.
        task: the task's name in the study, or "every task" for the mean over all.
        what: the method or rule that is measured.
        against: the method that it is compared with.
        interval: the interval of a difference between metrics.
        picks: for a rule, the scale that it picks for each seed; None for no assistant.
        seeds: the seeds that both sides have; for a mean over tasks, those of the task with the fewest.
        smallest_candidate: for a rule, the smallest scale that it could pick; None for a mean over tasks.
    """

    teacher: str | None
    scale_percent: int | None
    task: str
    what: str
    against: str
    interval: Interval
    picks: tuple[int | None, ...] = ()
    seeds: tuple[int, ...] = ()
    smallest_candidate: int | None = None


@dataclass(frozen=True)
class TaskAgreement:
    """How well a trade-off, an assistant's metric or its scale ranks MaxiDisc's students, on one task."""

    teacher: str | None
    scale_percent: int | None
    task: str
    agreement: Agreement


@dataclass(frozen=True)
class Findings:
    """All findings of a study; a field is empty if the study has no methods for it.

    Attributes:
        differences: each method with assistants minus each conventional one.
        regrets: MaxiDisc's student, chosen on the selection split, minus MiniDisc's.
        hindsights: the best of MaxiDisc's students on validation itself, minus MiniDisc's.
        rules: MaxiDisc's pick minus a rule's pick among the same students.
        agreements: rank correlations over scales.
        assumptions: how often the paper's assumptions held.
        left_out: a sentence for each reason why runs are left out; it names the runs, the file and what is wrong.
    """

    differences: tuple[Finding, ...] = ()
    regrets: tuple[Finding, ...] = ()
    hindsights: tuple[Finding, ...] = ()
    rules: tuple[Finding, ...] = ()
    agreements: tuple[TaskAgreement, ...] = ()
    assumptions: tuple[Assumptions, ...] = ()
    left_out: tuple[str, ...] = ()


def findings_of(runs: Sequence[FinishedRun], resampling: Resampling | None = None) -> Findings:
    """All findings that a study's finished runs support.

    Runs without answers, or with damaged ones, are left out and named in ``left_out``.

    Args:
        runs: the finished runs, in the order of the study.
        resampling: settings of the bootstrap; by default :class:`Resampling`'s own.
    """
    drawn = resampling or Resampling()
    groups, left_out = groups_of(runs)
    return Findings(
        differences=tuple(_averaged(groups, lambda group: _differences(group, drawn))),
        regrets=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, regret))),
        hindsights=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, hindsight))),
        rules=tuple(_averaged(groups, lambda group: _rules(group, drawn))),
        agreements=tuple(found for group in groups for found in _agreements(group, drawn)),
        assumptions=_assumptions_of(runs),
        left_out=left_out,
    )


_Key = tuple[str, str]
_Found = dict[_Key, tuple[Estimate, tuple[int | None, ...]]]


def _averaged(groups: Sequence[RunGroup], find: Callable[[RunGroup], _Found]) -> Iterator[Finding]:
    """Each task's findings, then their mean over tasks if there are several and all have the finding."""
    found = [(group, find(group)) for group in groups]
    for place in dict.fromkeys((group.teacher, group.scale_percent) for group in groups):
        of_place = [(group, each) for group, each in found if (group.teacher, group.scale_percent) == place]
        for key in dict.fromkeys(key for _, each in of_place for key in each):
            of_tasks = [(group, *each[key]) for group, each in of_place if key in each]
            for group, estimate, picks in of_tasks:
                smallest = _smallest_candidate(group) if picks else None
                yield Finding(*place, group.task, *key, estimate.interval(), picks, _seeds(estimate), smallest)
            if len(of_tasks) == len(of_place) > 1:
                mean = average([estimate for _, estimate, _ in of_tasks])
                fewest = min((_seeds(estimate) for _, estimate, _ in of_tasks), key=len)
                yield Finding(*place, EVERY_TASK, *key, mean.interval(), seeds=fewest)


def _seeds(estimate: Estimate) -> tuple[int, ...]:
    """The seeds of one task's estimate, which was drawn from one set of rows."""
    ((_, *seeds),) = estimate.drawn_from
    return tuple(seeds)


def _smallest_candidate(group: RunGroup) -> int | None:
    """The smallest assistant scale of the sweep that rules pick from."""
    trials = _exhaustive_run(group).prepared.plan.trials
    return min((trial.assistant_percent for trial in trials if trial.assistant_percent is not None), default=None)


def _differences(group: RunGroup, resampling: Resampling) -> _Found:
    found: _Found = {}
    for theirs in group.of("conventional", "matched"):
        for ours in group.of("assistant", "law", "minidisc", "maxidisc", "auto"):
            first, second = group.paired(ours, theirs)
            if first:
                found[ours, theirs] = difference_estimate(group.rows, first, second, resampling), ()
    return found


def _against_sweep(
    group: RunGroup,
    resampling: Resampling,
    compare: Callable[[LabelledRows, Mapping[int, Sweep], Mapping[int, Predictions], Resampling], Estimate],
) -> _Found:
    sweeps, found = sweeps_of(group), _Found()
    for method in group.of("minidisc"):
        students = group.students(method)
        common = sorted(sweeps.keys() & students.keys())
        if common:
            estimate = compare(group.rows, {s: sweeps[s] for s in common}, {s: students[s] for s in common}, resampling)
            found[method, _SWEEP] = estimate, ()
    return found


def _rules(group: RunGroup, resampling: Resampling) -> _Found:
    sweeps = sweeps_of(group)
    if not sweeps:
        return {}
    rules: list[Rule] = [LambdaRule(lam) for lam in sorted({0.2, *_lambdas(group)})]
    if all(sweep.teacher is not None for sweep in sweeps.values()):
        rules.append(NegativeDerivativeRule())
    rules += [_law(group), BestAssistantRule()]
    if all(sweep.conventional is not None for sweep in sweeps.values()):
        rules.append(NoAssistantRule())
    found: _Found = {}
    for rule, (_, lost) in zip(rules, rule_estimates(group.rows, sweeps, rules, resampling), strict=True):
        picks = pick_scales(group.rows, sweeps, rule)
        found[rule.label, _SWEEP] = lost, tuple(picks[seed] for seed in sorted(sweeps))
    return found


def _agreements(group: RunGroup, resampling: Resampling) -> Iterator[TaskAgreement]:
    sweeps = {seed: sweep for seed, sweep in sweeps_of(group).items() if len(sweep.trials) > 1}
    if sweeps:
        for agreement in rank_agreement(group.rows, sweeps, LambdaRule(), resampling):
            yield TaskAgreement(group.teacher, group.scale_percent, group.task, agreement)


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


def _assumptions_of(runs: Sequence[FinishedRun]) -> tuple[Assumptions, ...]:
    """An entry for each method that tried enough candidates, in the order of the runs; each run counts once."""
    by_method: dict[str, dict[str, FinishedRun]] = {}
    for run in runs:
        if len(run.result.candidates) >= _MIN_CANDIDATES and run.result.early_end is None:
            by_method.setdefault(run.cell.method, {})[run.result.name] = run
    found = []
    for method, named in by_method.items():
        grids = [sorted(run.result.candidates, key=lambda one: one.scale_percent) for run in named.values()]
        singles = sum(num_maxima([one.lambda_tradeoff for one in grid]) == 1 for grid in grids)
        falls = sum(num_falls([one.metric for one in grid]) for grid in grids)
        pairs = sum(len(grid) - 1 for grid in grids)
        found.append(Assumptions(method, share_of(singles, len(grids)), share_of(falls, pairs)))
    return tuple(found)
