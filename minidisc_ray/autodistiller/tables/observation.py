"""One observation, as it is stored: the columns of the frame, and what else is known of it."""

import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import pandas as pd
import pyarrow

from minidisc_ray.autodistiller.tables.frame import COLUMNS, SCHEMA_VERSION, checked_frame, feature_name

# In the file's metadata, so that it is read before the columns, of which a newer version may have others.
VERSION_KEY: Final = b"minidisc_schema_version"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One distillation: its configuration, its task, what came out, what it cost.

    Attributes not listed are columns of the frame. None: unknown, or it does not apply.

    Attributes:
        key: of a run, a digest of its identity; of a published row, its place and a digest of its models and score.
        run: the run's name; of a published row empty.
        metric: that the scores are of.
        seed: of the run.
        num_labels: width of the model's output, 1 for a regression.
        protocol: of the run, ``held_out`` or ``paper``.
        comparable: a digest of the rows, the teacher and the student; the student that was fine-tuned without a teacher
            has the same one.
        is_finetuned: whether the student learned from labels alone, without an assistant.
        ratio: as published; of a run None, since it is computed when the table is read.
        training_tflops: of all stages but the teacher's fine-tuning.
        device_hours: of the same stages, useful and lost.
        device_unit: core-hours or GPU-hours.
        features: dataset features, of the rows and then of the description.
        feature_space: the vectors that ``features`` are made of; only features of one space can be compared.
        schema_version: of the release that wrote it.
    """

    key: str
    source: str
    run: str
    task: str
    student: str
    teacher: str
    intermediate_loss: str | None = None
    intermediate_strategy: str | None = None
    prediction_loss: str | None = None
    augmentation: str | None = None
    schedule: str | None = None
    objective: str | None = None
    alpha: float | None = None
    augmentation_repeats: float | None = None
    augmentation_share: float | None = None
    num_assistants: float | None = None
    scale_percent: float | None = None
    learning_rate: float | None = None
    batch_size: float | None = None
    num_epochs: float | None = None
    mixup: bool | None = None
    student_parameters: float | None = None
    teacher_parameters: float | None = None
    num_examples: float | None = None
    num_labels: int | None = None
    baseline_score: float | None = None
    teacher_score: float | None = None
    score: float
    ratio_to_teacher: float
    ratio: float | None = None
    metric: str | None = None
    seed: int | None = None
    protocol: str | None = None
    comparable: str | None = None
    is_finetuned: bool = False
    training_tflops: float | None = None
    device_hours: float | None = None
    device_unit: str | None = None
    features: tuple[float, ...] | None = None
    feature_space: str | None = None
    schema_version: int = SCHEMA_VERSION


@cache
def arrow_schema() -> pyarrow.Schema:
    """The Parquet schema of observations, with the version in its metadata."""
    hints = get_type_hints(Observation)
    columns = [_arrow_field(field.name, hints[field.name]) for field in fields(Observation)]
    return pyarrow.schema(columns, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})


def arrow_table(observations: Sequence[Observation]) -> pyarrow.Table:
    """Observations as an Arrow table."""
    return pyarrow.Table.from_pylist([asdict(one) for one in observations], schema=arrow_schema())


def observations_in(table: pyarrow.Table) -> list[Observation]:
    """The observations of an Arrow table that has the schema."""
    rows = table.to_pylist()
    return [Observation(**{**row, "features": _tuple(row["features"])}) for row in rows]


def frame_of(observations: Sequence[Observation], space: str | None, name: str) -> pd.DataFrame:
    """Observations as the frame that models are fitted on, with the dataset features of one space.

    Args:
        observations: of a table.
        space: of the dataset features; rows of other spaces, or None, have missing ones.
        name: of the table, for messages.
    """
    frame = pd.DataFrame([asdict(one) for one in observations], columns=[field.name for field in fields(Observation)])
    of_space = [one.features or () if one.feature_space == space else () for one in observations]
    width = max(map(len, of_space), default=0)
    missing = [float("nan")] * width
    features = pd.DataFrame(
        [list(values) or missing for values in of_space],
        columns=[feature_name(place) for place in range(width)],
        index=frame.index,
        dtype="float64",
    )
    return checked_frame(pd.concat([frame[list(COLUMNS)], features], axis=1), name)


def _arrow_field(name: str, hint: Any) -> pyarrow.Field:
    is_union = get_origin(hint) in (Union, types.UnionType)
    kind = next(one for one in get_args(hint) if one is not type(None)) if is_union else hint
    arrow = {
        str: pyarrow.string(),
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        tuple[float, ...]: pyarrow.list_(pyarrow.float64()),
    }[kind]
    return pyarrow.field(name, arrow, nullable=is_union)


def _tuple(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
