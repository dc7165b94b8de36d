"""What a study's runs say beyond their table: intervals of differences, regret, hindsight, rank correlation.

Read from what models answered, row by row; nothing is trained or run again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.configs.schedule import LambdaSelectionConfig, MiniDiscConfig
from minidisc_ray.core.flops import encoder_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.evaluation.agreement import Agreement, rank_agreement
from minidisc_ray.evaluation.choices import Sweep, SweepTrial, hindsight, pick_scales, regret, rule_estimates
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
from minidisc_ray.pipeline.predictions import SELECTION, VALIDATION, read_labels, read_predictions
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.result import RunResult
from minidisc_ray.pipeline.shared import teacher_folder
from minidisc_ray.pipeline.study import Cell
from minidisc_ray.schedules.plan import MAIN_TRIAL

EVERY_TASK = "every task"
_SWEEP = "MaxiDisc"


@dataclass(frozen=True)
class FinishedRun:
    """A cell of a study with its checked recipe and its result."""

    cell: Cell
    prepared: Prepared
    result: RunResult


@dataclass(frozen=True)
class Finding:
    """One number of a study with its interval.

    Attributes:
        teacher: its name in the study; None where it has one.
        scale_percent: the student's; None for a student of some layers.
        task: its name in the study, or "every task" for the mean over all.
        what: the method, or the rule, that the number is of.
        against: the method that it is measured against.
        interval: of a difference between metrics.
        picks: for a rule the scale that it takes for each seed; None where it takes no assistant.
    """

    teacher: str | None
    scale_percent: int | None
    task: str
    what: str
    against: str
    interval: Interval
    picks: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class TaskAgreement:
    """How well a trade-off, an assistant's metric or its scale orders MaxiDisc's students, on one task."""

    teacher: str | None
    scale_percent: int | None
    task: str
    agreement: Agreement


@dataclass(frozen=True)
class Findings:
    """Everything found; a part is empty where the study has no methods for it.

    Attributes:
        differences: each method with assistants less each conventional one.
        regrets: MaxiDisc's student, chosen on the selection split, less MiniDisc's.
        hindsights: the best of MaxiDisc's students on validation itself, less MiniDisc's.
        rules: MaxiDisc's pick less what a rule that costs nothing would have picked among the same students.
        agreements: rank correlations over scales.
    """

    differences: tuple[Finding, ...] = ()
    regrets: tuple[Finding, ...] = ()
    hindsights: tuple[Finding, ...] = ()
    rules: tuple[Finding, ...] = ()
    agreements: tuple[TaskAgreement, ...] = ()


@dataclass(frozen=True)
class _Group:
    """The finished runs of one teacher, task and student scale, by method and seed."""

    teacher: str | None
    scale_percent: int | None
    task: str
    rows: LabelledRows
    runs: dict[str, dict[int, FinishedRun]]

    def of(self, *kinds: str) -> dict[str, dict[int, FinishedRun]]:
        """The methods whose results are of some kinds."""
        return {name: runs for name, runs in self.runs.items() if next(iter(runs.values())).result.method in kinds}

    def students(self, method: str) -> dict[int, Predictions]:
        """What a method's students answered, by seed."""
        return {seed: _student(self.rows, run) for seed, run in self.runs[method].items()}

    def paired(self, first: str, second: str) -> tuple[dict[int, Predictions], dict[int, Predictions]]:
        """Both methods' students for the seeds that both have."""
        ours, theirs = self.students(first), self.students(second)
        common = sorted(ours.keys() & theirs.keys())
        return {seed: ours[seed] for seed in common}, {seed: theirs[seed] for seed in common}


def findings_of(runs: Sequence[FinishedRun], resampling: Resampling | None = None) -> Findings:
    """All that the finished runs of a study allow to say.

    Runs that kept no answers, since an older release made them, are left out.

    Args:
        runs: in the order of the study.
        resampling: of the bootstrap.

    Raises:
        UserError: if kept answers are damaged.
    """
    drawn = resampling or Resampling()
    groups = list(_groups(runs))
    return Findings(
        differences=tuple(_averaged(groups, lambda group: _differences(group, drawn))),
        regrets=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, regret))),
        hindsights=tuple(_averaged(groups, lambda group: _against_sweep(group, drawn, hindsight))),
        rules=tuple(_averaged(groups, lambda group: _rules(group, drawn))),
        agreements=tuple(found for group in groups for found in _agreements(group, drawn)),
    )


_Key = tuple[str, str]
_Found = dict[_Key, tuple[Estimate, tuple[int | None, ...]]]


def _averaged(groups: Sequence[_Group], find: Callable[[_Group], _Found]) -> Iterator[Finding]:
    """Each task's findings, and their mean over the tasks where there are several and all have them."""
    found = [(group, find(group)) for group in groups]
    for place in dict.fromkeys((group.teacher, group.scale_percent) for group in groups):
        here = [(group, each) for group, each in found if (group.teacher, group.scale_percent) == place]
        for key in dict.fromkeys(key for _, each in here for key in each):
            of_tasks = [(group, *each[key]) for group, each in here if key in each]
            for group, estimate, picks in of_tasks:
                yield Finding(*place, group.task, *key, estimate.interval(), picks)
            if len(of_tasks) == len(here) > 1:
                mean = average([estimate for _, estimate, _ in of_tasks])
                yield Finding(*place, EVERY_TASK, *key, mean.interval())


def _differences(group: _Group, resampling: Resampling) -> _Found:
    found: _Found = {}
    for theirs in group.of("conventional", "matched"):
        for ours in group.of("assistant", "law", "minidisc", "maxidisc"):
            first, second = group.paired(ours, theirs)
            if first:
                found[ours, theirs] = difference_estimate(group.rows, first, second, resampling), ()
    return found


