"""Class numbers are names: however a file writes a number, it is one class, and never a position among found names."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import load_splits
from minidisc_ray.data.labels import ClassIndex, LabelError, distinct_names

FOUND = {"kind": "classification"}
ROWS = 40


def write(path, labels):
    """Rows whose texts differ, in a folder of their own; a label is written as the file's kind writes its type."""
    path = path.parent / "own" / path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"{path.stem} {i}" for i in range(len(labels))]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in zip(texts, labels, strict=True)))
    elif path.suffix in (".csv", ".tsv"):
        separator = "," if path.suffix == ".csv" else "\t"
        path.write_text(
            f"text{separator}label\n" + "".join(f"{t}{separator}{v}\n" for t, v in zip(texts, labels, strict=True))
        )
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    return str(path)


WRITINGS = {
    "csv": ("train.csv", lambda n: str(n)),
    "csv, float": ("train.csv", lambda n: f"{n}.0"),
    "csv, blanks": ("train.csv", lambda n: f" {n} "),
    "csv, zeros": ("train.csv", lambda n: f"{n}.000"),
    "csv, exponent": ("train.csv", lambda n: f"{n}e+00"),
    "tsv": ("train.tsv", lambda n: f" {n}"),
    "json": ("train.jsonl", lambda n: n),
    "json, float": ("train.jsonl", lambda n: float(n)),
    "json, text": ("train.jsonl", lambda n: str(n)),
    "parquet": ("train.parquet", lambda n: pyarrow.scalar(n, pyarrow.int8())),
    "parquet, float": ("train.parquet", lambda n: pyarrow.scalar(float(n), pyarrow.float32())),
    "parquet, half": ("train.parquet", lambda n: pyarrow.scalar(np.float16(n), pyarrow.float16())),
    "parquet, text": ("train.parquet", lambda n: f"{n}.0"),
    "parquet, decimal": ("train.parquet", lambda n: pyarrow.scalar(Decimal(n), pyarrow.decimal128(9, 2))),
}


def written(folder, split, kind, numbers):
    name, form = WRITINGS[kind]
    return write(folder / name.replace("train", split), [form(n) for n in numbers])


# Each file is read by itself: what is the same as plain text on either side is the same as any other.
KINDS = list(WRITINGS)
PAIRS = [
    *((kind, "csv") for kind in KINDS),
    *(("csv", kind) for kind in KINDS[1:]),
    *zip(KINDS[1:], KINDS[2:] + KINDS[1:2], strict=True),
]


@pytest.mark.parametrize(("train", "validation"), PAIRS)
def test_one_number_is_one_class(recipe, tmp_path, train, validation):
    numbers = [1 + i % 4 for i in range(ROWS)]
    files = {
        "train": written(tmp_path / "a", "train", train, numbers),
        "validation": written(tmp_path / "b", "validation", validation, numbers[:20]),
        "selection": written(tmp_path / "c", "selection", validation, numbers[:16]),
    }
    splits = load_splits(recipe(task=FOUND, data=files))
    assert splits.task.label_names == ("1", "2", "3", "4")
    assert splits.train.labels.tolist() == [n - 1 for n in numbers]
    assert splits.validation["validation"].labels.tolist() == [n - 1 for n in numbers[:20]]
    assert splits.selection.labels.tolist() == [n - 1 for n in numbers[:16]]
    assert splits.notes == ()


@pytest.mark.parametrize("split", ["validation", "selection"])
@pytest.mark.parametrize("kind", ["csv", "json", "parquet, float"])
def test_what_train_does_not_have_is_refused(recipe, tmp_path, split, kind):
    files = {
        "train": written(tmp_path, "train", "csv", [1 + i % 4 for i in range(ROWS)]),
        "validation": written(tmp_path / "other", "validation", "csv", [1, 2, 3, 4]),
        split: written(tmp_path, split, kind, [i % 4 for i in range(1, 20)]),  # from 0: its row 4
    }
    with pytest.raises(UserError) as caught:
        load_splits(recipe(task=FOUND, data=files))
    shown = {"csv": "'0'", "json": "0", "parquet, float": "0.0"}[kind]
    name = WRITINGS[kind][0].replace("train", split)
    assert str(caught.value) == (f'data.{split}: "label" is {shown} in row 4 of {name}; allowed: 1, 2, 3, 4')


@pytest.mark.parametrize("unlabelled", [-1, -1.0, "-1", "-1.0", " -1"])
def test_minus_one_is_no_class_however_written(recipe, tmp_path, unlabelled):
    labels = [i % 2 for i in range(ROWS)]
    train = write(tmp_path / "train.jsonl", [*labels, unlabelled])
    with pytest.raises(UserError, match=r"is -1 in row 41 of train\.jsonl; -1 marks rows without a label"):
        load_splits(recipe(task=FOUND, data={"train": train}))


