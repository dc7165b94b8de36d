"""One cell of a study's table: a score's mean and deviation over seeds, or what has become of it instead."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minidisc_ray.reports.comparison.table import mean
from minidisc_ray.reports.study.marks import Marks
from minidisc_ray.reports.words import percent_text
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome

UNFINISHED = "\N{EN DASH}"
FAILED = "failed"


@dataclass(frozen=True)
class Score:
    """A metric, as a share, over seeds.

    Attributes:
        values: by seed, of the runs that are finished.
        has_failed: whether some run failed.
        is_awaited: whether some run is still to come.
        marks: letters of footnotes.
    """

    values: dict[int, float] = field(default_factory=dict)
    has_failed: bool = False
    is_awaited: bool = False
    marks: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Over the seeds that are finished."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """The sample standard deviation; None of one seed."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """As the table has it: in percent, failed, or a dash; empty where nothing belongs."""
        if self.values:
            text = percent_text(self.mean, self.std)
        else:
            text = FAILED if self.has_failed else UNFINISHED if self.is_awaited else ""
        return f"{text} ({', '.join(self.marks)})" if self.marks and text != UNFINISHED else text


def score_of(runs: Sequence[Outcome], value: Callable[[RunResult], float | None], marks: Marks | None = None) -> Score:
    """The score of one row and column.

    Args:
        runs: one for each seed.
        value: a run's metric; None where it has none.
        marks: where what went wrong is noted; None notes nothing.
    """
    values: dict[int, float] = {}
    letters: list[str] = []
    for run in runs:
        if run.result is not None and (found := value(run.result)) is not None:
            values[run.cell.seed] = found
        if marks is not None and (text := _what_went_wrong(run)):
            letters.append(marks.mark(text, run.name))
    awaited = [run for run in runs if run.result is None and run.failure is None]
    if marks is not None and values:
        # A mean over some of the seeds must not be read as one over all of them.
        letters += [marks.mark("not finished, and not in the mean", run.name) for run in awaited]
    return Score(
        values,
        has_failed=any(run.failure is not None for run in runs),
        is_awaited=bool(awaited),
        marks=tuple(dict.fromkeys(letters)),
    )


def average_of_row(scores: Sequence[Score]) -> Score:
    """The flat mean over columns, seed by seed; empty unless there is a run for every column."""
    is_whole = all(score.values or score.has_failed or score.is_awaited for score in scores)
    if not scores or not is_whole:
        return Score()
    seeds = [seed for seed in scores[0].values if all(seed in score.values for score in scores)]
    return Score(
        {seed: statistics.fmean(score.values[seed] for score in scores) for seed in seeds},
        is_awaited=not seeds,
        # Letters of single columns say enough where all seeds are there.
        marks=tuple(dict.fromkeys(mark for score in scores for mark in score.marks)),
    )


def _what_went_wrong(run: Outcome) -> str | None:
    if run.failure is not None:
        return f"failed ({run.failure.rstrip('.')})"
    failed = [trial for trial in run.result.trials if trial.status == "failed"] if run.result is not None else []
    if failed and run.result is not None:
        reasons = "; ".join(dict.fromkeys(trial.reason or "it does not say why" for trial in failed))
        return f"without {len(failed)} of {len(run.result.trials)} trials, which failed ({reasons})"
    return None
