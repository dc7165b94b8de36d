"""Show a run or a study while it runs: a progress bar and a table on a terminal, lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from minidisc_ray.cli.lines import Lines
from minidisc_ray.reports.tables import Table, rich_table
from minidisc_ray.reports.words import hours_text, percent_text, sentence_case, time_left_text
from minidisc_ray.run_files.progress import Progress, RunProgress, Watch

_MAX_ROWS = 40
# More trials than these get one line together when nothing else was printed for a while.
_MAX_LINES = 4


@contextmanager
def watching_trials(lines: Lines) -> Iterator[Watch]:
    """Yield a watch function: it draws on a terminal, and elsewhere prints lines."""
    if not lines.console.is_terminal:
        yield _TrialLines(lines)
        return
    view = _TrialView(lines)
    with Live(view.drawn(RunProgress(())), console=lines.console, auto_refresh=False, transient=True) as live:

        def watch(run: RunProgress) -> None:
            view.events.print_new(run)
            live.update(view.drawn(run), refresh=True)

        yield watch


class _Events:
    """Prints what happened in trials, each event once: a trial that is retried reports some of them again."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._known: set[tuple[str, str]] = set()

    def print_new(self, run: RunProgress) -> None:
        for trial in run.trials:
            for event in trial.events:
                if (trial.trial, event) not in self._known:
                    self._known.add((trial.trial, event))
                    self._lines.say_once(f"{trial.trial}  {event}", event)


class _TrialLines:
    """Prints a line when a trial enters a stage, finishes an epoch or ends, and at least every 30 s."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.events = _Events(lines)
        self.seen: dict[str, tuple[str, int, str]] = {}
        self.is_waiting = False

    def __call__(self, run: RunProgress) -> None:
        self.events.print_new(run)
        for trial in run.trials:
            key = (trial.stage, trial.epoch, trial.status)
            if self.seen.get(trial.trial) != key:
                self.seen[trial.trial] = key
                self._print(trial, run)
        was_waiting, self.is_waiting = self.is_waiting, run.waiting is not None
        if run.waiting is not None and (not was_waiting or self.lines.is_silent()):
            self.lines.begin(run.waiting)
        if self.lines.is_silent():
            running = [trial for trial in run.trials if trial.status == "running"]
            if 0 < len(running) <= _MAX_LINES:
                for trial in running:
                    self._print(trial, run)
            else:
                self.lines.say("  ".join(filter(None, (f"{len(running)} trials run, {_count_text(run)}", _left(run)))))

    def _print(self, trial: Progress, run: RunProgress) -> None:
        self.lines.say("  ".join(filter(None, (_line(trial, run.hours_unit), _left(run)))))


class _TrialView:
    """The bar of the whole run, and a row for each trial."""

    def __init__(self, lines: Lines) -> None:
        self.events = _Events(lines)
        self._began_at = time.monotonic()
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=lines.console,
        )
        self._task = self._bar.add_task("starting", total=None, left="")

    def drawn(self, run: RunProgress) -> Group:
        elapsed = time.monotonic() - self._began_at
        total = None if run.seconds_left is None else elapsed + run.seconds_left
        text = run.waiting or (_count_text(run) if run.trials else "starting")
        self._bar.update(self._task, description=text, completed=elapsed, total=total, left=_left(run))
        return Group(self._bar, *([rich_table(_table(run))] if run.trials else []))


def _count_text(run: RunProgress) -> str:
    if run.num_finished + run.num_left == 1 and run.trials:
        return f"stage {run.trials[-1].stage_index} of {run.trials[-1].num_stages}"
    return f"{run.num_finished} of {run.num_finished + run.num_left} trials finished"


def _left(run: RunProgress) -> str:
    if run.seconds_left is None or not run.num_left:
        return ""
    return f"{'at most ' if run.may_end_early else ''}{time_left_text(run.seconds_left)} left"


def _table(run: RunProgress) -> Table:
    trials = run.trials
    # Drawing a thousand rows twice a second would keep a core busy, and no terminal shows them.
    shown = trials if len(trials) <= _MAX_ROWS else [trial for trial in trials if trial.status != "finished"]
    rows = [_row(trial) for trial in shown[:_MAX_ROWS]]
    if len(trials) > _MAX_ROWS:
        rows.append([f"{len(trials) - len(shown)} finished, {len(shown)} not", "", "", "", "", "", "", ""])
    columns = ("Trial", "Stage", "Epoch", "Step", "Loss", "Selection", sentence_case(run.hours_unit), "")
    return Table.of_texts(columns, rows, num_names=8)


def _row(trial: Progress) -> list[str]:
    return [
        trial.trial,
        f"{trial.stage_index}/{trial.num_stages} {trial.stage}",
        str(trial.epoch) if trial.epoch else "",
        f"{trial.step}/{trial.num_steps}" if trial.num_steps else "",
        f"{trial.loss:.4f}" if trial.loss is not None else "",
        f"{trial.metric_name} {percent_text(trial.metric)}" if trial.metric is not None else "",
        hours_text(trial.device_hours),
        trial.status,
    ]


def _line(trial: Progress, hours_unit: str) -> str:
    name, stage, epoch, step, loss, metric, held, status = _row(trial)
    where = ", ".join(filter(None, (epoch and f"epoch {epoch}", step and f"step {step}")))
    return "  ".join(
        filter(None, (name, stage, where, loss and f"loss {loss}", metric, f"{held} {hours_unit}", status))
    )
