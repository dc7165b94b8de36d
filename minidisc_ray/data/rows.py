"""Rows of one split: one or two texts each, and a label, or any number of C labels."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rows:
    """N rows.

    Attributes:
        texts: one or two lists of N texts, in the order of the task's text columns.
        labels: (N,) class indices (int64) or values (float32), or (N, C) of 0 and 1 (float32).
    """

    texts: tuple[list[str], ...]
    labels: NDArray[np.int64] | NDArray[np.float32]

    def __post_init__(self) -> None:
        counts = [len(column) for column in self.texts]
        if not counts or any(count != len(self) for count in counts):
            raise ValueError(f"{counts} texts and {len(self)} labels differ in number")

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """Sha256 (hexadecimal) over all texts and labels: equal for equal rows, whatever file they were read from."""
        sha = hashlib.sha256(f"{len(self.texts)} {len(self)} {self.labels.dtype.str}".encode())
        sha.update(np.ascontiguousarray(self.labels).tobytes())
        for column in self.texts:
            # Lengths before contents, so that moving a word to the next row changes the digest.
            sha.update(np.fromiter(map(len, column), dtype=np.int64, count=len(column)).tobytes())
            sha.update("".join(column).encode())
        return sha.hexdigest()

    def take(self, indices: NDArray[np.int64]) -> "Rows":
        """The rows at ``indices`` (M,), in that order."""
        positions = np.asarray(indices, dtype=np.int64)
        chosen = positions.tolist()
        return Rows(tuple([column[index] for index in chosen] for column in self.texts), self.labels[positions])
