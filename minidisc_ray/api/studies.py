"""Prepare, run and report studies: many runs as one experiment, their table, findings and files."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.paths import with_absolute_paths
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.grid import setting_text
from minidisc_ray.configs.study.study import Cell, grid_runs, load_study, study_runs
from minidisc_ray.files.waiting import TRANSIENT
from minidisc_ray.log import logger
from minidisc_ray.pipeline.finish import has_result
from minidisc_ray.pipeline.run_directory import configure_storage_retries
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.shared_inputs import SharedInputs
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.study.page import write_study
from minidisc_ray.reports.study.table import StudyTable, study_table
from minidisc_ray.run_files.fetching import fetch_run
from minidisc_ray.run_files.progress import Watch
from minidisc_ray.study.answers import FinishedRun
from minidisc_ray.study.cells import Outcome, read_outcomes, study_folder
from minidisc_ray.study.findings import Findings, findings_of
from minidisc_ray.study.settings import Choice, choices_of

# The files and folders that a study writes into its own folder.
_FILES = ("study.yaml", "table.md", "table.csv", "study.json", "report.html")
_FOLDERS = ("figures", "ray")


@dataclass(frozen=True)
class PreparedStudy:
    """A study all of whose recipes are checked.

    Attributes:
        config: the study with its budget applied.
        cells: its cells, each a run's place in the table; of a grid those whose setting is chosen.
        prepared: the checked recipe of each cell, in the same order; cells with equal recipes share one.
        folder: of the study's own files.
        grid_cells: the runs that settings are chosen by; none without a grid.
        grid_prepared: the checked recipe of each of these.
        open_cells: cells whose setting is not chosen yet, or never will be; their recipes have the first one.
        choices: by what is finished, one for each place of a study with a grid.
        inputs: what the recipes of a study with a grid have in common.
    """

    config: StudyConfig
    cells: tuple[Cell, ...]
    prepared: tuple[PreparedRun, ...]
    folder: Path
    grid_cells: tuple[Cell, ...] = ()
    grid_prepared: tuple[PreparedRun, ...] = ()
    open_cells: tuple[Cell, ...] = ()
    choices: tuple[Choice, ...] = ()
    inputs: SharedInputs = field(default_factory=SharedInputs, compare=False, repr=False)

    @property
    def runs(self) -> list[PreparedRun]:
        """The runs that are known so far, each once: those of the grid first."""
        return list({run.name: run for run in (*self.grid_prepared, *self.prepared)}.values())

    @property
    def grid_runs(self) -> list[PreparedRun]:
        """The runs that settings are chosen by, each once."""
        return list({run.name: run for run in self.grid_prepared}.values())

    @property
    def other_runs(self) -> list[PreparedRun]:
        """The runs that are known so far, each once, without those of the grid."""
        of_grid = {run.name for run in self.grid_prepared}
        return [run for run in self.runs if run.name not in of_grid]

    @property
    def num_runs(self) -> int:
        """How many runs the study has, those whose setting is not chosen yet among them."""
        return len(self.runs) + sum(cell.seed != self.config.grid_seed for cell in self.open_cells)


@dataclass(frozen=True)
class StudyReport:
    """The results of a study's runs so far.

    Attributes:
        table: in the papers' layout.
        findings: intervals, regret, rank correlations.
        outcomes: of each cell.
        page: the path of ``report.html``.
    """

    table: StudyTable
    findings: Findings
    outcomes: tuple[Outcome, ...]
    page: Path


def prepare_study(
    path: str | Path,
    overrides: Sequence[str] = (),
    budget: str | None = None,
    storage: str | None = None,
    tasks: Sequence[str] | None = None,
) -> PreparedStudy:
    """Read a study and check every one of its recipes; starts nothing.

    Args:
        path: of the study's file.
        overrides: ``key.sub=value``, as after ``--set``.
        budget: its name; by default the one that the study names.
        storage: for its runs; by default the study's own.
        tasks: names of the study's tasks to take; by default all.

    Raises:
        UserError: for the first mistake found, in one sentence that names the method and the task.
    """
    study = load_study(path, overrides, budget, tasks)
    _check_folder(study_folder(storage or study.storage, study), storage or study.storage)
    inputs, tried = SharedInputs(), tuple(grid_runs(study, storage))
    preparation = _Preparation(inputs)
    grid_prepared = preparation.of(tried)
    if study.grid is not None:
        folder = study_folder(grid_prepared[0].storage.place, study)
        return _with_choices(PreparedStudy(study, (), (), folder, tried, grid_prepared, inputs=inputs))
    cells = tuple(study_runs(study, storage))
    prepared = preparation.of(cells)
    return PreparedStudy(study, cells, prepared, study_folder(prepared[0].storage.place, study))


class _Preparation:
    """Prepares the recipes of cells: equal ones once.

    Args:
        inputs: what recipes of the study have in common.
        cells: that are prepared already.
        prepared: their runs, in the same order.
    """

    def __init__(self, inputs: SharedInputs, cells: Sequence[Cell] = (), prepared: Sequence[PreparedRun] = ()) -> None:
        configs = [with_absolute_paths(cell.config) for cell in cells]
        self._known = {config.model_dump_json(): run for config, run in zip(configs, prepared, strict=True)}
        self._storage = prepared[0].storage if prepared else None
        self._inputs = inputs

    def of(self, cells: Sequence[Cell]) -> tuple[PreparedRun, ...]:
        """The checked recipe of each cell.

        Raises:
            UserError: naming the method and the task.
        """
        return tuple(map(self._prepared, cells))

    def _prepared(self, cell: Cell) -> PreparedRun:
        config = with_absolute_paths(cell.config)
        key = config.model_dump_json()
        if key not in self._known:
            try:
                prepared = prepare(config, inputs=self._inputs)
            except UserError as error:
                raise UserError(f"methods.{cell.method} on {cell.task}: {error}") from error
            # One storage object for all runs: its checks and settings hold for all of them.
            self._storage = self._storage or prepared.storage
            self._known[key] = replace(prepared, storage=self._storage)
        return self._known[key]


def _with_choices(study: PreparedStudy) -> PreparedStudy:
    """The study with the settings that its grid's finished runs choose, and the runs that follow from them."""
    if study.config.grid is None:
        return study
    outcomes = read_outcomes(study.grid_cells, [run.name for run in study.grid_prepared])
    choices = tuple(choices_of(outcomes))
    chosen = {choice.place: choice.chosen for choice in choices if choice.chosen is not None}
    cells = list(study_runs(study.config, study.grid_cells[0].config.storage, chosen))
    decided = tuple(cell for cell in cells if cell.setting is not None)
    known = (*study.grid_cells, *study.cells), (*study.grid_prepared, *study.prepared)
    preparation = _Preparation(study.inputs, *known)
    return replace(
        study,
        cells=decided,
        prepared=preparation.of(decided),
        open_cells=tuple(cell for cell in cells if cell.setting is None),
        choices=choices,
    )


