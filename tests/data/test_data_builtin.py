import numpy as np
import pytest
from transformers import AutoTokenizer, BertConfig

from minidisc_ray.data import Rows, builtin_rows, builtin_tokenizer, builtin_vocabulary, encode
from minidisc_ray.data.builtin import _NEGATIVE, _POSITIVE


def test_seeded_and_disjoint():
    splits = {name: builtin_rows(name, 800, 0) for name in ("train", "validation", "test")}
    for name, rows in splits.items():
        assert rows.digest() == builtin_rows(name, 800, 0).digest()
        assert rows.digest() != builtin_rows(name, 800, 1).digest()
    texts = {name: set(rows.texts[0]) for name, rows in splits.items()}
    assert not texts["train"] & (texts["validation"] | texts["test"])
    assert not texts["validation"] & texts["test"]
    # Also from one seed to another, so that no seed can leak.
    assert not set(builtin_rows("train", 800, 5).texts[0]) & texts["test"]


def test_more_rows_begin_with_the_same():
    few, many = builtin_rows("validation", 50, 3), builtin_rows("validation", 90, 3)
    assert few.digest() == many.take(np.arange(50)).digest()


def test_words_after_a_but_count_more_where_they_are_to():
    plain, weighed = builtin_rows("train", 3000, 0), builtin_rows("train", 3000, 0, but_weight=2)
    assert weighed.digest() == builtin_rows("train", 3000, 0, but_weight=2).digest() != plain.digest()

    def label(text: str, but_weight: int) -> int:
        total, weight, is_negated = 0, 1, False
        for word in text.split():
            if word == "but":
                weight = but_weight
            elif word == "not":
                is_negated = True
            elif word in (*_POSITIVE, *_NEGATIVE):
                total += weight * (1 if (word in _POSITIVE) != is_negated else -1)
                is_negated = False
        return int(total > 0)

    def share_right(rows: Rows, but_weight: int) -> float:
        found = [label(text, but_weight) for text in rows.texts[0]]
        return float((np.array(found) == rows.labels).mean())

    assert share_right(plain, 1) == pytest.approx(0.97, abs=0.01), "some labels are wrong on purpose"
    assert share_right(weighed, 2) == pytest.approx(0.97, abs=0.01)
    assert share_right(weighed, 1) < 0.94


def test_rows_are_short_varied_and_balanced():
    rows = builtin_rows("train", 1600, 0)
    words = [len(text.split()) for text in rows.texts[0]]
    assert (min(words), max(words)) == (4, 24)
    assert len(set(rows.texts[0])) > 1500
    assert 0.45 < rows.labels.mean() < 0.55


def test_tokenizer_knows_every_word_and_reloads(tmp_path):
    tokenizer = builtin_tokenizer()
    vocabulary = builtin_vocabulary()
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_tokens_to_ids(vocabulary) == list(range(len(vocabulary)))
    assert len(tokenizer) == len(vocabulary)
    rows = builtin_rows("train", 400, 0)
    encoded = encode(rows, tokenizer, 64, None)
    assert not (encoded.input_ids == tokenizer.unk_token_id).any()
    assert encoded.lengths.tolist() == [len(text.split()) + 2 for text in rows.texts[0]]
    tokenizer.save_pretrained(tmp_path)
    BertConfig(vocab_size=len(vocabulary)).save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    pair = ("The PLOT was unheard", "it runs two hours")
    assert again(*pair)["input_ids"] == tokenizer(*pair)["input_ids"]
    assert again(*pair)["token_type_ids"] == tokenizer(*pair)["token_type_ids"] == [0] * 6 + [1] * 5
    assert (again.pad_token_id, again.model_max_length) == (0, 512)
    assert again.decode(again("bad")["input_ids"]) == "[CLS] bad [SEP]"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_are_mostly_the_sign_of_the_words(split):
    from minidisc_ray.data import builtin

    rows = builtin_rows(split, 1000, 0)
    right = 0
    for text, label in zip(rows.texts[0], rows.labels, strict=True):
        total, flip = 0, 1
        for word in text.split():
            if word == builtin._NEGATOR:
                flip = -1
            elif word in builtin._POSITIVE + builtin._NEGATIVE:
                total += flip * (1 if word in builtin._POSITIVE else -1)
                flip = 1
        assert total != 0
        right += (total > 0) == bool(label)
    assert 0.95 < right / 1000 < 0.99
