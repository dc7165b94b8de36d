"""Words of a data set and of its description, each with its TF-IDF weight (Distiller, table 2).

R rows, W words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

# Runs of letters, digits and underscores, in lower case; a single letter is a word too.
WORD_PATTERN: Final = r"(?u)\b\w+\b"


@dataclass(frozen=True, eq=False)
class WeightedWords:
    """Words, how often each occurs, and what each weighs, in the rows and in the description.

    Attributes:
        words: (W,) in alphabetical order.
        counts: (2, W) occurrences in all rows; in the description.
        weights: (2, W) the counts times each word's inverse document frequency.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    weights: np.ndarray


def weighted_words(
    rows: Sequence[str],  # (R,)
    description: str,
) -> WeightedWords:
    """Count words, and weigh them by ``IDF_w = log((1 + N) / (1 + N_w))``.

    Deviation: the paper's documents are data sets, of which a user may have one, and every word of it would weigh 0.
    Here each row is a document, and the description is one more: N is R + 1, and N_w how many of them have the word.

    Raises:
        ValueError: if there is no word at all.
    """
    vectorizer = TfidfVectorizer(lowercase=True, token_pattern=WORD_PATTERN, norm=None, smooth_idf=True)
    vectorizer.fit([*rows, description])
    # scikit-learn adds 1, which the paper does not.
    idf = vectorizer.idf_ - 1.0
    vectorizer.idf_ = np.ones_like(idf)
    counts = np.stack([np.asarray(vectorizer.transform(part).sum(axis=0))[0] for part in (rows, [description])])
    return WeightedWords(tuple(vectorizer.get_feature_names_out()), counts, counts * idf)


def default_description(task: str, label_names: Sequence[str]) -> str:
    """The description of a task that has none: its name and those of its labels, with spaces for dashes."""
    return " ".join(re.sub(r"[-_]+", " ", name) for name in (task, *label_names))