def _check_folder(folder: Path, storage: str) -> None:
    """Refuse a study's folder that cannot be written, before anything starts; leaves no files.

    Raises:
        UserError: naming the storage, or the path that is in the way.
    """
    try:
        if folder.resolve() != folder:
            raise UserError(f"storage: {folder} is a link, but has to be the study's folder; remove it")
        if (folder / "identity.json").exists():
            raise UserError(f"storage: {folder} is a run's folder; rename the study")
        for name in _FILES:
            if (folder / name).is_dir():
                raise UserError(f"storage: {folder / name} is a folder, but has to be a file of the study; move it")
        for path in (folder, *(folder / name for name in _FOLDERS)):
            if path.exists() and not path.is_dir():
                raise UserError(f"storage: {path} is a file, but has to be a folder of the study; move it")
        existing = folder
        while not existing.exists():
            existing = existing.parent
        # Only an attempt shows that a name is too long, or that a file system is read-only even for root.
        with tempfile.TemporaryDirectory(prefix=".probe.tmp", dir=existing) as probe:
            (Path(probe) / folder.relative_to(existing)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # A study that resumes waits for its storage when it writes.
        if error.errno not in TRANSIENT or not folder.is_dir():
            raise UserError(f"storage: {storage} cannot be written ({error.strerror})") from error


def run_study(study: PreparedStudy, watch: Watch | None = None, retry_failed: bool = False) -> StudyReport:
    """Run a study's unfinished runs as one Ray Tune experiment, and report all of its runs.

    A run whose result is there is finished even if its student was taken away, as in a packed study.
    A study with a grid takes two, one after the other on the same Ray: its grid's runs, then those with the settings
    chosen by them.

    Args:
        study: from :func:`prepare_study`.
        watch: called regularly with the progress of the running trials.
        retry_failed: run only what failed before.

    Raises:
        UserError: if no node has the resources of a trial, or the finished runs cannot be compared.
        KeyboardInterrupt: after Ctrl-C; the same call again resumes.
    """
    # Imported here: only calls that start a cluster need Ray.
    from minidisc_ray.ray_backend.cluster import kept_cluster

    with kept_cluster():
        if study.grid_prepared:
            _run(study, study.grid_runs, watch, retry_failed)
            study = _with_choices(study)
            for choice in study.choices:
                _log_choice(study, choice)
        if others := study.other_runs:
            _run(study, others, watch, retry_failed)
    return report_study(study)


def _run(study: PreparedStudy, runs: Sequence[PreparedRun], watch: Watch | None, retry_failed: bool) -> None:
    from minidisc_ray.ray_backend.run import run_many

    for run in runs:
        fetch_run(run.storage, run.run_folder)
    left = [run for run in runs if not has_result(run)]
    if left:
        run_many(
            left,
            study.folder,
            lambda run, result: write_report(run.storage, run.run_folder, result),
            watch,
            "failed" if retry_failed else "new",
        )
    configure_storage_retries(runs)


def _log_choice(study: PreparedStudy, choice: Choice) -> None:
    grid = study.config.grid
    if grid is not None and choice.chosen is not None:
        logger.info("%s: chose %s", choice.place.title, setting_text(grid.settings[choice.chosen]))


def report_study(study: PreparedStudy) -> StudyReport:
    """Make a study's table, findings and files from the runs that are finished; starts nothing.

    Raises:
        UserError: if the finished runs cannot be compared.
    """
    for run in study.grid_runs:
        fetch_run(run.storage, run.run_folder)
    study = _with_choices(study)
    for run in study.other_runs:
        fetch_run(run.storage, run.run_folder)
    outcomes = read_outcomes(study.cells, [prepared.name for prepared in study.prepared])
    finished = [
        FinishedRun(outcome.cell, prepared, outcome.result)
        for outcome, prepared in zip(outcomes, study.prepared, strict=True)
        if outcome.result is not None
    ]
    failures = {choice.place: choice.failure for choice in study.choices}
    for cell in study.open_cells:
        name = f"{cell.place.title}, seed {cell.seed}"
        outcomes.append(Outcome(cell, name, None, failures.get(cell.place)))
    config = study.config
    table = study_table(config, outcomes, study.choices)
    findings = findings_of(finished, baselines=config.baselines, conventional=config.conventional)
    storage = study.runs[0].storage
    page = write_study(storage, study.folder, config, table, findings, outcomes, study.choices)
    return StudyReport(table, findings, tuple(outcomes), page)
