"""A race's evaluations, the candidates left after each, and the choice, as a table and a sentence."""

import math
from collections.abc import Sequence

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.run_files.history import EpochNote
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.race_check import RaceCheck, race_choice
from minidisc_ray.training.state import best_epoch

_STAGE = "sandwich"
_MOST_IN_A_CELL = 6
_KEPT = "the epoch kept after that"
_NOT_THE_LEADER = (
    "the table has the chosen one at {kept}, the others at their last evaluation, so another one may lead it"
)


def race_table(result: RunResult) -> Table:
    """A row for each evaluation; trade-offs are in [0, 1], that of no assistant is the teacher's own metric."""
    evaluated = {scale for check in result.race for scale in check.metrics}

    def out(check: RaceCheck) -> str:
        scales = sorted({*check.ruled_out, *check.tradeoffs} - {*check.alive}, reverse=True)
        return ", ".join(f"{scale}%" if scale in evaluated else f"{scale}% (not evaluated)" for scale in scales)

    columns = (
        Column("Step", "step", "{:,}".format),
        Column("Rows", "num_rows", "{:,}".format),
        Column("Candidates left", _left, is_number=False),
        Column("Out", out, is_number=False),
        Column("Most probably best", _favourite, is_number=False),
        Column("Its trade-off", lambda check: check.tradeoffs[check.favourite], "{:z.4f}".format),
        Column("No assistant", _teacher, is_number=False),
        Column("Decision", _decision, is_number=False),
    )
    return Table(f"Race, on: {result.selection_split}", columns, result.race)


def race_line(result: RunResult) -> str:
    """What was chosen when, in a sentence; empty where nothing raced."""
    if not result.race:
        return ""
    last = result.race[-1]
    times = "one evaluation" if len(result.race) == 1 else f"{len(result.race)} evaluations"
    kept = "" if last.choice in (None, TEACHER_PERCENT) else f"; {_NOT_THE_LEADER.format(kept=_KEPT)}"
    missing = ", ".join(f"{scale}%" for scale in never_evaluated(result))
    why = f"; never evaluated, since not even the teacher's metric would have made them the best: {missing}"
    return f"race: {race_choice(last)}, {_when(last)} and {times} of the candidates{kept}{why if missing else ''}"


def race_rule(result: RunResult, history: Sequence[EpochNote]) -> str:
    """By which rule, on which rows and at which epoch a race chose, in a sentence; empty where nothing raced.

    Args:
        result: of the run.
        history: its epochs; without them the sentence has the step and no epochs.
    """
    if not result.race or result.race[-1].choice is None:
        return ""
    last, split = result.race[-1], result.splits.get("selection")
    some = "" if split is None or split.rows == last.num_rows else f" of {split.rows:,}"
    notes = [note for note in history if note.stage == _STAGE and note.step > 0]
    epoch, kept = "", _KEPT
    if notes and last.step:
        # Every epoch has as many steps.
        epoch = f", in epoch {math.ceil(last.step * notes[0].epoch.epoch / notes[0].step)}"
        kept = f"epoch {best_epoch([note.epoch for note in notes])}, which was kept after that"
    leads = "" if last.choice == TEACHER_PERCENT else f"; {_NOT_THE_LEADER.format(kept=kept)}"
    rule = f"by {result.selection_rule}, on {last.num_rows:,}{some} selection rows"
    return f"Chosen {_when(last)}{epoch}, {rule}: {race_choice(last)}{leads}."


def _when(check: RaceCheck) -> str:
    return "before any training" if check.step == 0 else f"after {check.step:,} steps"


def never_evaluated(result: RunResult) -> list[int]:
    """Candidates of a race that are in no table: bounds ruled them out, since early evaluations take only a few."""
    evaluated = {scale for check in result.race for scale in check.metrics}
    return sorted({scale for check in result.race for scale in check.ruled_out} - evaluated, reverse=True)


def _favourite(check: RaceCheck) -> str:
    return f"{check.favourite}% (p = {check.probabilities[check.favourite]:.2f})"


def _teacher(check: RaceCheck) -> str:
    return f"{check.teacher_metric:.4f} (p = {check.teacher_probability:.2f})"


def _left(check: RaceCheck) -> str:
    if not check.alive:
        return "none"
    if len(check.alive) <= _MOST_IN_A_CELL:
        return ", ".join(f"{scale}%" for scale in check.alive)
    return f"{len(check.alive)} of {check.alive[0]}% to {check.alive[-1]}%"


def _decision(check: RaceCheck) -> str:
    if check.choice is not None:
        return f"chosen: {race_choice(check)}"
    return "" if check.has_learned else "too little learned for a choice"


def chose_no_assistant(result: RunResult) -> bool:
    """Whether a race ended without an assistant."""
    return bool(result.race) and result.race[-1].choice == TEACHER_PERCENT
