"""A study's runs in its storage, and the outcome of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.files.writing import read_json
from minidisc_ray.run_files.fetching import open_storage
from minidisc_ray.run_files.result import RunResult, load_result


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell's run: its result, why it failed, or neither if it is not finished.

    Attributes:
        cell: the cell of the study.
        name: the run's name, which is its folder's.
        result: the result of a finished run.
        failure: why the run failed.
    """

    cell: Cell
    name: str
    result: RunResult | None
    failure: str | None


def study_folder(storage: str | Path, study: StudyConfig) -> Path:
    """The folder of the study's own files; its runs lie beside it, like all runs of the storage.

    Raises:
        UserError: if the storage is not a path.
    """
    try:
        return open_storage(storage).root / f"study-{study.name}"
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"storage: {str(storage)[:80]!r} is not a path ({error})") from error


def read_outcomes(cells: Sequence[Cell], names: Sequence[str]) -> list[Outcome]:
    """The outcome of each cell's run, from its result.json or failure.json; starts nothing.

    A result that cannot be read, or belongs to another run, counts as a failure.

    Args:
        cells: cells of a study.
        names: the names of their runs, in the same order.
    """
    found: dict[Path, tuple[RunResult | None, str | None]] = {}
    outcomes = []
    for cell, name in zip(cells, names, strict=True):
        folder = open_storage(cell.config.storage).root / name
        if folder not in found:
            found[folder] = read_outcome(folder, cell.config, name)
        outcomes.append(Outcome(cell, name, *found[folder]))
    return outcomes


def read_outcome(folder: Path, config: RunConfig, name: str) -> tuple[RunResult | None, str | None]:
    """A run's result, or why it has none as far as that is known.

    Args:
        folder: of the run.
        config: of the run, which a result has to fit.
        name: of the run, which a result has to have.

    Returns:
        The result and None, or None and the reason; the reason is None too if the run is not over.
    """
    # A failure.json beside a result is from an earlier attempt.
    if (folder / "result.json").exists():
        try:
            result = load_result(folder)
        except UserError as error:
            return None, str(error)
        mismatch = _mismatch(folder, config, name, result)
        return (result, None) if mismatch is None else (None, mismatch)
    failure = read_json(folder / "failure.json")
    if not isinstance(failure, dict):
        return None, None
    return None, " ".join(str(failure.get("reason") or "it does not say why").split())


def _mismatch(folder: Path, config: RunConfig, name: str, result: RunResult) -> str | None:
    """How a result differs from the run in whose folder it lies, in a sentence; None if it is that run's."""
    schedule = config.schedule
    is_matched = isinstance(schedule, ConventionalConfig) and schedule.match is not None
    wanted = {
        "name": name,
        "seed": config.seed,
        "method": "matched" if is_matched else schedule.kind,
        "task": config.task_name,
        "protocol": config.protocol,
    }
    for key, value in wanted.items():
        if (found := getattr(result, key)) != value:
            return (
                f"{folder / 'result.json'}: the result of another run (its {key} is {found}, not {value}); move it away"
            )
    return None