def _against_sweep(
    group: _Group,
    resampling: Resampling,
    compare: Callable[[LabelledRows, Mapping[int, Sweep], Mapping[int, Predictions], Resampling], Estimate],
) -> _Found:
    sweeps, found = _sweeps(group), _Found()
    for method in group.of("minidisc"):
        students = group.students(method)
        common = sorted(sweeps.keys() & students.keys())
        if common:
            estimate = compare(group.rows, {s: sweeps[s] for s in common}, {s: students[s] for s in common}, resampling)
            found[method, _SWEEP] = estimate, ()
    return found


def _rules(group: _Group, resampling: Resampling) -> _Found:
    sweeps = _sweeps(group)
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


def _agreements(group: _Group, resampling: Resampling) -> Iterator[TaskAgreement]:
    sweeps = {seed: sweep for seed, sweep in _sweeps(group).items() if len(sweep.trials) > 1}
    if sweeps:
        for agreement in rank_agreement(group.rows, sweeps, LambdaRule(), resampling):
            yield TaskAgreement(group.teacher, group.scale_percent, group.task, agreement)


def _groups(runs: Sequence[FinishedRun]) -> Iterator[_Group]:
    places: dict[tuple[str | None, int | None, str], list[FinishedRun]] = {}
    for run in runs:
        places.setdefault((run.cell.teacher, run.cell.scale_percent, run.cell.task), []).append(run)
    for (teacher, scale, task), here in places.items():
        kept = [run for run in here if read_labels(run.prepared.run_folder) is not None and _has_student(run)]
        if not kept:
            continue
        by_method: dict[str, dict[int, FinishedRun]] = {}
        for run in kept:
            by_method.setdefault(run.cell.method, {})[run.cell.seed] = run
        yield _Group(teacher, scale, task, _rows(kept[0]), by_method)


def _rows(run: FinishedRun) -> LabelledRows:
    labels = read_labels(run.prepared.run_folder)
    assert labels is not None
    splits = _by_split(labels)
    if run.result.protocol == "paper":
        # The rows that select are those that score.
        del splits[SELECTION]
        return LabelledRows(run.prepared.task, splits, selection_split=run.prepared.task.validation_splits[0])
    return LabelledRows(run.prepared.task, splits)


def _by_split(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``selection/40`` and ``selection`` become selection, ``validation/SET`` becomes SET."""
    return {
        SELECTION if name.split("/")[0] == SELECTION else name.removeprefix(f"{VALIDATION}/"): array
        for name, array in arrays.items()
    }


def _predictions(rows: LabelledRows, arrays: Mapping[str, np.ndarray]) -> Predictions:
    return rows.predictions({split: found for split, found in _by_split(arrays).items() if split in rows.labels})


def _has_student(run: FinishedRun) -> bool:
    return read_predictions(run.prepared.run_folder, _winner(run), "student") is not None


def _student(rows: LabelledRows, run: FinishedRun) -> Predictions:
    found = read_predictions(run.prepared.run_folder, _winner(run), "student")
    assert found is not None
    return _predictions(rows, found)


def _winner(run: FinishedRun) -> str:
    """The trial whose student the run kept."""
    plan = run.prepared.plan
    if plan.after is not None:
        return plan.after.name
    if not plan.is_sweep:
        return MAIN_TRIAL
    kept = run.result.assistants[0].scale_percent
    return next(trial.name for trial in plan.trials if trial.assistant_percent == kept)


def _sweeps(group: _Group) -> dict[int, Sweep]:
    """The runs that tried every scale in full, by seed; of several such methods the first."""
    full = [runs for name, runs in group.of("maxidisc").items() if _is_exhaustive(runs)]
    if not full:
        return {}
    plain = next(iter(group.of("conventional")), None)
    conventional = group.students(plain) if plain is not None else {}
    sweeps = {}
    for seed, run in full[0].items():
        trials = {}
        for trial in run.prepared.plan.trials:
            folder = run.prepared.run_folder
            assistant, student = (read_predictions(folder, trial.name, stage) for stage in ("assistant", "student"))
            if assistant is not None and student is not None and trial.assistant_percent is not None:
                found = _predictions(group.rows, assistant), _predictions(group.rows, student)
                trials[trial.assistant_percent] = SweepTrial(*found)
        if trials:
            sweeps[seed] = Sweep(trials, _teacher(group.rows, run), conventional.get(seed))
    return sweeps


def _is_exhaustive(runs: Mapping[int, FinishedRun]) -> bool:
    plan = next(iter(runs.values())).prepared.plan
    return plan.after is None and not plan.before


def _teacher(rows: LabelledRows, run: FinishedRun) -> Predictions | None:
    found = read_predictions(teacher_folder(run.prepared), MAIN_TRIAL, "teacher")
    return None if found is None else _predictions(rows, found)


def _lambdas(group: _Group) -> Iterator[float]:
    for runs in group.of("minidisc").values():
        schedule = next(iter(runs.values())).prepared.config.schedule
        if isinstance(schedule, MiniDiscConfig) and isinstance(schedule.selection, LambdaSelectionConfig):
            yield schedule.selection.lam


def _law(group: _Group) -> ParameterRatioRule:
    (runs, *_) = (runs for runs in group.of("maxidisc").values() if _is_exhaustive(runs))
    run = next(iter(runs.values()))
    sizes = {
        candidate.scale_percent: encoder_parameters(
            run.prepared.shape, Structure(candidate.scale_percent, candidate.heads, candidate.neurons)
        )
        for candidate in run.result.candidates
    }
    return ParameterRatioRule(sizes, run.result.student.encoder_parameters)
