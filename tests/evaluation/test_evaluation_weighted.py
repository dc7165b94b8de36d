import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_kit import labelled, model, task_of

from minidisc_ray.evaluation import LabelledRows, score
from minidisc_ray.evaluation.weighted import weighted_scores

METRICS = [  # the metric, classes, and whether a row may have several
    *(("accuracy", classes, False) for classes in (2, 4)),
    ("f1", 2, False),
    *(
        (metric, classes, False)
        for metric in ("matthews", "macro_f1", "weighted_f1", "micro_f1", "balanced_accuracy")
        for classes in (2, 3)
    ),
    *((metric, 3, True) for metric in ("accuracy", "macro_f1", "weighted_f1", "micro_f1")),
    ("spearman", 0, False),
    ("pearson", 0, False),
]


def drawn(classes, is_multilabel, num_rows, seed, values=40):
    generator = np.random.default_rng(seed)
    if not classes:
        labels = generator.integers(values, size=num_rows) / 8
        return labels, (labels + generator.normal(size=num_rows)).astype(np.float32).round(1)[:, None]
    if is_multilabel:
        labels = (generator.random((num_rows, classes)) < 0.4).astype(np.float32)
        return labels, (2 * labels - 1 + 1.5 * generator.normal(size=labels.shape)).astype(np.float32)
    labels = generator.integers(classes, size=num_rows)
    logits = generator.normal(size=(num_rows, classes)).astype(np.float32)
    logits[np.arange(num_rows), labels] += 1
    return labels, logits


@pytest.mark.parametrize(("metric", "classes", "is_multilabel"), METRICS)
def test_weights_of_one_give_the_score_itself(metric, classes, is_multilabel):
    labels, _ = drawn(classes, is_multilabel, 700, 0)
    shift = 0.3 * np.arange(4)
    logits = [(1 - shift[seed]) * drawn(classes, is_multilabel, 700, 0)[1] for seed in range(4)]
    logits = [each + drawn(classes, is_multilabel, 700, seed + 1)[1] for seed, each in enumerate(logits)]
    rows = LabelledRows(task_of(metric, classes, is_multilabel=is_multilabel), {"validation": labels})
    models = [rows.predictions({"validation": each}) for each in logits]
    found = weighted_scores(rows, "validation", models, np.ones((1, 700), dtype=int))
    expected = [score(rows.task, each, labels)[metric] for each in logits]
    assert found.shape == (1, 4)
    assert len(set(expected)) == 4
    assert found[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("metric", "classes", "is_multilabel"), METRICS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_weight_is_a_row_repeated_and_degenerate_draws_keep_the_scores_convention(
    metric, classes, is_multilabel, data
):
    num_rows = data.draw(st.integers(2, 9))
    labels, logits = drawn(classes, is_multilabel, num_rows, data.draw(st.integers(0, 10**6)), values=3)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=num_rows, max_size=num_rows)))
    weights[data.draw(st.integers(0, num_rows - 1))] += 1
    rows = LabelledRows(task_of(metric, classes, is_multilabel=is_multilabel), {"validation": labels})
    found = weighted_scores(rows, "validation", [rows.predictions({"validation": logits})], weights[None])[0, 0]
    with warnings.catch_warnings():
        # scikit-learn warns of draws with one class.
        warnings.simplefilter("ignore")
        expected = score(rows.task, logits.repeat(weights, axis=0), labels.repeat(weights, axis=0))[metric]
    assert found == pytest.approx(expected, abs=1e-12)


def test_blocks_of_models_change_nothing(monkeypatch):
    rows = labelled(50, "f1")
    models = [model(rows, seed, validation=0.7) for seed in range(7)]
    weights = np.random.default_rng(0).integers(3, size=(5, 50))
    whole = weighted_scores(rows, "validation", models, weights)
    monkeypatch.setattr("minidisc_ray.evaluation.counted._BLOCK_ELEMENTS", 100)
    assert (weighted_scores(rows, "validation", models, weights) == whole).all()


def test_large_values_neither_overflow_nor_vanish():
    labels = np.arange(6.0)
    for factor in (1e200, 1e-200):
        rows = LabelledRows(task_of("pearson", 0), {"validation": labels})
        right = rows.predictions({"validation": labels[:, None] * factor})
        assert weighted_scores(rows, "validation", [right], np.ones((1, 6)))[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([], dtype=int), "at least one row"),
        (np.zeros((3, 1), dtype=int), "one for each row"),
        (np.array([0, 1, 2]), "whole numbers from 0 to 1"),
        (np.array([0, -1, 1]), "whole numbers from 0 to 1"),
        (np.array([0.0, 0.5, 1.0]), "whole numbers from 0 to 1"),
        (np.array([0.0, np.nan, 1.0]), "not finite"),
    ],
)
def test_labels_that_do_not_fit(labels, words):
    with pytest.raises(ValueError, match=words):
        LabelledRows(task_of("accuracy"), {"validation": labels})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(4), "give 3 numbers for each row"),
        (np.zeros((4, 2)), "give 3 numbers for each row"),
        (np.zeros((0, 3)), "at least one row"),
        (np.full((4, 3), 2.0), "whole numbers from 0 to 1"),
    ],
)
def test_label_sets_that_do_not_fit(labels, words):
    with pytest.raises(ValueError, match=words):
        LabelledRows(task_of("micro_f1", 3, is_multilabel=True), {"validation": labels})


def test_logits_and_splits_that_do_not_fit():
    rows = labelled(4, selection=3)
    with pytest.raises(ValueError, match=r"are \(3, 2\); its labels need \(4, 2\)"):
        rows.predictions({"validation": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="not finite"):
        rows.predictions({"validation": np.full((4, 2), np.inf)})
    with pytest.raises(ValueError, match="no labels of split 'test'"):
        rows.predictions({"test": np.zeros((4, 2))})
    with pytest.raises(ValueError, match="no labels of split 'mismatched'"):
        LabelledRows(rows.task, rows.labels, scored_splits=["validation", "mismatched"])
    with pytest.raises(ValueError, match="each once"):
        LabelledRows(rows.task, rows.labels, scored_splits=["validation", "validation"])


def test_models_and_weights_that_do_not_fit():
    rows, once = labelled(4, selection=3), np.ones((1, 4))
    own = model(rows, 0, validation=0.5)
    with pytest.raises(ValueError, match="no predictions of split 'selection'"):
        weighted_scores(rows, "selection", [own], np.ones((1, 3)))
    with pytest.raises(ValueError, match="5 of the 4 rows"):
        weighted_scores(rows, "validation", [own, model(labelled(5), 0, validation=0.5)], once)
    with pytest.raises(ValueError, match="no model"):
        weighted_scores(rows, "validation", [], once)
    with pytest.raises(ValueError, match="do not fit the 4 rows"):
        weighted_scores(rows, "validation", [own], np.ones((1, 3)))
    for bad in (once / 2, -once, 0 * once):
        with pytest.raises(ValueError, match="must be whole numbers"):
            weighted_scores(rows, "validation", [own], bad)
