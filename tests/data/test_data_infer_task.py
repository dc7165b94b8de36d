"""Texts, label and kind of a user's file, by names and by contents; on real rows and on what misleads."""

import json

import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.files import read_file
from minidisc_ray.data.infer_files import find_data_files
from minidisc_ray.data.infer_task import infer_task

COUNT = 40
LONG = [f"the film number {i} was long, and its plot had a hole in it" for i in range(COUNT)]
SHORT = [f"it was film {i} of ten" for i in range(COUNT)]
CLASSES = [("good", "bad", "fine")[i % 3] for i in range(COUNT)]
IDS = list(range(1000, 1000 + COUNT))
DATES = [f"2024-05-{i % 28 + 1:02}" for i in range(COUNT)]
HALVES = [i % 10 / 2 for i in range(COUNT)]


def inferred(folder, columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return infer_task(read_file(path, "--data", {}, with_others=True))


@pytest.mark.parametrize(
    ("columns", "kind", "text", "label"),
    [
        ({"id": IDS, "Review": SHORT, "body_of_mail": LONG, "stars": CLASSES}, "classification", ("Review",), "stars"),
        (
            {"label": CLASSES, "hypothesis": SHORT, "premise": LONG},
            "classification",
            ("premise", "hypothesis"),
            "label",
        ),
        ({"question": SHORT, "answer": LONG, "verdict": CLASSES}, "classification", ("question", "answer"), "verdict"),
        ({"question": SHORT, "verdict": CLASSES, "id": IDS}, "classification", ("question",), "verdict"),
        ({"who": DATES, "what": LONG, "verdict": CLASSES}, "classification", ("what",), "verdict"),
        ({"first": SHORT, "second": LONG, "verdict": CLASSES}, "classification", ("first", "second"), "verdict"),
        ({"text": LONG, "shop": CLASSES, "verdict": CLASSES[::-1]}, "classification", ("text",), "verdict"),
        ({"text": LONG, "value": HALVES}, "regression", ("text",), "value"),
        ({"text": LONG, "score": [str(half) for half in HALVES]}, "regression", ("text",), "score"),
        ({"text": LONG, "shop": CLASSES, "score": list(range(COUNT))}, "regression", ("text",), "score"),
        ({"text": LONG, "label": [i % 2 == 0 for i in range(COUNT)]}, "classification", ("text",), "label"),
        # A label of 0.0 and 1.0 is what a table with missing values makes of classes.
        ({"text": LONG, "label": [float(i % 2) for i in range(COUNT)]}, "classification", ("text",), "label"),
        (
            {"text": LONG, "labels": [[["a", "b"], ["a"], []][i % 3] for i in range(COUNT)]},
            "multilabel",
            ("text",),
            "labels",
        ),
        (
            {"text": LONG, "tags": ['["a", "b"]' if i % 2 else "[]" for i in range(COUNT)]},
            "multilabel",
            ("text",),
            "tags",
        ),
        ({"text": LONG, "labels": [[i % 4, 9] for i in range(COUNT)]}, "multilabel", ("text",), "labels"),
        # A column called class with a value for each row is none.
        ({"text": LONG, "class": SHORT, "verdict": CLASSES}, "classification", ("text",), "verdict"),
    ],
)
def test_names_then_contents(tmp_path, columns, kind, text, label):
    found = inferred(tmp_path, columns)
    assert (found.kind, found.text, found.label) == (kind, text, label)
    assert (found.classes == ()) == (kind == "regression")


def test_the_sentence_says_what_was_assumed_and_why(tmp_path):
    found = inferred(tmp_path, {"id": IDS, "what": LONG, "verdict": CLASSES})
    assert found.sentence == (
        "text is what (the longest texts), label is verdict (3 classes: bad, fine, good); not used: id"
    )
    found = inferred(tmp_path, {"sentence": LONG, "value": HALVES})
    assert found.sentence == "text is sentence (by its name), label is value (a regression: numbers from 0.0 to 4.5)"


@pytest.mark.parametrize(
    ("columns", "what"),
    [({"id": IDS, "label": CLASSES}, "a text"), ({"text": LONG, "id": IDS, "title": SHORT}, "a label")],
)
def test_a_file_without_text_or_label_is_refused_with_its_columns(tmp_path, columns, what):
    with pytest.raises(UserError) as caught:
        inferred(tmp_path, columns)
    names = ", ".join(columns)
    assert str(caught.value).startswith(f"--data: no column of rows.jsonl looks like {what}; its columns are {names};")


@pytest.mark.parametrize(
    ("task", "text", "kind", "classes"),
    [
        ("mrpc", ("sentence1", "sentence2"), "classification", 2),
        ("mnli", ("premise", "hypothesis"), "classification", 3),
        ("qnli", ("question", "sentence"), "classification", 2),
        ("stsb", ("sentence1", "sentence2"), "regression", 0),
    ],
)
def test_glues_files(real_data, task, text, kind, classes):
    files = find_data_files(str(real_data / task), "--data", None)
    found = infer_task(read_file(files.train, "--data", {}, with_others=True))
    assert (found.text, found.label, found.kind, len(found.classes)) == (text, "label", kind, classes)


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (["train.csv", "validation.csv"], "", {"folder": ""}),
        (["train.csv", "dev.tsv"], "", {"train": "train.csv", "validation": "dev.tsv"}),
        (["train.csv", "dev.tsv"], "train.csv", {"train": "train.csv", "validation": "dev.tsv"}),
        (["train.csv", "test.csv"], "", {"train": "train.csv", "validation_fraction": 0.2}),
        (["reviews.csv", "readme.txt"], "", {"train": "reviews.csv", "validation_fraction": 0.2}),
        (["reviews.csv", "dev.csv"], "reviews.csv", {"train": "reviews.csv", "validation_fraction": 0.2}),
    ],
)
def test_files_of_a_folder(tmp_path, names, given, expected):
    for name in names:
        (tmp_path / name).write_text("text,label\n")
    found = find_data_files(str(tmp_path / given), "--data", None).config.model_dump(exclude_defaults=True)
    paths = {key: value if key == "validation_fraction" else str(tmp_path / value) for key, value in expected.items()}
    assert found == paths


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.csv", "b.csv"], "which has a.csv, b.csv; name the training file"),
        (["a.txt"], "which has no file of rows; name the training file"),
        (["train.csv", "train.tsv"], "has several files of train (train.csv, train.tsv)"),
        (None, "there is no file or folder"),
    ],
)
def test_folders_that_do_not_say_which_file(tmp_path, names, message):
    for name in names or ():
        (tmp_path / name).write_text("text,label\n")
    with pytest.raises(UserError) as caught:
        find_data_files(str(tmp_path if names else tmp_path / "none"), "--data", None)
    assert str(caught.value).startswith("--data: ")
    assert message in str(caught.value)


