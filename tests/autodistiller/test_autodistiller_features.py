"""Dataset features: by hand for two texts, from a model's matrix and from files, the same every time."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from storage_kit import LOCAL
from tiny_models import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from minidisc_ray.autodistiller.features.dataset_features import dataset_features, embed
from minidisc_ray.autodistiller.features.vectors import FileVectors, TeacherVectors, weighted_means
from minidisc_ray.autodistiller.features.words import default_description, weighted_words
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.data import Rows, builtin_tokenizer
from minidisc_ray.models.checkpoint import save_model

GLOVE = "good 1 0\nfilm 0 2\nbad -1 0\nthe 5 5\nunused 9 9\n"


def glove(tmp_path: Path, text: str = GLOVE) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_two_texts_by_hand(tmp_path):
    rows = Rows((["The good, good FILM", "the bad plot"],), np.array([1, 0]))
    values, space, missing = embed(rows, "film review", lambda words: FileVectors(glove(tmp_path), words))
    # Three documents: two rows and the description. "the" and "film" are in two of them, "good" and "bad" in one.
    idf = {word: math.log(4 / (1 + count)) for word, count in {"the": 2, "film": 2, "good": 1, "bad": 1}.items()}
    # "plot" has no vector, so six of the seven words of the rows count.
    first = (2 * idf["good"] * 1 + idf["bad"] * -1 + 2 * idf["the"] * 5) / 6
    second = (idf["film"] * 2 + 2 * idf["the"] * 5) / 6
    assert values == pytest.approx((first, second, 0.0, idf["film"] * 2))
    assert space == "glove-2"
    assert missing == pytest.approx(2 / 9)


def test_words_are_what_the_pattern_says():
    found = weighted_words(["Don't re-use 2 I's", "naïve_bayes"], "x")
    assert found.words == ("2", "don", "i", "naïve_bayes", "re", "s", "t", "use", "x")
    assert found.counts.sum(axis=1).tolist() == [8, 1]


def test_both_texts_of_a_pair_are_one_document(tmp_path):
    pair = Rows((["good"], ["film"]), np.array([1]))
    one = Rows((["good film"],), np.array([1]))

    def vectors_of(words):
        return FileVectors(glove(tmp_path), words)

    assert embed(pair, "bad", vectors_of) == embed(one, "bad", vectors_of)


def test_a_description_is_made_of_names():
    assert default_description("my-task", ("not_equivalent", "equivalent")) == "my task not equivalent equivalent"


def test_the_teachers_pieces_are_averaged():
    matrix = tiny_model("bert").get_input_embeddings().weight.detach().numpy()
    vectors = TeacherVectors(matrix, builtin_tokenizer())
    known, found = vectors.of(["film", "unseen", "good"])
    numbers = builtin_tokenizer().convert_tokens_to_ids(["film", "good"])
    assert known.tolist() == [True, False, True]
    assert np.allclose(found, matrix[numbers], atol=0)
    assert vectors.of([])[1].shape == (0, matrix.shape[1])
    known, _ = vectors.of(["unseen"])
    assert not known.any()


def test_a_word_is_the_mean_of_its_pieces():
    vocabulary = {"[UNK]": 0, "play": 1, "##ing": 2}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    vectors = TeacherVectors(np.array([[9.0], [1.0], [4.0]], dtype=np.float32), tokenizer)
    _, found = vectors.of(["playing", "play"])
    assert found.tolist() == [[2.5], [1.0]]


def test_many_words_are_summed_in_parts():
    class Ones:
        space, width = "ones", 1

        def of(self, words):
            return np.ones(len(words), dtype=bool), np.ones((len(words), 1))

    count = 10_001
    values, missing = weighted_means(Ones(), ["w"] * count, np.ones((2, count)), np.full((2, count), 3.0))
    assert values.tolist() == [3.0, 3.0]
    assert missing == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("good 1 0\nfilm 0\n", "line 2 .* has 1 numbers after the word instead of 2"),
        ("good 1 x\n", "line 1 .* has a value that is not a number"),
        ("good 1 nan\n", "line 1 .* has a value that is not finite"),
        ("good\n", "line 1 .* has 0 numbers after the word"),
        ("good " + "1 " * 100_000 + "\n", "line 1 .* has over 131,072 bytes"),
        ("good" + " 1" * 5_000 + "\n", "line 1 .* has 5,000 numbers after the word"),
        ("", "is empty; give a GloVe file"),
    ],
)
def test_a_bad_line_is_a_sentence(tmp_path, text, reason):
    with pytest.raises(UserError, match=reason):
        FileVectors(glove(tmp_path, text), ["good", "film"])


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none\.txt cannot be read \(No such file or directory\)"):
        FileVectors(tmp_path / "none.txt", [])


def test_headers_spaces_and_line_ends_are_read(tmp_path):
    found = FileVectors(glove(tmp_path, "2 2\r\ngood 1 2\r\n. . . 5 6\r\nfilm 3 4 \r\n"), ["good", "film"])
    assert found.of(["film", "good"])[1].tolist() == [[3.0, 4.0], [1.0, 2.0]]


RECIPE = {"data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32}}


def test_features_of_a_recipe_are_the_same_every_time(tmp_path, monkeypatch):
    config = resolve(RECIPE)
    found = []
    for cache in ("one", "two", "two"):
        monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / cache))
        # Other random numbers drawn in the process change nothing.
        torch.manual_seed(len(found))
        found.append(dataset_features(config))
    assert found[0] == found[1] == found[2]
    assert (found[0].task, found[0].num_labels, found[0].metric) == ("builtin", 2, "accuracy")
    assert len(found[0].values) == 2 * 96
    assert len(list((tmp_path / "two" / "dataset-features").iterdir())) == 2


def test_a_damaged_cache_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path))
    first = dataset_features(resolve(RECIPE))
    for path in (tmp_path / "dataset-features").iterdir():
        path.write_text("{")
    assert dataset_features(resolve(RECIPE)) == first


def test_what_changes_the_features(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    path = glove(tmp_path, "good 1 0\nfilm 0 2\nreview 3 3\nnegative 2 2\n")
    plain = dataset_features(resolve(RECIPE), path, with_baseline=False)
    described = dataset_features(resolve(RECIPE, ["task.description=A film review"]), path, with_baseline=False)
    assert (plain.description, described.description) == ("builtin negative positive", "A film review")
    assert plain.values[2:] != described.values[2:]
    path.write_text("good 2 0\nfilm 0 2\nreview 3 3\nnegative 2 2\n")
    changed = dataset_features(resolve(RECIPE), path, with_baseline=False)
    assert changed.values[0] == pytest.approx(2 * plain.values[0])
    assert plain.baseline_score is None


def test_a_teacher_in_a_folder_gives_the_vectors(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    save_model(LOCAL, tiny_model("bert"), builtin_tokenizer(), tmp_path / "model")
    for name, count in (("train", 40), ("validation", 20)):
        rows = [{"text": ("the film was good", "the story was bad")[i % 2], "label": str(i % 2)} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = {
        "task": {"kind": "classification", "label_names": ["0", "1"], "description": "the film was good"},
        "data": {"kind": "files", "folder": str(tmp_path)},
        "teacher": {"kind": "pretrained", "path": str(tmp_path / "model"), "fine_tuned": False},
    }
    found = dataset_features(resolve(raw), with_baseline=False)
    width = tiny_model("bert").config.hidden_size
    assert found.space.startswith(f"teacher-{width}-")
    assert len(found.values) == 2 * width
    assert any(found.values)


def test_texts_without_a_word_are_refused(tmp_path):
    rows = Rows((["!!", "..."],), np.array([0, 1]))
    with pytest.raises(UserError, match="no text has a word"):
        embed(rows, "?", lambda words: FileVectors(glove(tmp_path), words))


def test_features_are_json(tmp_path):
    found = dataset_features(resolve(RECIPE), glove(tmp_path), with_baseline=False)
    assert json.loads(json.dumps(dataclasses.asdict(found)))["values"] == list(found.values)
