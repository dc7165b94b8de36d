import numpy as np
import pytest
import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import Rows, builtin_rows, builtin_tokenizer, encode
from minidisc_ray.data.encoding import EncodedRows


@pytest.fixture
def tokenizer():
    return builtin_tokenizer()


def same(one: EncodedRows, other: EncodedRows) -> bool:
    return (
        torch.equal(one.input_ids, other.input_ids)
        and torch.equal(one.offsets, other.offsets)
        and torch.equal(one.labels, other.labels)
        and one.token_types is not None
        and other.token_types is not None
        and torch.equal(one.token_types, other.token_types)
        and one.truncated_rows == other.truncated_rows
    )


def pairs(count=40):
    texts = builtin_rows("train", 2 * count, 0).texts[0]
    return Rows((texts[:count], texts[count:]), np.arange(count, dtype=np.float32))


def test_same_as_the_tokenizer_row_by_row(tokenizer):
    rows = pairs()
    encoded = encode(rows, tokenizer, 24, None)
    assert (encoded.input_ids.dtype, encoded.offsets.dtype, encoded.labels.dtype) == (
        torch.int32,
        torch.int64,
        torch.float32,
    )
    cut = 0
    for index, (first, second) in enumerate(zip(*rows.texts, strict=True)):
        expected = tokenizer(first, second, truncation="longest_first", max_length=24)
        part = slice(int(encoded.offsets[index]), int(encoded.offsets[index + 1]))
        assert encoded.input_ids[part].tolist() == expected["input_ids"]
        assert encoded.token_types is not None
        assert encoded.token_types[part].tolist() == expected["token_type_ids"]
        cut += len(first.split()) + len(second.split()) + 3 > 24
    assert 0 < cut < len(rows)
    assert encoded.truncated_rows == cut


@pytest.mark.parametrize(("limit", "cut"), [(8, 2), (9, 1), (10, 0)])
def test_truncation_is_counted_exactly(tokenizer, limit, cut):
    texts = [" ".join(["good"] * words) for words in (3, 6, 7, 8)]
    rows = Rows((texts,), np.array([0, 1, 0, 1]))
    assert encode(rows, tokenizer, limit, None).truncated_rows == cut


def test_the_tokenizers_own_limit_counts(tokenizer):
    tokenizer.model_max_length = 8
    assert int(encode(builtin_rows("train", 50, 0), tokenizer, 64, None).lengths.max()) == 8
    tokenizer.model_max_length = int(1e30)
    assert encode(builtin_rows("train", 50, 0), tokenizer, 64, None).truncated_rows == 0


def test_cache_hit_whatever_was_called_before(tokenizer, tmp_path):
    rows = pairs()
    made = encode(rows, tokenizer, 24, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("encodings-")
    assert file.suffix == ".safetensors"
    before = file.stat().st_mtime_ns
    tokenizer(["good"], padding="max_length", max_length=9, truncation=True)
    assert same(encode(rows, tokenizer, 24, tmp_path), made)
    assert same(encode(rows, builtin_tokenizer(), 24, None), made)
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [before]


def test_what_changes_encodings_changes_the_file(tokenizer, tmp_path):
    rows = pairs()
    encode(rows, tokenizer, 24, tmp_path)
    encode(rows, tokenizer, 25, tmp_path)
    encode(rows.take(np.arange(39)), tokenizer, 24, tmp_path)
    tokenizer.add_tokens(["unheard"])
    encode(rows, tokenizer, 24, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "no"])
def test_damaged_cache_is_made_again(tokenizer, tmp_path, damage):
    rows = pairs()
    made = encode(rows, tokenizer, 24, tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "empty":
        content.clear()
    elif damage == "cut":
        del content[-100:]
    elif damage == "bit":
        content[-10] ^= 1
    file.write_bytes(bytes(content))
    assert same(encode(rows, tokenizer, 24, tmp_path), made)
    assert same(encode(rows, tokenizer, 24, tmp_path), made)
    assert list(tmp_path.iterdir()) == [file]


def test_models_without_segments(tokenizer, tmp_path):
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    for _ in range(2):
        assert encode(pairs(), tokenizer, 24, tmp_path).token_types is None


def test_padding_token_is_needed(tokenizer):
    tokenizer.pad_token = None
    with pytest.raises(UserError, match=r"^teacher.path: its tokenizer has no padding token; set pad_token"):
        encode(pairs(), tokenizer, 24, None)


def test_rows_digest_sees_boundaries():
    labels = np.array([0, 1])
    assert Rows((["ab", "c"],), labels).digest() != Rows((["a", "bc"],), labels).digest()
    assert Rows((["a", "b"], ["c", "d"]), labels).digest() != Rows((["a", "b"], ["d", "c"]), labels).digest()
    assert Rows((["a", "b"],), labels).digest() != Rows((["a", "b"],), labels[::-1]).digest()
    with pytest.raises(ValueError, match="differ in number"):
        Rows((["a"],), labels)
