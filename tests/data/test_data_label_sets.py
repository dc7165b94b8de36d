"""Rows of multi-label tasks, from every format, and the mistakes in them."""

import json

import numpy as np
import pandas as pd
import pytest

from minidisc_ray.configs import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.data import Rows, load_splits
from minidisc_ray.data.label_sets import distinct_names_in_cells, flag, names_in_cell
from minidisc_ray.data.labels import LabelError
from minidisc_ray.data.sampling import held_out_indices, strata

NAMES = ("insult", "threat", "toxic")
# Every subset of three names in turn, the empty one among them.
SETS = [[name for bit, name in enumerate(NAMES) if row >> bit & 1] for row in range(8)]
ROWS = [{"text": f"row {i}, a text", "labels": SETS[i % 8]} for i in range(64)]
TARGETS = np.array([[float(name in SETS[i % 8]) for name in NAMES] for i in range(20)], dtype=np.float32)
COLUMNS = {"kind": "multilabel", "label": list(NAMES)}


def with_columns(rows, spell=lambda has: int(has)):
    return [{"text": row["text"], **{name: spell(name in row["labels"]) for name in NAMES}} for row in rows]


def load(recipe, train=ROWS, validation=None, task=None, **data):
    validation = train[:20] if validation is None else validation
    return load_splits(recipe(train=train, validation=validation, task={"kind": "multilabel", **(task or {})}, **data))


def test_names_are_found_in_train_and_sorted(recipe):
    splits = load(recipe)
    task = splits.task
    assert (task.label_names, task.metrics, task.output, task.num_labels) == (NAMES, ("micro_f1",), "labels", 3)
    assert splits.validation["validation"].labels.dtype == np.float32
    assert (splits.validation["validation"].labels == TARGETS).all()
    assert len(splits.train) + len(splits.selection) == 64


def test_given_names_set_the_order(recipe):
    splits = load(recipe, task={"label_names": ["toxic", "insult", "threat"], "metric": "macro_f1"})
    assert (splits.validation["validation"].labels == TARGETS[:, [2, 0, 1]]).all()
    assert splits.digest != load(recipe).digest


@pytest.mark.parametrize(
    ("spell", "ending", "separator"),
    [
        (lambda names: ";".join(names), "csv", ";"),
        (lambda names: " | ".join(names), "csv", "|"),
        (json.dumps, "csv", ";"),
        (lambda names: "; ".join(names), "tsv", ";"),
        (json.dumps, "tsv", ";"),
        (list, "parquet", ";"),
        (lambda names: ";".join(names), "parquet", ";"),
    ],
)
def test_every_format_gives_the_same_rows(spell, ending, separator, recipe, tmp_path):
    frame = pd.DataFrame([{**row, "labels": spell(row["labels"])} for row in ROWS])
    path = tmp_path / f"other.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        text = frame.to_csv(index=False, sep="," if ending == "csv" else "\t")
        path.write_text(
            text
            if ending == "csv"
            else "".join(
                f"{r['text']}\t{spell(r['labels'])}\n" for r in [{"text": "text", "labels": []}, *ROWS]
            ).replace("text\t" + spell([]), "text\tlabels", 1)
        )
    data = {"data": {"kind": "files", "train": str(path), "validation": str(path), "max_validation_rows": 20}}
    found = load_splits(resolve({"task": {"kind": "multilabel", "separator": separator}, "protocol": "paper", **data}))
    plain = load(recipe, validation=ROWS, data={"max_validation_rows": 20}, protocol="paper")
    assert found.digest == plain.digest


@pytest.mark.parametrize("spell", [int, bool, float, lambda has: str(int(has)), lambda has: "true" if has else "False"])
def test_a_column_for_each_label(spell, recipe):
    splits = load(recipe, train=with_columns(ROWS, spell), task=COLUMNS)
    assert splits.task.label_names == NAMES
    assert splits.digest == load(recipe).digest


