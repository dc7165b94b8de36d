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
    """The texts of a file with a ``prediction`` each, and for classes its ``probability``.

    A multi-label model's prediction is a list of names, beside a column such as ``probability_toxic`` for each label.

    Raises:
        UserError: if student, file or columns are missing, or a column of text has the name of one that is added.
    """
    if is_uri(file):
        raise UserError(f"file: {file.name} is read from this machine alone; copy it here, and give its path")
    model = load_model(student)
    columns = columns or getattr(model.config, "minidisc_text_columns", None)
    if not columns or not all(isinstance(column, str) for column in columns):
        raise UserError(f"columns: {student} does not say which columns it reads; name one or two with --columns")
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(student)))
    rows = read_texts(file, columns, quoting)
    max_length = getattr(model.config, "minidisc_max_length", None)
    if not isinstance(max_length, int):
        max_length = _DEFAULT_MAX_LENGTH
    logits = logits_of(model, tokenizer, rows, max_length)
    frame = pd.DataFrame(dict(zip(columns, rows.texts, strict=True)))
    added = prediction_columns(model.config, logits)
    if taken := sorted(set(added) & set(columns)):
        raise UserError(f'columns: "{taken[0]}" is a column that `minidisc predict` adds; rename it in the file')
    return frame.assign(**added)


def prediction_columns(
    config: PreTrainedConfig,
    logits: np.ndarray,  # (N, C)
) -> dict[str, Any]:
    """The columns that ``predict`` adds, N values each."""
    names = [str(config.id2label.get(place, f"LABEL_{place}")) for place in range(logits.shape[1])]
    match output_of(config):
        case "value":
            return {"prediction": [float(value) for value in logits[:, 0]]}
        case "class":
            chosen = [names[place] for place in logits.argmax(axis=1).tolist()]
            return {"prediction": chosen, "probability": softmax(logits, axis=1).max(axis=1).round(6)}
        case "labels":
            found = [[name for name, logit in zip(names, row, strict=True) if logit > 0] for row in logits.tolist()]
            shares = expit(logits.astype(np.float64)).round(6)
            by_label = {f"probability_{name}": shares[:, place] for place, name in enumerate(names)}
            return {"prediction": found, **by_label}
