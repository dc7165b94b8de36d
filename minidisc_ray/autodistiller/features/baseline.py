"""The baseline of a task: a light Bi-LSTM, whose score says how far a simple model gets (Distiller, table 2).

B rows of a batch, L words, E width of word embeddings, H width of a direction's state, C outputs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from minidisc_ray.autodistiller.features.words import WORD_PATTERN
from minidisc_ray.core.task import Task
from minidisc_ray.data import Rows, Splits
from minidisc_ray.evaluation import score

# Part of the cache's key: raise it when the same rows would give another score.
BASELINE_VERSION: Final = 1
MAX_TRAIN_ROWS: Final = 10_000
_MAX_WORDS: Final = 10_000
_MAX_LENGTH: Final = 64
_WIDTH: Final = 64
_BATCH: Final = 64
_MAX_EPOCHS: Final = 6
_LEARNING_RATE: Final = 3e-3
_PAD, _UNKNOWN, _BETWEEN, _SPECIAL = 0, 1, 2, 3
_WORD: Final = re.compile(WORD_PATTERN)


class BiLSTM(nn.Module):
    """Embeddings of words, one bidirectional LSTM, the maximum over words, one linear layer."""

    def __init__(self, num_words: int, num_outputs: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_words, _WIDTH, padding_idx=_PAD)
        self.lstm = nn.LSTM(_WIDTH, _WIDTH, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(2 * _WIDTH, num_outputs)

    def forward(self, words: Tensor) -> Tensor:  # (B, L) -> (B, C)
        """Logits, or a regression's value."""
        lengths = (words != _PAD).sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, padding_value=-1e9)
        pooled: Tensor = self.classify(self.dropout(states.amax(dim=1)))  # (B, L, 2 H) -> (B, C)
        return pooled


def baseline_score(splits: Splits, seed: int = 0) -> float:
    """Train the Bi-LSTM on a task's rows, and score it on the first validation set by the task's primary metric.

    Of more than 10,000 training rows a seeded sample is used. Training stops at the first epoch without a better score
    on the selection rows, at the latest after six, and the best epoch's model is scored. The same rows, seed and torch
    give the same score to the last bit: one thread computes.

    Args:
        splits: the task's rows.
        seed: of weights, order, dropout and sample.
    """
    task, train = splits.task, splits.train
    generator = np.random.default_rng(seed)
    if len(train) > MAX_TRAIN_ROWS:
        train = train.take(np.sort(generator.choice(len(train), MAX_TRAIN_ROWS, replace=False)))
    vocabulary = _vocabulary(train)
    validation = next(iter(splits.validation.values()))
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BiLSTM(_SPECIAL + len(vocabulary), task.num_labels)
        train_words, selection_words = (_encode(rows, vocabulary) for rows in (train, splits.selection))
        labels, middle, spread = _targets(task, train)
        optimiser = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
        best, best_state = -np.inf, {name: value.clone() for name, value in model.state_dict().items()}
        for _ in range(_MAX_EPOCHS):
            model.train()
            for rows in _batches(generator, train_words):
                optimiser.zero_grad()
                loss = _loss(task, model(_padded(train_words, rows)), labels[torch.from_numpy(rows)])
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
            found = task.selection_score(
                score(task, _logits(model, selection_words) * spread + middle, splits.selection.labels)
            )
            if found <= best:
                break
            best, best_state = found, {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(best_state)
        logits = _logits(model, _encode(validation, vocabulary)) * spread + middle
    return float(score(task, logits, validation.labels)[task.primary_metric])


def _vocabulary(rows: Rows) -> dict[str, int]:
    """The commonest words of the rows, by number; equally common ones in alphabetical order."""
    counts = Counter(word for column in rows.texts for text in column for word in _words(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))[:_MAX_WORDS]
    return {word: _SPECIAL + place for place, word in enumerate(ordered)}


def _words(text: str) -> list[str]:
    # No more characters than the longest kept text could have.
    return _WORD.findall(text[: _MAX_LENGTH * 100].lower())


def _encode(rows: Rows, vocabulary: dict[str, int]) -> list[list[int]]:
    """Numbers of each row's words; of a pair, both texts share the length."""
    share = _MAX_LENGTH // len(rows.texts)
    columns = [
        [[vocabulary.get(w, _UNKNOWN) for w in _words(text)[:share]] for text in column] for column in rows.texts
    ]
    if len(columns) == 1:
        return [words or [_UNKNOWN] for words in columns[0]]
    return [[*one, _BETWEEN, *two] for one, two in zip(*columns, strict=True)]


def _batches(generator: np.random.Generator, words: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Batches in random order; of each 32 that are drawn together, the rows are sorted by length, to save padding."""
    order, batches = generator.permutation(len(words)), []
    for start in range(0, len(order), 32 * _BATCH):
        part = order[start : start + 32 * _BATCH]
        by_length = part[np.argsort([len(words[row]) for row in part], kind="stable")]
        batches += [by_length[at : at + _BATCH] for at in range(0, len(by_length), _BATCH)]
    yield from (batches[place] for place in generator.permutation(len(batches)))


def _padded(words: Sequence[Sequence[int]], rows: np.ndarray) -> Tensor:
    chosen = [torch.tensor(words[row]) for row in rows]
    return nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=_PAD)


def _targets(task: Task, rows: Rows) -> tuple[Tensor, float, float]:
    """Labels to learn, and what takes an output back to a label: values are learned with mean 0 and deviation 1."""
    labels = torch.from_numpy(rows.labels.copy())
    if not task.is_regression:
        return labels, 0.0, 1.0
    middle, spread = float(labels.double().mean()), float(labels.double().std().clamp(min=1e-6))
    return ((labels - middle) / spread).float(), middle, spread


def _loss(task: Task, logits: Tensor, labels: Tensor) -> Tensor:
    if task.is_regression:
        return nn.functional.mse_loss(logits[:, 0], labels)
    if task.is_multilabel:
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)
    return nn.functional.cross_entropy(logits, labels)


@torch.no_grad()
def _logits(model: BiLSTM, words: Sequence[Sequence[int]]) -> np.ndarray:
    """(N, C) outputs of all rows."""
    model.eval()
    parts = [
        model(_padded(words, np.arange(start, min(start + 4 * _BATCH, len(words)))))
        for start in range(0, len(words), 4 * _BATCH)
    ]
    return torch.cat(parts).double().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of sums depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