def test_columns_under_other_names(recipe):
    rows = [{**row, "is_toxic": row["toxic"]} for row in with_columns(ROWS)]
    for row in rows:
        del row["toxic"]
    assert load(recipe, train=rows, task=COLUMNS, data={"columns": {"toxic": "is_toxic"}}).digest == load(recipe).digest


def test_a_list_of_classes_of_the_hub(tmp_path, recipe, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "comments"
    (folder / "data").mkdir(parents=True)
    order = ["toxic", "threat", "insult"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=order))}
    )
    for split, size in (("train", 64), ("validation", 20)):
        rows = [{**row, "labels": [order.index(name) for name in row["labels"]]} for row in ROWS[:size]]
        made = datasets.Dataset.from_list(rows, features=features)
        made.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    task = {"kind": "multilabel", "label_names": list(NAMES)}
    splits = load_splits(resolve({"task": task, "data": {"kind": "hub", "path": str(folder)}}))
    assert splits.digest == load(recipe).digest
    found = load_splits(resolve({"task": {"kind": "multilabel"}, "data": {"kind": "hub", "path": str(folder)}}))
    assert found.task.label_names == tuple(order)


def test_the_selection_split_has_rows_of_rare_labels():
    generator = np.random.default_rng(0)
    labels = (generator.random((400, 4)) < (0.5, 0.3, 0.05, 0.01)).astype(np.float32)
    rows = Rows(([str(i) for i in range(400)],), labels)
    groups = strata(rows, "labels")
    assert set(groups) == {0, 1, 2, 3, 4}
    chosen = held_out_indices(groups, 400, 0.1, 3, "selection")
    assert 38 <= len(chosen) <= 42
    rest = np.setdiff1d(np.arange(400), chosen)
    assert labels[:, 3].sum() >= 2
    assert (labels[chosen].sum(axis=0) >= 1).all()
    assert (labels[rest].sum(axis=0) >= 1).all()
    assert chosen.tolist() == held_out_indices(groups, 400, 0.1, 3, "selection").tolist()


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        ({"label_names": ["toxic", "insult"]}, {}, "is 'threat' in row 3 of train.jsonl; allowed: toxic, insult"),
        ({"label_names": [*NAMES, "spam"]}, {}, "task.label_names: no row of train has the label spam; leave it out"),
        ({}, {"labels": "[1, 2"}, "it begins a JSON list and is none"),
        ({}, {"labels": 3}, "is 3 in row 9 of train.jsonl; allowed is a list of names"),
        ({}, {"labels": {"toxic": 1}}, "in row 9 of train.jsonl; allowed is a list of names"),
        ({}, {"labels": ["a", 0.5]}, "is 0.5 in row 9 of train.jsonl; a class is a name or a whole number"),
        ({}, {"labels": ["a", ""]}, "is empty in row 9 of train.jsonl"),
        ({"label_names": list(NAMES)}, {"labels": ["toxic", None]}, "is missing in row 9"),
        ({}, {"labels": ["a;b"]}, "task.separator: ';' is part of the label 'a;b'; give characters that no label"),
        ({"label": ["text", "toxic"]}, {}, 'task.text: column "text" is task.label as well'),
        ({"label": ["toxic", "spam"]}, {}, 'column "toxic" is not in train.jsonl'),
    ],
)
def test_mistakes_in_rows(task, change, words, recipe):
    rows = [dict(row) for row in ROWS]
    rows[8] |= change
    with pytest.raises(UserError) as error:
        load(recipe, train=rows, task=task)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("cell", "words"), [(2, "is 2 in row 9"), ("yes", "is 'yes'"), (None, "is missing"), (0.5, "0.5")]
)
def test_cells_that_are_not_0_or_1(cell, words, recipe):
    rows = with_columns(ROWS)
    rows[8]["threat"] = cell
    with pytest.raises(UserError, match=r'^data.train: "threat" is ') as error:
        load(recipe, train=rows, task=COLUMNS)
    assert words in str(error.value)


