"""Findings of a study beyond its table: intervals of differences, regret, rules, rank correlations, gains.

They are computed from the models' answers row by row; nothing is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minidisc_ray.evaluation.agreement import Agreement, rank_agreement
from minidisc_ray.evaluation.assumptions import Share, num_falls, num_maxima, share_of
from minidisc_ray.evaluation.choices import Sweep, hindsight, pick_scales, regret, rule_estimates
from minidisc_ray.evaluation.intervals import Estimate, Interval, Resampling, average
from minidisc_ray.evaluation.resampling import difference_estimate
from minidisc_ray.evaluation.rules import LambdaRule
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions
from minidisc_ray.study.answers import EVERY_TASK, FinishedRun, RunGroup, groups_of, is_exhaustive, sweeps_of
from minidisc_ray.study.gains import Gain, GainTrend, gains_of, trends_of
from minidisc_ray.study.sweep_rules import Hits, hits_of, rules_of, smallest_candidate

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
        differences: each method with assistants minus each conventional one, and minus each of the study's baselines.
        regrets: MaxiDisc's student, chosen on the selection split, minus that of each other method with assistants.
        hindsights: the best of MaxiDisc's students on validation itself, minus that of the same methods.
        rules: MaxiDisc's pick minus a rule's pick among the same students.
        hits: how often a rule's pick is the best of them on validation.
        agreements: rank correlations over scales.
        assumptions: how often the paper's assumptions held.
        gains: each run with an assistant beside its conventional run.
        gain_trends: how gains change with the gap and with training rows.
        left_out: a sentence for each reason why runs are left out; it names the runs, the file and what is wrong.
    """

    differences: tuple[Finding, ...] = ()
    regrets: tuple[Finding, ...] = ()
    hindsights: tuple[Finding, ...] = ()
    rules: tuple[Finding, ...] = ()
    hits: tuple[Hits, ...] = ()
    agreements: tuple[TaskAgreement, ...] = ()
    assumptions: tuple[Assumptions, ...] = ()
    gains: tuple[Gain, ...] = ()
    gain_trends: tuple[GainTrend, ...] = ()
    left_out: tuple[str, ...] = ()


def findings_of(
    runs: Sequence[FinishedRun],
    resampling: Resampling | None = None,
    baselines: Sequence[str] = (),
    conventional: str | None = None,
) -> Findings:
    """All findings that a study's finished runs support.

    Runs without answers, or with damaged ones, are left out and named in ``left_out``.

    Args:
        runs: the finished runs, in the order of the study.
        resampling: settings of the bootstrap; by default :class:`Resampling`'s own.
        baselines: methods that those with assistants are compared with, beside the conventional ones.
        conventional: the method that gains are over; by default the first one with a conventional schedule.
    """
    drawn = resampling or Resampling()
    groups, left_out = groups_of(runs)
    gains = gains_of(runs, conventional)
    return Findings(
        differences=tuple(_averaged(groups, lambda group: _differences(group, drawn, baselines))),
        regrets=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, regret))),
        hindsights=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, hindsight))),
        rules=tuple(_averaged(groups, lambda group: _rules(group, drawn))),
        hits=tuple(hits_of(groups)),
        agreements=tuple(found for group in groups for found in _agreements(group, drawn)),
        assumptions=_assumptions_of(runs),
        gains=gains,
        gain_trends=tuple(trends_of(gains, drawn)),
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
                smallest = smallest_candidate(group) if picks else None
                yield Finding(*place, group.task, *key, estimate.interval(), picks, _seeds(estimate), smallest)
            if len(of_tasks) == len(of_place) > 1:
                mean = average([estimate for _, estimate, _ in of_tasks])
                fewest = min((_seeds(estimate) for _, estimate, _ in of_tasks), key=len)
                yield Finding(*place, EVERY_TASK, *key, mean.interval(), seeds=fewest)


def _seeds(estimate: Estimate) -> tuple[int, ...]:
    """The seeds of one task's estimate, which was drawn from one set of rows."""
    ((_, *seeds),) = estimate.drawn_from
    return tuple(seeds)


def _differences(group: RunGroup, resampling: Resampling, baselines: Sequence[str]) -> _Found:
    found: _Found = {}
    named = [name for name in baselines if name in group.runs]
    bases = list(dict.fromkeys([*group.of("conventional", "matched"), *named]))
    for place, theirs in enumerate(bases):
        for ours in group.with_assistants():
            # Of two baselines the later is compared with the earlier, and not once more the other way round.
            if ours in bases[: place + 1]:
                continue
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
    exhaustive = [name for name, runs in group.of("maxidisc").items() if is_exhaustive(runs)]
    for method in group.with_assistants():
        students = {} if method in exhaustive else group.students(method)
        common = sorted(sweeps.keys() & students.keys())
        if common:
            estimate = compare(group.rows, {s: sweeps[s] for s in common}, {s: students[s] for s in common}, resampling)
            found[method, _SWEEP] = estimate, ()
    return found


def _rules(group: RunGroup, resampling: Resampling) -> _Found:
    sweeps = sweeps_of(group)
    if not sweeps:
        return {}
    rules = rules_of(group, sweeps)
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
