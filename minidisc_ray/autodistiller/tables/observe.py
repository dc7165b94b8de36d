"""Adds the finished runs of a storage, or the published observations, to a table of observations."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from minidisc_ray.autodistiller.features.dataset_features import DatasetFeatures, dataset_features
from minidisc_ray.autodistiller.features.vectors import check_vectors
from minidisc_ray.autodistiller.tables.frame import feature_columns
from minidisc_ray.autodistiller.tables.observation import Observation
from minidisc_ray.autodistiller.tables.published import read_published
from minidisc_ray.autodistiller.tables.runs import is_run, observe_run
from minidisc_ray.autodistiller.tables.table import ObservationTable
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import digest
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.driver.names import folder_names
from minidisc_ray.files.places import place_of
from minidisc_ray.run_files.fetching import fetch_summaries

# The published features are made of GloVe vectors of 50 numbers.
PUBLIC_SPACE: Final = "glove-50"
NO_FINETUNED: Final = (
    "the table has no fine-tuned student of the same size (a run with objective.kind labels and schedule.kind "
    "conventional)"
)
NOT_PUBLISHED: Final = "the score of the fine-tuned student was not published"
TEACHER_NOT_ABOVE: Final = "the teacher is not above the fine-tuned student"


@dataclass(frozen=True)
class Observed:
    """What was added to a table, what was not, and why.

    Attributes:
        table: its folder or URI.
        added: names of the runs that were added, or of the published rows' tasks, one for each row.
        completed: names of runs that the table had without dataset features, and now has with them.
        num_known: runs or rows that the table had already.
        unfinished: names of runs that were left out since they are not finished.
        damaged: why a run was left out, by its name.
        without_ratio: of the runs seen, how many have no ratio of equation 2, by the reason.
        without_features: why a run has no dataset features, by its name; only where they were asked for.
        num_without_features: of the runs seen, how many have none in the table.
        num_observations: of the table now.
        num_tasks: of the table now.
    """

    table: str
    added: tuple[str, ...]
    completed: tuple[str, ...] = ()
    num_known: int = 0
    unfinished: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    without_ratio: Mapping[str, int] = field(default_factory=dict)
    without_features: Mapping[str, str] = field(default_factory=dict)
    num_without_features: int = 0
    num_observations: int = 0
    num_tasks: int = 0


def observe_runs(
    place: str | Path,
    to: str | Path,
    with_features: bool = False,
    vectors: str | Path | None = None,
    report: Callable[[str], object] = lambda _: None,
) -> Observed:
    """Add each finished run of a storage once.

    Args:
        place: a storage's folder or URI, or one run's.
        to: the table's folder or URI; created if it is not there.
        with_features: compute dataset features and the baseline's score where a run's rows can be read.
        vectors: a file of word vectors for the features; by default the teacher's own.
        report: called with the name of each task whose features are computed.

    Raises:
        UserError: if the storage, the table or the vectors cannot be read, or the table cannot be written.
    """
    if vectors is not None:
        # Else each run would be added without features, for the same reason.
        check_vectors(Path(vectors))
    table = ObservationTable(to)
    known = {one.key: one for one in table.observations()}
    folders = _runs(fetch_summaries(place), place)
    new: list[Observation] = []
    seen: set[str] = set()
    added: list[str] = []
    completed: list[str] = []
    unfinished: list[str] = []
    damaged: dict[str, str] = {}
    without_features: dict[str, str] = {}
    features = _Features(vectors, report)
    for folder in folders:
        if not (folder / "result.json").exists():
            unfinished.append(folder.name)
            continue
        try:
            one, config, data_digest = observe_run(folder)
        except UserError as error:
            damaged[folder.name] = str(error)
            continue
        has_features = one.key in known and known[one.key].features is not None
        if with_features and not has_features:
            computed = features.of(config, data_digest)
            if isinstance(computed, UserError):
                without_features[folder.name] = str(computed)
            else:
                one = _with_features(one, computed)
        # A copy of a run is the same run.
        if one.key in seen or (one.key in known and (has_features or one.features is None)):
            seen.add(one.key)
            continue
        seen.add(one.key)
        new.append(one)
        (completed if one.key in known else added).append(folder.name)
    table.add(new)
    return _observed(
        table,
        Observed(
            table.name,
            tuple(added),
            tuple(completed),
            len(seen) - len(new),
            tuple(unfinished),
            damaged,
            without_features=without_features,
        ),
        seen,
    )


def observe_public(folder: str | Path, to: str | Path) -> Observed:
    """Add the observations that Distiller's authors published, each once.

    Args:
        folder: of the published CSV files.
        to: the table's folder or URI; created if it is not there.

    Raises:
        UserError: if a file is missing or has other columns, or the table cannot be read or written.
    """
    table = ObservationTable(to)
    known = {one.key for one in table.observations()}
    found = published_observations(Path(folder))
    new = [one for one in found if one.key not in known]
    table.add(new)
    begun = Observed(table.name, tuple(one.task for one in new), num_known=len(found) - len(new))
    return _observed(table, begun, {one.key for one in found})


def published_observations(folder: Path) -> list[Observation]:
    """The published rows as observations.

    Raises:
        UserError: if a file is missing or has other columns.
    """
    frame = read_published(folder)
    names = feature_columns(frame.columns)
    found = []
    for place, row in enumerate(frame.to_dict(orient="records")):
        cells: dict[str, Any] = {str(name): _known(value) for name, value in row.items()}
        values = tuple(cells.pop(name) for name in names)
        # Of what the files say alone, so that a release that derives other columns adds no row twice.
        key = f"public-{place:04d}-{digest([cells[name] for name in ('task', 'student', 'teacher', 'score')])[:8]}"
        whole = None if None in values or not values else values
        for name in ("num_labels", "schema_version"):
            cells[name] = None if cells[name] is None else int(cells[name])
        space = None if whole is None else PUBLIC_SPACE
        found.append(Observation(key=key, run="", features=whole, feature_space=space, **cells))
    return found


def _observed(table: ObservationTable, begun: Observed, keys: set[str]) -> Observed:
    """With what the table has now."""
    rows = table.observations()
    finetuned = {(one.comparable, one.metric) for one in rows if one.is_finetuned}
    # With another teacher the same student has a ratio.
    published = {(one.task, one.student) for one in rows if one.comparable is None and one.ratio is not None}

    def reason(one: Observation) -> str:
        if one.comparable is None:
            return TEACHER_NOT_ABOVE if (one.task, one.student) in published else NOT_PUBLISHED
        return TEACHER_NOT_ABOVE if (one.comparable, one.metric) in finetuned else NO_FINETUNED

    # A student that learned from labels alone is what the ratio compares with, and needs none.
    lacking = [one for one in rows if one.key in keys and one.ratio is None and not one.is_finetuned]
    return replace(
        begun,
        without_ratio=Counter(map(reason, lacking)),
        num_without_features=sum(one.key in keys and one.features is None for one in rows),
        num_observations=len(rows),
        num_tasks=len({one.task for one in rows}),
    )


class _Features:
    """Features of the data sets of many runs, each computed once."""

    def __init__(self, vectors: str | Path | None, report: Callable[[str], object]) -> None:
        self._vectors, self._report = vectors, report
        self._found: dict[tuple[str, str], DatasetFeatures | UserError] = {}

    def of(self, config: RunConfig, data_digest: str) -> DatasetFeatures | UserError:
        """The features of a run's data set, or why they cannot be computed."""
        key = (config.model_dump_json(include={"task", "data", "teacher", "protocol"}), data_digest)
        if key not in self._found:
            self._report(config.task_name)
            try:
                self._found[key] = dataset_features(config, self._vectors, data_digest=data_digest)
            except UserError as error:
                self._found[key] = error
        return self._found[key]


def _with_features(one: Observation, found: DatasetFeatures) -> Observation:
    return replace(one, features=found.values, feature_space=found.space, baseline_score=found.baseline_score)


def _runs(root: Path, place: str | Path) -> list[Path]:
    """The run's own folder, or those of a storage by name.

    Raises:
        UserError: if there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"storage: {place} is not a folder that can be read; give the folder that runs were written to")
    if is_run(root):
        return [root]
    found = [root / name for name in folder_names(root) if is_run(root / name)]
    if not found:
        raise UserError(f"storage: there are no runs in {place_of(root)}; give the folder that runs were written to")
    return found


def _known(value: Any) -> Any:
    """A cell as a Python value, None if it is missing."""
    if value is None or value is np.ma.masked or value != value or str(value) == "<NA>":
        return None
    return value.item() if isinstance(value, np.generic) else value
