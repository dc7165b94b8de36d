"""One cell of a study's table: a score's mean and deviation over seeds, or why it has none."""

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
        values: by seed, of the finished runs.
        has_failed: whether a run failed.
        has_unfinished: whether a run is neither finished nor failed.
        marks: letters of footnotes.
    """

    values: dict[int, float] = field(default_factory=dict)
    has_failed: bool = False
    has_unfinished: bool = False
    marks: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """The mean over finished seeds; None without one."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """The sample standard deviation; None for fewer than two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """The cell's text: percent, ``failed``, or a dash if unfinished; empty without runs."""
        if self.values:
            text = percent_text(self.mean, self.std)
        else:
            text = FAILED if self.has_failed else UNFINISHED if self.has_unfinished else ""
        return f"{text} ({', '.join(self.marks)})" if self.marks and text != UNFINISHED else text


def score_of(runs: Sequence[Outcome], value: Callable[[RunResult], float | None], marks: Marks | None = None) -> Score:
    """The score of one row and column.

    Args:
        runs: one for each seed.
        value: a run's metric; None where it has none.
        marks: footnotes, to which problems of the runs are added; None adds none.
    """
    values: dict[int, float] = {}
    letters: list[str] = []
    for run in runs:
        if run.result is not None and (found := value(run.result)) is not None:
            values[run.cell.seed] = found
        if marks is not None and (text := _problem(run)):
            letters.append(marks.mark(text, run.name))
    unfinished = [run for run in runs if run.result is None and run.failure is None]
    if marks is not None and values:
        # A mean over some of the seeds must not be read as one over all of them.
        letters += [marks.mark("not finished, and not in the mean", run.name) for run in unfinished]
    return Score(
        values,
        has_failed=any(run.failure is not None for run in runs),
        has_unfinished=bool(unfinished),
        marks=tuple(dict.fromkeys(letters)),
    )


def average_of_row(scores: Sequence[Score]) -> Score:
    """The mean over columns, for each seed that all columns have; empty unless every column has a run."""
    has_all = all(score.values or score.has_failed or score.has_unfinished for score in scores)
    if not scores or not has_all:
        return Score()
    seeds = [seed for seed in scores[0].values if all(seed in score.values for score in scores)]
    return Score(
        {seed: statistics.fmean(score.values[seed] for score in scores) for seed in seeds},
        has_unfinished=not seeds,
        marks=tuple(dict.fromkeys(mark for score in scores for mark in score.marks)),
    )


def _problem(run: Outcome) -> str | None:
    if run.failure is not None:
        return f"failed ({run.failure.rstrip('.')})"
    failed = [trial for trial in run.result.trials if trial.status == "failed"] if run.result is not None else []
    if failed and run.result is not None:
        reasons = "; ".join(dict.fromkeys(trial.reason or "no reason given" for trial in failed))
        return f"without {len(failed)} of {len(run.result.trials)} trials, which failed ({reasons})"
    return None
