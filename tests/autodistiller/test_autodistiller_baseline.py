"""The baseline learns what a bag of words can, and gives the same score every time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minidisc_ray.autodistiller.features import baseline
from minidisc_ray.autodistiller.features.baseline import baseline_score
from minidisc_ray.configs import resolve
from minidisc_ray.core.task import Task
from minidisc_ray.data import Rows, Splits, load_splits

NOISE = ("a", "the", "it", "was", "of", "and")


def splits_of(task: Task, texts_and_labels: tuple[list[list[str]], np.ndarray]) -> Splits:
    texts, labels = texts_and_labels
    rows = Rows(tuple(texts), labels)
    parts = [rows.take(np.arange(start, len(rows), 5)) for start in range(5)]
    train = Rows(
        tuple([text for part in parts[:3] for text in part.texts[column]] for column in range(len(texts))),
        np.concatenate([part.labels for part in parts[:3]]),
    )
    return Splits(task, train, parts[3], {"validation": parts[4]}, None, "", "")


def sentences(count: int, marks: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Noise with one of the marks in it, and which."""
    generator = np.random.default_rng(0)
    labels = generator.integers(len(marks), size=count)
    texts = []
    for label in labels:
        words = list(generator.choice(NOISE, size=generator.integers(3, 9)))
        words.insert(int(generator.integers(len(words))), marks[label])
        texts.append(" ".join(words))
    return texts, labels


def test_it_learns_a_word(tmp_path):
    texts, labels = sentences(600, ("good", "bad"))
    task = Task("own", ("text",), "label", ("no", "yes"), ("accuracy",))
    assert baseline_score(splits_of(task, ([texts], labels))) > 0.95


def test_it_learns_from_the_second_text_of_a_pair():
    texts, labels = sentences(600, ("good", "bad"))
    task = Task("own", ("one", "two"), "label", ("no", "yes"), ("accuracy",))
    assert baseline_score(splits_of(task, ([["nothing here"] * 600, texts], labels))) > 0.95


def test_it_learns_several_labels():
    texts, labels = sentences(600, ("good", "bad", "neither"))
    flags = np.stack([labels == 0, labels == 1], axis=1).astype(np.float32)
    task = Task("own", ("text",), "labels", ("good", "bad"), ("micro_f1",), is_multilabel=True)
    assert baseline_score(splits_of(task, ([texts], flags))) > 0.9


def test_it_learns_a_value():
    texts, labels = sentences(600, ("small", "middle", "large"))
    task = Task("own", ("text",), "label", (), ("pearson",))
    assert baseline_score(splits_of(task, ([texts], (100 + 10 * labels).astype(np.float32)))) > 0.9


def test_it_gives_the_same_score_every_time():
    splits = load_splits(resolve({"data": {"kind": "builtin", "train_rows": 300, "validation_rows": 100}}))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = baseline_score(splits)
    assert torch.equal(torch.get_rng_state(), before)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert baseline_score(splits) == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert 0.4 < first <= 1


def test_many_rows_are_sampled(monkeypatch):
    texts, labels = sentences(600, ("good", "bad"))
    splits = splits_of(Task("own", ("text",), "label", ("no", "yes"), ("accuracy",)), ([texts], labels))
    sizes: list[int] = []
    vocabulary_of = baseline._vocabulary

    def counting(rows: Rows) -> dict[str, int]:
        sizes.append(len(rows))
        return vocabulary_of(rows)

    monkeypatch.setattr(baseline, "_vocabulary", counting)
    monkeypatch.setattr(baseline, "MAX_TRAIN_ROWS", 100)
    assert 0 <= baseline_score(splits) <= 1
    assert sizes == [100]


@pytest.mark.parametrize("texts", [["", "!"], ["x" * 100_000, "y"]])
def test_odd_texts_are_scored(texts):
    task = Task("own", ("text",), "label", ("no", "yes"), ("accuracy",))
    splits = splits_of(task, ([texts * 20], np.array([0, 1] * 20)))
    splits = replace(splits, validation={"validation": splits.train})
    assert 0 <= baseline_score(splits) <= 1
