"""The table of observations: a folder or a bucket with Parquet files, each written once and named after its content.

Several processes may add observations at the same time: each writes a file of its own, so none waits and nothing is
lost. A run that two of them add has two rows on disk, and one when the table is read.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow
import pyarrow.parquet

from minidisc_ray.autodistiller.tables.frame import SCHEMA_VERSION
from minidisc_ray.autodistiller.tables.observation import (
    VERSION_KEY,
    Observation,
    arrow_schema,
    arrow_table,
    frame_of,
    observations_in,
)
from minidisc_ray.autodistiller.tables.ratio import distillation_ratio
from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.files.places import PlaceError, place_of
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage

# A few bytes of a file can stand for billions of equal rows.
_MAX_ROWS: Final = 1_000_000
_PART: Final = re.compile(r"observations-([0-9a-f]{32})\.parquet")


class ObservationTable:
    """The observations below a folder or the URI of a bucket.

    Args:
        place: of the table; it is created by the first observations.

    Raises:
        UserError: if it is a file, or a URI that is not supported.
    """

    def __init__(self, place: str | Path) -> None:
        try:
            self._storage = Storage(place)
        except (PlaceError, OSError, RuntimeError, ValueError) as error:
            raise UserError(f"table: {first_line(error)}") from error
        self._root = self._storage.root
        self.name = place_of(self._root)
        if self._root.exists() and not self._root.is_dir():
            raise UserError(
                f"table: {self.name} is a file; give a folder, which holds one file for each time of adding"
            )

    def observations(self) -> list[Observation]:
        """Every observation once, in the order of their keys, with the ratios that the rows allow; none of a new table.

        Of rows with the same key one with dataset features is kept. A run's ratio is computed from the mean score of
        the runs that fine-tuned the same student on the same rows without a teacher.

        Raises:
            UserError: if the table cannot be read, a file of it is damaged, or a newer release wrote it.
        """
        found: dict[str, Observation] = {}
        for path in self._parts():
            for one in _read(path):
                if one.key not in found or (found[one.key].features is None and one.features is not None):
                    found[one.key] = one
        return with_ratios([found[key] for key in sorted(found)])

    def add(self, observations: Sequence[Observation]) -> None:
        """Add observations in a file of their own; those that the table has already are read once.

        Raises:
            UserError: if the table cannot be written.
        """
        if not observations:
            return
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(arrow_table(observations), sink)
        content = sink.getvalue().to_pybytes()
        path = self._root / f"observations-{hashlib.sha256(content).hexdigest()[:32]}.parquet"
        try:
            self._storage.make_folder(self._root)
            self._storage.write_file(path, lambda temporary: temporary.write_bytes(content))
        except OSError as error:
            raise UserError(f"table: {self.name} cannot be written ({error})") from error

    def _parts(self) -> list[Path]:
        try:
            self._storage.fetch(self._root, lambda name: _PART.fullmatch(name) is not None)
            parts = sorted(path for path in self._root.glob("observations-*.parquet") if _PART.fullmatch(path.name))
            if self._storage.is_bucket:
                # A process that was killed may have written a file here, and not sent it.
                for path in parts:
                    if not self._storage.is_stored(path):
                        self._storage.upload(path)
        except OSError as error:
            raise UserError(f"table: {self.name} cannot be read ({error})") from error
        return parts


def read_frame(place: str | Path, space: str | None = None) -> pd.DataFrame:
    """The table's observations as a checked frame, one row each (see :mod:`minidisc_ray.autodistiller.tables.frame`).

    Args:
        place: of the table.
        space: of the dataset features; by default the one that most tasks have, the first by name among equals.

    Raises:
        UserError: if there are no observations or no features of that space, or the table cannot be read.
    """
    table = ObservationTable(place)
    found = table.observations()
    if not found:
        raise UserError(f"table: there are no observations in {table.name}; `minidisc observe` adds them")
    tasks = {(one.feature_space, one.task) for one in found if one.features is not None}
    spaces = Counter(name for name, _ in tasks)
    if space is not None and space not in spaces:
        raise UserError(f"table: no dataset features of {space} in {table.name}, which has: {_listed(spaces)}")
    return frame_of(found, space or min(spaces, key=lambda name: (-spaces[name], str(name)), default=None), table.name)


def with_ratios(observations: Sequence[Observation]) -> list[Observation]:
    """Observations with equation 2's ratio where it can be computed; published ones keep theirs.

    The score of the fine-tuned student is the mean over the runs that are comparable and learned from labels alone.
    """
    scores: dict[tuple[str | None, str | None], list[float]] = {}
    for one in observations:
        if one.is_finetuned and one.comparable is not None:
            scores.setdefault((one.comparable, one.metric), []).append(one.score)
    means = {key: sum(values) / len(values) for key, values in scores.items()}
    return [
        one
        if one.comparable is None
        else replace(
            one, ratio=distillation_ratio(one.score, one.teacher_score, means.get((one.comparable, one.metric)))
        )
        for one in observations
    ]


def _read(path: Path) -> list[Observation]:
    """The observations of one file.

    Raises:
        UserError: if it is damaged, or a newer release wrote it.
    """
    place = place_of(path)
    again = "remove it and observe again, which adds its runs again"
    try:
        content = read_regular(path)
        named = _PART.fullmatch(path.name)
        assert named is not None
        if hashlib.sha256(content).hexdigest()[:32] != named[1]:
            raise UserError(f"{place}: damaged (its content is not what was written); {again}")
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        schema = file.schema_arrow
        version = (schema.metadata or {}).get(VERSION_KEY, b"none").decode(errors="replace")
        if version.isdecimal() and int(version[:20]) > SCHEMA_VERSION:
            raise UserError(
                f"{place}: a newer release wrote it (schema version {version[:20]}, this one reads {SCHEMA_VERSION}); "
                "read it with that release"
            )
        if version != str(SCHEMA_VERSION):
            raise UserError(f"{place}: not a table of observations (its schema version is {version[:20]}); {again}")
        if not schema.equals(arrow_schema()) or file.metadata.num_rows > _MAX_ROWS:
            raise UserError(
                f"{place}: not a table of observations (its columns are others, or it has over a million rows); {again}"
            )
        return observations_in(file.read())
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{place}: cannot be read ({first_line(error)}); {again}") from error


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(str(name) for name in names)) or "none"
