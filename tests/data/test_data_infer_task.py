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
