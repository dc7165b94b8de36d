"""Features of a data set: what its texts and its description are about, and how hard it is (Distiller, table 2)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from minidisc_ray.autodistiller.features.baseline import BASELINE_VERSION, baseline_score
from minidisc_ray.autodistiller.features.vectors import (
    FileVectors,
    TeacherVectors,
    WordVectors,
    check_vectors,
    file_digest,
    weighted_means,
)
from minidisc_ray.autodistiller.features.words import default_description, weighted_words
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.task import Task
from minidisc_ray.data import Rows, Splits, builtin_tokenizer, builtin_vocabulary, load_splits
from minidisc_ray.files.cache import cache_folder
from minidisc_ray.files.writing import read_json, write_json
from minidisc_ray.log import logger
from minidisc_ray.models.contents import content_digest
from minidisc_ray.models.loading import build_teacher, load_teacher, load_tokenizer

MAX_ROWS: Final = 20_000
_SEED: Final = 0
# Part of the cache's key: raise it when the same rows would give other features.
_VERSION: Final = 1


@dataclass(frozen=True)
class DatasetFeatures:
    """What is known of a data set before any distillation.

    Attributes:
        task: its name.
        space: the word vectors that ``values`` are made of; only features of one space can be compared.
        values: (2 D,) the embedding of the training rows, then that of the description.
        missing_share: of all words, how many have no vector.
        description: of the task, as it was embedded.
        num_examples: training rows.
        num_labels: width of the output; 1 for a regression.
        baseline_score: of the Bi-LSTM on the validation rows, by ``metric``; None if it was not asked for.
        metric: the task's primary one.
    """

    task: str
    space: str
    values: tuple[float, ...]
    missing_share: float
    description: str
    num_examples: int
    num_labels: int
    baseline_score: float | None
    metric: str


def dataset_features(
    config: RunConfig,
    vectors: str | Path | None = None,
    with_baseline: bool = True,
    data_digest: str | None = None,
) -> DatasetFeatures:
    """Features of a recipe's data set; what was computed before is read from the user's cache.

    Of more than 20,000 training rows a seeded sample is embedded.

    Args:
        config: the recipe; its ``task.description`` is the description, by default the names of task and labels.
        vectors: a file in GloVe's text format; by default the teacher's own embeddings.
        with_baseline: whether to train the Bi-LSTM, up to two minutes on one core.
        data_digest: of the rows that are expected; None for any.

    Raises:
        UserError: if rows, teacher or vectors cannot be read, no text has a word, or the rows are others.
    """
    if vectors is not None:
        check_vectors(Path(vectors))
    splits = load_splits(config)
    if data_digest is not None and splits.digest != data_digest:
        raise UserError("data: the rows are no longer those that the run used")
    task = splits.task
    description = config.task.description or default_description(task.name, task.label_names)
    values, space, missing = _embedded(config, splits, description, None if vectors is None else Path(vectors))
    return DatasetFeatures(
        task=task.name,
        space=space,
        values=values,
        missing_share=missing,
        description=description,
        num_examples=len(splits.train),
        num_labels=task.num_labels,
        baseline_score=_baseline(splits) if with_baseline else None,
        metric=task.primary_metric,
    )


def embed(rows: Rows, description: str, vectors_of: Any) -> tuple[tuple[float, ...], str, float]:
    """Embed rows and a description.

    Args:
        rows: of a split; both texts of a pair are one document.
        description: of the task.
        vectors_of: makes :class:`WordVectors` for the words given.

    Raises:
        UserError: if there is no word in them.
    """
    texts = [" ".join(row) for row in zip(*rows.texts, strict=True)]
    try:
        found = weighted_words(texts, description)
    except ValueError as error:
        raise UserError("data: no text has a word, so there is nothing to make features of") from error
    vectors: WordVectors = vectors_of(found.words)
    values, missing = weighted_means(vectors, found.words, found.counts, found.weights)
    return tuple(values.tolist()), vectors.space, missing


def _embedded(
    config: RunConfig, splits: Splits, description: str, path: Path | None
) -> tuple[tuple[float, ...], str, float]:
    source = {"file": file_digest(path)} if path is not None else {"teacher": _teacher_digest(config, splits.task)}
    rows = splits.train
    if len(rows) > MAX_ROWS:
        chosen = np.random.default_rng(_SEED).choice(len(rows), MAX_ROWS, replace=False)
        rows = rows.take(np.sort(chosen))
    cache = _cache_file("embedding", {"rows": rows.digest(), "description": description, **source, "version": _VERSION})
    cached = read_json(cache)
    if isinstance(cached, dict) and set(cached) == {"values", "space", "missing"}:
        return tuple(map(float, cached["values"])), str(cached["space"]), float(cached["missing"])

    def vectors_of(words: tuple[str, ...]) -> WordVectors:
        return TeacherVectors(*_teacher(config, splits.task)) if path is None else FileVectors(path, words)

    values, space, missing = embed(rows, description, vectors_of)
    _save(cache, {"values": values, "space": space, "missing": missing})
    return values, space, missing


def _baseline(splits: Splits) -> float:
    described = {"rows": splits.digest, "task": asdict(splits.task), "torch": torch.__version__}
    cache = _cache_file("baseline", {**described, "version": BASELINE_VERSION})
    cached = read_json(cache)
    if isinstance(cached, dict) and isinstance(cached.get("score"), float):
        return float(cached["score"])
    score = baseline_score(splits, _SEED)
    _save(cache, {"score": score})
    return score


def _teacher(config: RunConfig, task: Task) -> tuple[np.ndarray, PreTrainedTokenizerBase]:
    """The teacher's embedding matrix before any fine-tuning here, and its tokenizer."""
    teacher = config.teacher
    if isinstance(teacher, BuiltinTeacherConfig):
        # Random weights: the features are then a random projection of the words' weights.
        model, tokenizer = build_teacher(teacher, task, len(builtin_vocabulary()), _SEED), builtin_tokenizer()
        return _matrix(model), tokenizer
    return _matrix(load_teacher(teacher, task, _SEED)), load_tokenizer(teacher)


def _matrix(model: Any) -> np.ndarray:
    matrix: np.ndarray = model.get_input_embeddings().weight.detach().float().numpy()
    return matrix


def _teacher_digest(config: RunConfig, task: Task) -> str:
    teacher = config.teacher
    if isinstance(teacher, BuiltinTeacherConfig):
        return json.dumps([teacher.model_dump(mode="json"), task.num_labels, torch.__version__])
    return content_digest(teacher)


def _cache_file(kind: str, described: dict[str, Any]) -> Path:
    text = json.dumps(described, sort_keys=True)
    return cache_folder() / "dataset-features" / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _save(path: Path, value: Any) -> None:
    try:
        write_json(path, value)
    except OSError as error:
        logger.warning("%s: cannot be written (%s); the next time it is computed again", path, error.strerror or error)
