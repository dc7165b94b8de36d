"""Word vectors: from a model's embedding matrix, or from a file in GloVe's text format.

W words, D width of a vector.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import tokenizer_digest
from minidisc_ray.files.reading import open_regular

_MAX_LINE_BYTES: Final = 2**17  # of a few thousand numbers
_MAX_WIDTH: Final = 4096
_CHUNK_WORDS: Final = 4096
# Published vectors stay below a hundred; sums of such numbers are still finite.
_LARGEST: Final = 1e30


class WordVectors(Protocol):
    """Vectors of words."""

    @property
    def space(self) -> str:
        """Which vectors they are: features of two data sets can be compared if they are of the same space."""

    @property
    def width(self) -> int:
        """D."""

    def of(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Whether each word has a vector, (W,) bool, and the vectors of those that have one, in float64."""


class TeacherVectors:
    """A word's vector is the mean of its pieces' rows in a model's embedding matrix; unknown pieces do not count.

    Args:
        matrix: (V, D) the model's input embeddings.
        tokenizer: the model's.
    """

    def __init__(self, matrix: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
        self._matrix, self._tokenizer = matrix, tokenizer
        self.width = int(matrix.shape[1])
        # Fine-tuning hardly moves the embeddings, so teachers fine-tuned from one model count as one space.
        self.space = f"teacher-{self.width}-{tokenizer_digest(tokenizer)[:8]}"

    def of(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`WordVectors`."""
        if not words:
            return np.zeros(0, dtype=bool), np.zeros((0, self.width))
        # With a space before it: vocabularies of byte pairs have other pieces for the beginning of a text.
        encoded = self._tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
        unknown = self._tokenizer.unk_token_id
        pieces = [[piece for piece in row if piece != unknown] for row in encoded]
        known = np.array([bool(row) for row in pieces])
        means = [self._matrix[row].astype(np.float64).mean(axis=0) for row in pieces if row]
        return known, np.stack(means) if means else np.zeros((0, self.width))


class FileVectors:
    """Vectors from a file of lines ``word number number ...``; only those of the words that are needed are kept.

    Args:
        path: of the file, not compressed; a first line with the numbers of words and of columns is skipped.
        words: that are needed.

    Raises:
        UserError: if the file cannot be read, or a line has another number of columns, or a word that is needed has
            a value that is not a finite number; names the line.
    """

    def __init__(self, path: Path, words: Collection[str]) -> None:
        needed = {word.encode() for word in words}
        self._found: dict[str, np.ndarray] = {}
        width = 0
        try:
            with open_regular(path, follow_link=True) as file:
                for number, line in _lines(file, path):
                    cells = line.split(b" ")
                    if number == 1 and len(cells) == 2:
                        continue  # word2vec's header
                    width = width or len(cells) - 1
                    # Some words of GloVe's files hold spaces.
                    if not 0 < width <= _MAX_WIDTH:
                        raise _wrong(path, number, f"{width:,} numbers after the word")
                    if len(cells) - 1 < width:
                        raise _wrong(path, number, f"{len(cells) - 1} numbers after the word instead of {width}")
                    word = b" ".join(cells[:-width])
                    if word in needed:
                        self._found[word.decode()] = _numbers(cells[-width:], path, number)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not width:
            raise UserError(f"vectors: {path} is empty; give a GloVe file, one word and its numbers a line")
        self.width = width
        self.space = f"glove-{width}"

    def of(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`WordVectors`."""
        known = np.array([word in self._found for word in words], dtype=bool)
        means = [self._found[word] for word in words if word in self._found]
        return known, np.stack(means) if means else np.zeros((0, self.width))


def weighted_means(
    vectors: WordVectors,
    words: Sequence[str],  # (W,)
    counts: np.ndarray,  # (2, W)
    weights: np.ndarray,  # (2, W)
) -> tuple[np.ndarray, float]:  # (2 D,)
    """Sum the words' vectors by weight, divided by how many occurrences have a vector; in the order of the words.

    Returns:
        The embedding of the rows, then that of the description, each zero where no word has a vector; and the share of
        all occurrences without a vector.
    """
    sums, totals = np.zeros((2, vectors.width)), np.zeros(2)
    for start in range(0, len(words), _CHUNK_WORDS):
        part = slice(start, start + _CHUNK_WORDS)
        known, found = vectors.of(words[part])
        totals += counts[:, part][:, known].sum(axis=1)
        for place in range(2):
            # Not a matrix product, whose last bits depend on the number of threads.
            sums[place] += (weights[place, part][known][:, None] * found).sum(axis=0)
    missing = 1.0 - float(totals.sum() / counts.sum()) if counts.sum() else 0.0
    return (sums / np.maximum(totals, 1.0)[:, None]).reshape(-1), missing


def check_vectors(path: Path) -> None:
    """Check that a file of vectors can be opened, before rows are read and models loaded.

    Raises:
        UserError: if it cannot.
    """
    try:
        with open_regular(path, follow_link=True):
            return
    except OSError as error:
        raise _unreadable(path, error) from error


def file_digest(path: Path) -> str:
    """Sha256 (hexadecimal) of a file of vectors.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with open_regular(path, follow_link=True) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _lines(file: BufferedReader, path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line with its number from 1, without its end; a line is read only up to a limit."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            raise _wrong(path, number, f"over {_MAX_LINE_BYTES:,} bytes")
        line = line.rstrip(b"\r\n ")
        if line:
            yield number, line


def _numbers(cells: Sequence[bytes], path: Path, number: int) -> np.ndarray:
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        raise _wrong(path, number, "a value that is not a number") from None
    if not (np.abs(values) < _LARGEST).all():
        raise _wrong(path, number, f"a value that is not finite or beyond {_LARGEST:g}")
    return values


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"vectors: {path} cannot be read ({error.strerror or error}); give a GloVe file")


def _wrong(path: Path, number: int, reason: str) -> UserError:
    return UserError(
        f"vectors: line {number} of {path} has {reason}; give a GloVe file that is not compressed, one word and its "
        "numbers a line"
    )