class TestPositions:
    """Numbers stand for positions only where the names were given beforehand."""

    def test_given_names(self, recipe, tmp_path):
        train = written(tmp_path, "train", "csv, float", [i % 2 for i in range(ROWS)])
        validation = write(tmp_path / "validation.jsonl", ["bad", "good", 0, "1"])
        task = FOUND | {"label_names": ["bad", "good"]}
        splits = load_splits(recipe(task=task, data={"train": train, "validation": validation}))
        assert splits.validation["validation"].labels.tolist() == [0, 1, 0, 1]
        assert splits.notes == ("labels that are numbers are positions in task.label_names: 0 is bad, 1 is good",)

    def test_numbers_from_1_are_noted(self, recipe, tmp_path):
        train = written(tmp_path, "train", "csv", [1 + i % 2 for i in range(ROWS)])
        validation = write(tmp_path / "validation.csv", ["1", "2"])
        task = FOUND | {"label_names": ["bad", "fair", "good"]}
        splits = load_splits(recipe(task=task, data={"train": train, "validation": validation}))
        assert splits.notes[1] == "no row of train is of the class bad: positions begin at 0, not at 1"

    def test_names_may_be_numbers_in_yaml(self, recipe, tmp_path):
        train = written(tmp_path, "train", "csv", [1 + i % 3 for i in range(ROWS)])
        validation = write(tmp_path / "validation.csv", ["3.0", "2", "1"])
        task = FOUND | {"label_names": [1, 2, 3]}
        splits = load_splits(recipe(task=task, data={"train": train, "validation": validation}))
        assert splits.task.label_names == ("1", "2", "3")
        assert splits.validation["validation"].labels.tolist() == [2, 1, 0]

    @pytest.mark.parametrize("names", [["1", "1.0"], ["01", 1]])
    def test_names_of_one_number_are_refused(self, recipe, names):
        with pytest.raises(UserError, match="give at least two distinct names"):
            recipe(task=FOUND | {"label_names": names})

    def test_no_note_without_any(self, recipe):
        assert load_splits(recipe()).notes == ()

    def test_given_names_that_are_numbers_have_no_positions(self, recipe, tmp_path):
        train = written(tmp_path, "train", "csv", [1 + i % 2 for i in range(ROWS)])
        validation = write(tmp_path / "validation.csv", ["1.0", "2.0", "0"])
        task = FOUND | {"label_names": ["2", "1"]}
        with pytest.raises(UserError, match=r"is '0' in row 3 of validation.csv; allowed: 2, 1$"):
            load_splits(recipe(task=task, data={"train": train, "validation": validation}))

    @pytest.mark.parametrize("value", [0.5, "0.5", "1_0", "\uff11", 2, -1, "1e999", True, float("nan")])
    def test_what_is_no_position(self, value):
        with pytest.raises(LabelError, match="allowed: no, yes, or a number from 0 to 1"):
            ClassIndex(("no", "yes"), allows_positions=True)(value)

    def test_a_number_that_is_never_written_out(self):
        with pytest.raises(LabelError, match="is too large to be shown"):
            ClassIndex(("no", "yes"), allows_positions=True)(10**5000)


@pytest.mark.parametrize(("train", "validation"), [("csv", "json"), ("json", "csv"), ("parquet", "csv")])
def test_truth_values(recipe, tmp_path, train, validation):
    """pandas writes True into CSV, JSON has true: one class."""

    def labels(kind, count):
        values = [i % 3 == 0 for i in range(count)]
        return list(map(str, values)) if kind == "csv" else values

    ending = {"csv": "csv", "json": "jsonl", "parquet": "parquet"}
    files = {
        "train": write(tmp_path / f"train.{ending[train]}", labels(train, ROWS)),
        "validation": write(tmp_path / "other" / f"validation.{ending[validation]}", labels(validation, 20)),
    }
    splits = load_splits(recipe(task=FOUND, data=files))
    assert splits.validation["validation"].labels.tolist() == [int(i % 3 == 0) for i in range(20)]


class TestFoundNames:
    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ([10, 9, "2"], ("2", "9", "10")),
            (["01", "02", "10"], ("01", "02", "10")),
            (["01", 1, "2"], ("1", "2")),
            (["1.5", 2, "2.0"], ("1.5", "2")),
            ([True, False], ("false", "true")),
            (["b", 1, "1.0"], ("1", "b")),
        ],
    )
    def test_names(self, values, names):
        assert distinct_names(values) == names

    @pytest.mark.parametrize(("one", "other"), [("1.1", "1.10"), ("1E2", "10E1"), ("0E1", "0E2"), ("2", "2e0")])
    def test_names_that_happen_to_be_one_number_are_not_merged(self, one, other):
        with pytest.raises(LabelError) as caught:
            distinct_names(["3", one, other])
        assert str(caught.value) == (
            f"{other!r}; it is the number {one} of row 2; name the classes in task.label_names"
        )
        assert caught.value.row == 3

    def test_minus_one_beside_names(self):
        with pytest.raises(LabelError, match="-1 marks rows without a label"):
            distinct_names(["pos", "neg", "-1"])

    def test_leading_zeros_are_the_same_number(self):
        assert ClassIndex(("01", "02"), allows_positions=False)(2.0) == 1

    @pytest.mark.parametrize("value", [0.5, Decimal("0.5"), float("inf"), Decimal("NaN")])
    def test_broken_numbers(self, value):
        with pytest.raises(LabelError, match="a class is a name or a whole number"):
            distinct_names(["1", value])


def test_pandas_with_gaps(recipe, tmp_path):
    """A column of whole numbers with a gap is one of floats to pandas, and was then another set of classes."""
    frame = pd.DataFrame(
        {"text": [f"t {i}" for i in range(ROWS + 1)], "label": [*(1 + i % 3 for i in range(ROWS)), None]}
    )
    frame.dropna().to_csv(tmp_path / "train.csv", index=False)
    assert ",1.0" in (tmp_path / "train.csv").read_text()
    validation = written(tmp_path, "validation", "json", [1, 2, 3, 1])
    splits = load_splits(recipe(task=FOUND, data={"train": str(tmp_path / "train.csv"), "validation": validation}))
    assert splits.validation["validation"].labels.tolist() == [0, 1, 2, 0]
