"""A saved student at work: logits for rows, and a labelled file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.data import Quoting, Rows, encode, read_texts
from minidisc_ray.files.places import is_uri
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.loading import load_tokenizer, position_limit
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


def predict_file(
    student: Path, file: Path, columns: Sequence[str] | None, quoting: Quoting | None = None
) -> pd.DataFrame:
    """The file's columns, then its ``prediction``, and for classes its ``probability``.

    ``attrs["notes"]`` has a sentence for each doubt about how the file was read.

    Raises:
        UserError: if student, file or columns are not there, or the file has a column of one of these names.
    """
    if is_uri(file):
        raise UserError(f"file: {file.name} is read from this machine alone; copy it here, and give its path")
    model = load_model(student)
    columns = columns or getattr(model.config, "minidisc_text_columns", None)
    if not columns or not all(isinstance(column, str) for column in columns):
        raise UserError(f"columns: {student} does not say which columns it reads; name one or two with --columns")
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(student)))
    is_regression = model.config.problem_type == "regression"
    rows, table = read_texts(file, columns, quoting, ("prediction",) if is_regression else _ADDED_COLUMNS)
    max_length = getattr(model.config, "minidisc_max_length", None)
    if not isinstance(max_length, int):
        max_length = _DEFAULT_MAX_LENGTH
    logits = logits_of(model, tokenizer, rows, max_length)
    # As objects, so that whole numbers stay whole where others are missing.
    frame = pd.DataFrame(table.columns, dtype=object)
    if is_regression:
        frame["prediction"] = [float(value) for value in logits[:, 0]]
    else:
        frame["prediction"] = [model.config.id2label.get(i, f"LABEL_{i}") for i in logits.argmax(axis=1).tolist()]
        frame["probability"] = softmax(logits.astype(np.float64), axis=1).max(axis=1).round(6)
    frame.attrs["notes"] = [] if table.note is None else [table.note]
    return frame
