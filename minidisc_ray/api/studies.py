"""Prepare, run and report studies: many runs as one experiment, their table, findings and files."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.paths import with_absolute_paths
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.study import Cell, load_study, study_runs
from minidisc_ray.data import Splits, load_splits
from minidisc_ray.files.waiting import TRANSIENT
from minidisc_ray.pipeline.run_directory import configure_storage_retries
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.study.page import write_study
from minidisc_ray.reports.study.table import StudyTable, study_table
from minidisc_ray.run_files.fetching import fetch_run
from minidisc_ray.run_files.progress import Watch
from minidisc_ray.study.answers import FinishedRun
from minidisc_ray.study.cells import Outcome, read_outcomes, study_folder
from minidisc_ray.study.findings import Findings, findings_of

# The files and folders that a study writes into its own folder.
_FILES = ("study.yaml", "table.md", "table.csv", "study.json", "report.html")
_FOLDERS = ("figures", "ray")


@dataclass(frozen=True)
class PreparedStudy:
    """A study all of whose recipes are checked.

    Attributes:
        config: the study with its budget applied.
        cells: its cells, each a run's place in the table.
        prepared: the checked recipe of each cell, in the same order; cells with equal recipes share one.
        folder: of the study's own files.
    """

    config: StudyConfig
    cells: tuple[Cell, ...]
    prepared: tuple[PreparedRun, ...]
    folder: Path

    @property
    def runs(self) -> list[PreparedRun]:
        """The runs, each once."""
        return list({prepared.name: prepared for prepared in self.prepared}.values())


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
    path: str | Path, overrides: Sequence[str] = (), budget: str | None = None, storage: str | None = None
) -> PreparedStudy:
    """Read a study and check every one of its recipes; starts nothing.

    Args:
        path: of the study's file.
        overrides: ``key.sub=value``, as after ``--set``.
        budget: its name; by default the one that the study names.
        storage: for its runs; by default the study's own.

    Raises:
        UserError: for the first mistake found, in one sentence that names the method and the task.
    """
    study = load_study(path, overrides, budget)
    _check_folder(study_folder(storage or study.storage, study), storage or study.storage)
    cells, splits = list(study_runs(study, storage)), dict[str, Splits]()
    known, found = dict[str, PreparedRun](), list[PreparedRun]()
    for cell in cells:
        config = with_absolute_paths(cell.config)
        key = config.model_dump_json()
        if key not in known:
            try:
                of_rows = config.model_dump_json(include={"task", "data", "protocol"})
                if of_rows not in splits:
                    splits[of_rows] = load_splits(config)
                prepared = prepare(config, splits[of_rows])
                # One storage object for all runs: its checks and settings hold for all of them.
                known[key] = replace(prepared, storage=found[0].storage) if found else prepared
            except UserError as error:
                raise UserError(f"methods.{cell.method} on {cell.task}: {error}") from error
        found.append(known[key])
    where = found[0].storage.place
    return PreparedStudy(study, tuple(cells), tuple(found), study_folder(where, study))


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

    Args:
        study: from :func:`prepare_study`.
        watch: called regularly with the progress of the running trials.
        retry_failed: run only what failed before.

    Raises:
        UserError: if no node has the resources of a trial, or the finished runs cannot be compared.
        KeyboardInterrupt: after Ctrl-C; the same call again resumes.
    """
    # Imported here: only calls that start a cluster need Ray.
    from minidisc_ray.ray_backend.run import run_many

    run_many(
        study.runs,
        study.folder,
        lambda run, result: write_report(run.storage, run.run_folder, result),
        watch,
        "failed" if retry_failed else "new",
    )
    configure_storage_retries(study.runs)
    return report_study(study)


def report_study(study: PreparedStudy) -> StudyReport:
    """Make a study's table, findings and files from the runs that are finished; starts nothing.

    Raises:
        UserError: if the finished runs cannot be compared.
    """
    for run in study.runs:
        fetch_run(run.storage, run.run_folder)
    outcomes = read_outcomes(study.cells, [prepared.name for prepared in study.prepared])
    table = study_table(study.config, outcomes)
    finished = [
        FinishedRun(outcome.cell, prepared, outcome.result)
        for outcome, prepared in zip(outcomes, study.prepared, strict=True)
        if outcome.result is not None
    ]
    config = study.config
    findings = findings_of(finished, baselines=config.baselines, conventional=config.conventional)
    page = write_study(study.runs[0].storage, study.folder, study.config, table, findings, outcomes)
    return StudyReport(table, findings, tuple(outcomes), page)
