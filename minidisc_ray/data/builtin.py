"""The built-in task: is a short review good or bad, and the tokenizer of its words.

A review is one to four clauses such as "the acting was rather not brilliant". Its label is the sign of the sum of its
sentiment words, where "not" reverses the sign of the next one; 3% of the labels are wrong on purpose. A bag of words
gets most reviews right, the others need attention. With ``but_weight`` above 1, words after a "but" count more: then
the order of clauses matters too, and a review has at least two.
"""

import zlib
from typing import Literal

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from minidisc_ray.data.rows import Rows

Split = Literal["train", "validation", "test"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_POSITIVE = _words("good great fine lovely brilliant charming clever moving funny superb")
_NEGATIVE = _words("bad poor dull awful boring clumsy silly flat weak dreadful")
_NEGATOR = "not"
_SUBJECTS = _words(
    "acting plot music script film story cast ending dialogue pacing camera lead score opening humour style"
)
_VERBS = ("was", "is", "felt", "seemed", "looked", "stayed")
_ADVERBS = ("really", "so", "rather", "quite", "at times", "mostly")
_CONNECTORS = ("and", "but", "while", "though")
_NEUTRAL = (
    _words("we saw it on sunday"),
    _words("it runs two hours"),
    _words("my friend came along"),
    _words("it opens in a small town"),
    _words("there are three songs"),
    _words("the book came first"),
)
# Tuned so that a BERT of 4 layers and hidden size 96 learns the task, negation included, in seconds from 1,600 rows.
_MIN_WORDS, _MAX_WORDS = 4, 24
# Probabilities.
_NEGATED = 0.25
_ADVERB = 0.3
_NEUTRAL_CLAUSE = 0.5  # of each clause after the first
_WRONG_LABEL = 0.03
# A text's checksum modulo 10 decides its split.
_BUCKETS = 10
_BUCKET_RANGES: dict[Split, tuple[int, int]] = {"train": (0, 5), "validation": (5, 8), "test": (8, 10)}


def builtin_rows(split: Split, rows: int, seed: int, but_weight: int = 1) -> Rows:
    """Generate ``rows`` reviews of a split; label 0 is negative, 1 positive.

    A text's checksum decides its split, so that splits share no text, and each stays the same whatever the size of the
    others.

    Args:
        split: to generate.
        rows: number of reviews.
        seed: of the reviews.
        but_weight: weight of a sentiment word after a "but"; before it, each has weight 1.
    """
    first, last = _BUCKET_RANGES[split]
    generator = np.random.default_rng((seed, first))
    texts: list[str] = []
    labels = np.empty(rows, dtype=np.int64)
    while len(texts) < rows:
        text, total = _review(generator, but_weight)
        if total != 0 and first <= zlib.crc32(text.encode()) % _BUCKETS < last:
            flipped = generator.random() < _WRONG_LABEL
            labels[len(texts)] = int((total > 0) != flipped)
            texts.append(text)
    return Rows((texts,), labels)


def _review(generator: np.random.Generator, but_weight: int) -> tuple[str, int]:
    """A review and the sum of its sentiment words; a sum of 0 means no label, or too few or too many words."""
    words: list[str] = []
    total, weight = 0, 1
    # Without a second clause there is no "but".
    for clause in range(int(generator.integers(1 if but_weight == 1 else 2, 5))):
        if clause:
            words.append(_pick(generator, _CONNECTORS))
            if words[-1] == "but":
                weight = but_weight
        if clause and generator.random() < _NEUTRAL_CLAUSE:
            words.extend(_NEUTRAL[int(generator.integers(len(_NEUTRAL)))])
            continue
        words += ["the", _pick(generator, _SUBJECTS), _pick(generator, _VERBS)]
        if generator.random() < _ADVERB:
            words.extend(_pick(generator, _ADVERBS).split())
        sign = 1 if generator.random() < 0.5 else -1
        if generator.random() < _NEGATED:
            words.append(_NEGATOR)
            total -= weight * sign
        else:
            total += weight * sign
        words.append(_pick(generator, _POSITIVE if sign > 0 else _NEGATIVE))
    return " ".join(words), total if _MIN_WORDS <= len(words) <= _MAX_WORDS else 0


def _pick(generator: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(generator.integers(len(words)))]


def builtin_vocabulary() -> list[str]:
    """All tokens in the order of their ids, the special ones first ([PAD] is 0)."""
    phrases = (*_SUBJECTS, *_VERBS, *_ADVERBS, *_CONNECTORS, _NEGATOR, *_POSITIVE, *_NEGATIVE, "the")
    words = {word for phrase in phrases for word in phrase.split()} | {word for clause in _NEUTRAL for word in clause}
    return [*_SPECIAL, *sorted(words)]


def builtin_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole lower-case words, with BERT's special tokens and segments."""
    vocabulary = {token: index for index, token in enumerate(builtin_vocabulary())}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106  (no password)
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    special = {f"{token.strip('[]').lower()}_token": token for token in _SPECIAL}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **special,
    )