def test_a_column_without_any_1(recipe):
    rows = [{**row, "threat": 0} for row in with_columns(ROWS)]
    with pytest.raises(UserError, match=r"^task.label: no row of train has the label threat"):
        load(recipe, train=rows, task=COLUMNS)


def test_rows_that_are_all_alike(recipe):
    rows = [{**row, "labels": ["toxic", "insult"]} for row in ROWS]
    with pytest.raises(UserError, match="data: all 64 rows of train have the same labels"):
        load(recipe, train=rows)
    rows = [{**row, "labels": []} for row in ROWS]
    with pytest.raises(UserError, match=r"^task.label_names: missing, and none are found"):
        load(recipe, train=rows)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"label_names": ["toxic"]}, "label_names is ['toxic']; give at least two distinct names"),
        ({"label": ["toxic"]}, "give one column of names, or at least two columns of 0 and 1"),
        ({"label": ["toxic", "toxic"]}, "at least two columns"),
        ({"label": ["a", "b"], "label_names": ["x", "y"]}, "the labels have the names of their columns; leave it out"),
        ({"separator": " ; "}, "separator is ' ; '; give characters without spaces around them"),
        ({"metric": "f1"}, "task.metric"),
        ({"selection_metric": "matthews"}, "selection_metric is ['matthews']; give one or several of micro_f1"),
    ],
)
def test_mistakes_in_the_recipe(task, words):
    with pytest.raises(UserError) as error:
        resolve({"task": {"kind": "multilabel", **task}})
    assert words in str(error.value)


def test_a_separator_in_a_given_name(recipe):
    with pytest.raises(UserError, match=r"^task.separator: ';' is part of the label 'a;b'"):
        load(recipe, task={"label_names": ["a;b", "c"]})


def test_cells():
    assert (
        names_in_cell(None, ";") == names_in_cell("", ";") == names_in_cell(" ; ", ";") == names_in_cell([], ";") == []
    )
    assert names_in_cell(" a ;b;", ";") == ["a", "b"]
    assert names_in_cell('["a", 1]', ";") == ["a", 1]
    assert distinct_names_in_cells(["b;a", ["c", "a"], None], ";") == ("a", "b", "c")
    assert distinct_names_in_cells(["10;9", [2]], ";") == ("2", "9", "10")
    with pytest.raises(LabelError) as error:
        distinct_names_in_cells(["a;b", "", "c;0.5;[d", ["e", 0.5]], ";")
    assert error.value.row == 4


def test_flags():
    assert [flag(value) for value in (1, 0, True, False, "1", " 0 ", "TRUE", "false", 1.0)] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    for value in (2, -1, "no", "", float("nan"), [1], None):
        with pytest.raises(LabelError):
            flag(value)


def rows_of(count, labels_of):
    return [{"text": f"comment {place}", "labels": labels_of(place)} for place in range(count)]


def test_rows_with_rarest_labels_of_their_own_are_split_at_random_with_a_note(recipe):
    # Every row has two labels, and each pair of labels comes once: no two rows have the same rarest label twice over.
    names = [f"l{place:02d}" for place in range(60)]
    rows = rows_of(60, lambda place: [names[place], names[(place + 1) % 60]])
    found = load(recipe, train=rows, validation=rows_of(20, lambda place: [names[place]]))
    assert len(found.selection) == 6
    assert len(found.train) == 54
    assert (found.train.labels.sum(axis=0) > 0).all(), "every label keeps a row to train on"
    (note,) = found.notes
    assert note == "selection is drawn at random and not by labels: too few rows have the same rarest label"
    again = load(recipe, train=rows, validation=rows_of(20, lambda place: [names[place]]))
    assert again.digest == found.digest


def test_labels_of_a_single_row_each_cannot_be_held_out(recipe):
    rows = rows_of(40, lambda place: [f"l{place:02d}"])
    with pytest.raises(UserError, match=r"would leave a label without a row to train on; give more rows, merge labels"):
        load(recipe, train=rows, validation=rows[:20])