def test_lists_of_labels_are_said_to_be_so(tmp_path):
    found = inferred(tmp_path, {"text": LONG, "labels": [["rude", "spam"][: i % 3] for i in range(COUNT)]})
    assert found.sentence.endswith("label is labels (2 labels, any number in a row: rude, spam)")
    assert found.missing is None, "no label is an answer"


def test_names_with_semicolons_are_classes_and_the_other_kind_is_named(tmp_path):
    found = inferred(tmp_path, {"text": LONG, "labels": [["rude;spam", "rude", "spam"][i % 3] for i in range(COUNT)]})
    assert (found.kind, found.classes) == ("classification", ("rude", "rude;spam", "spam"))
    assert found.sentence.endswith("; if a semicolon separates several labels of a row, set task.kind to multilabel")


def test_rows_without_a_label_are_counted(tmp_path):
    labels = [None if i < 3 else " " if i == 3 else CLASSES[i] for i in range(COUNT)]
    found = inferred(tmp_path, {"text": LONG, "label": labels})
    assert found.missing == "4 of 40 rows have no label"
    assert inferred(tmp_path, {"text": LONG, "label": CLASSES}).missing is None


@pytest.mark.parametrize("label", ["good", "", 1])
def test_a_single_label_is_no_task(tmp_path, label):
    with pytest.raises(
        UserError, match=r'every label in rows.jsonl is .* \(column "label"\); a task needs at least two'
    ):
        inferred(tmp_path, {"text": LONG, "label": [label] * COUNT})


def test_thousands_of_columns_are_counted_and_not_listed(tmp_path):
    columns = {"text": LONG, "label": CLASSES, **{f"c{place}": IDS for place in range(1000)}}
    assert inferred(tmp_path, columns).sentence.endswith(
        "; not used: " + ", ".join(f"c{i}" for i in range(20)) + " and 980 more"
    )
    del columns["label"]
    with pytest.raises(UserError, match=r"c18 and 981 more; give the file") as caught:
        inferred(tmp_path, columns)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("content", "what"), [("", "is empty"), ("text,label\n", "has columns and no rows")])
def test_a_file_without_rows_has_a_sentence_of_its_own(tmp_path, content, what):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        infer_task(read_file(path, "--data", {}, with_others=True))
    assert str(caught.value) == f"--data: rows.csv {what}; give a file with rows to train on"


def test_a_lone_test_file_is_not_trained_on_unasked(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("text,label\n")
    with pytest.raises(UserError, match=r"has test.csv alone, whose name says that it is to be tested on"):
        find_data_files(str(tmp_path), "--data", None)
    found = find_data_files(str(path), "--data", None)
    assert found.train == path
    assert found.sentence.endswith("; test.csv is trained on, though its name says test")
