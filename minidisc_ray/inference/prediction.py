"""A saved student at work: logits for rows, and a labelled file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.data import Quoting, Rows, encode, read_texts
from minidisc_ray.files.places import is_uri
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.loading import load_tokenizer, position_limit
from minidisc_ray.models.problem_type import output_of
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

_DEFAULT_MAX_LENGTH = 128
_ADDED_COLUMNS = ("prediction", "probability")


def logits_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int
) -> np.ndarray:  # (N, C)
    """A model's logits in row order, in float32."""
    positions = position_limit(model.config)
    encoded = encode(rows, tokenizer, min(max_length, positions), None)
    return score_model(model, encoded, int(tokenizer.pad_token_id), Workers(), "float32")


def require_local(file: Path) -> None:
    """Check that a file of rows is on this machine.

    Raises:
        UserError: if its path is the URI of a bucket.
    """
    if is_uri(file):
        raise UserError(f"file: {file.name} is read from this machine alone; copy it here, and give its path")


def text_columns_of(config: PreTrainedConfig, student: Path, given: Sequence[str] | None) -> list[str]:
    """The columns of text that a student reads: those given, else those that its config records.

    Raises:
        UserError: if there are none.
    """
    columns = given or getattr(config, "minidisc_text_columns", None)
    if not columns or not all(isinstance(column, str) for column in columns):
        raise UserError(f"columns: {student} does not say which columns it reads; name one or two with --columns")
    return list(columns)


def max_length_of(config: PreTrainedConfig) -> int:
    """The length limit, in tokens, that a student was trained with; 128 where its config records none."""
    max_length = getattr(config, "minidisc_max_length", None)
    return max_length if isinstance(max_length, int) else _DEFAULT_MAX_LENGTH


def predict_file(
    student: Path, file: Path, columns: Sequence[str] | None, quoting: Quoting | None = None
) -> pd.DataFrame:
    """The file's columns, then its ``prediction``, and for classes its ``probability``.

    A multi-label model's prediction is a list of names, beside a column such as ``probability_toxic`` for each label.
    ``attrs["notes"]`` has a sentence for each doubt about how the file was read.

    Raises:
        UserError: if student, file or columns are not there, or the file has a column of one of these names.
    """
    require_local(file)
    model = load_model(student)
    columns = text_columns_of(model.config, student, columns)
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(student)))
    rows, table = read_texts(file, columns, quoting, added_columns(model.config))
    logits = logits_of(model, tokenizer, rows, max_length_of(model.config))
    # As objects, so that whole numbers stay whole where others are missing.
    frame = pd.DataFrame(table.columns, dtype=object).assign(**prediction_columns(model.config, logits))
    frame.attrs["notes"] = [] if table.note is None else [table.note]
    return frame


def added_columns(config: PreTrainedConfig) -> tuple[str, ...]:
    """Names of the columns that ``predict`` adds."""
    match output_of(config):
        case "value":
            return ("prediction",)
        case "class":
            return ("prediction", "probability")
        case "labels":
            return ("prediction", *(f"probability_{name}" for name in _label_names(config)))


def prediction_columns(
    config: PreTrainedConfig,
    logits: np.ndarray,  # (N, C)
) -> dict[str, Any]:
    """The columns that ``predict`` adds, N values each."""
    names = _label_names(config)
    match output_of(config):
        case "value":
            values: list[Any] = [[float(value) for value in logits[:, 0]]]
        case "class":
            chosen = [names[place] for place in logits.argmax(axis=1).tolist()]
            values = [chosen, softmax(logits.astype(np.float64), axis=1).max(axis=1).round(6)]
        case "labels":
            found = [[name for name, logit in zip(names, row, strict=True) if logit > 0] for row in logits.tolist()]
            values = [found, *expit(logits.astype(np.float64)).round(6).T]
    return dict(zip(added_columns(config), values, strict=True))


def _label_names(config: PreTrainedConfig) -> list[str]:
    return [str(config.id2label.get(place, f"LABEL_{place}")) for place in range(config.num_labels)]
