"""A race's evaluations, the candidates left after each, and the choice, as a table and a sentence."""

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.race_check import RaceCheck, race_choice


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
    when = "before any training" if last.step == 0 else f"after {last.step:,} steps"
    times = "one evaluation" if len(result.race) == 1 else f"{len(result.race)} evaluations"
    kept = "" if last.choice in (None, TEACHER_PERCENT) else "; the candidates' table is of the epoch kept after that"
    return f"race: {race_choice(last)}, {when} and {times} of the candidates{kept}{_never_evaluated(result)}"


def _never_evaluated(result: RunResult) -> str:
    """A clause on candidates in no table: bounds ruled them out, since early evaluations take only a few."""
    evaluated = {scale for check in result.race for scale in check.metrics}
    missing = [scale for check in result.race for scale in check.ruled_out if scale not in evaluated]
    if not missing:
        return ""
    scales = ", ".join(f"{scale}%" for scale in sorted(missing, reverse=True))
    return f"; never evaluated, since not even the teacher's metric would have made them the best: {scales}"


def _favourite(check: RaceCheck) -> str:
    return f"{check.favourite}% (p = {check.probabilities[check.favourite]:.2f})"


def _teacher(check: RaceCheck) -> str:
    return f"{check.teacher_metric:.4f} (p = {check.teacher_probability:.2f})"


def _left(check: RaceCheck) -> str:
    if not check.alive:
        return "none"
    if len(check.alive) == 1:
        return f"{check.alive[0]}%"
    return f"{len(check.alive)}: {check.alive[0]}% to {check.alive[-1]}%"


def _decision(check: RaceCheck) -> str:
    if check.choice is not None:
        return f"chosen: {race_choice(check)}"
    return "" if check.has_learned else "too little learned for a choice"


def chose_no_assistant(result: RunResult) -> bool:
    """Whether a race ended without an assistant."""
    return bool(result.race) and result.race[-1].choice == TEACHER_PERCENT
