"""What a user may get wrong in files, columns, labels and splits; every mistake is one sentence."""

import gzip
import math

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.data import load_splits, read_texts
from minidisc_ray.data.files import read_file
from minidisc_ray.data.labels import LabelError, distinct_names, regression_value
from minidisc_ray.data.quoting import cut, listed, named, quoted

WANTED = {"text": "text", "label": "label"}
FOUND = {"kind": "classification"}


def shown(call, *arguments, **named):
    with pytest.raises(UserError) as caught:
        call(*arguments, **named)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    return message


def message_file(path, content, wanted=WANTED):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return shown(read_file, path, "data.train", wanted)


class TestSplits:
    def test_tiny_classes_do_not_take_half_of_train(self, recipe):
        rows = [{"text": f"t {i}", "label": f"c{i % 40:02d}"} for i in range(80)]
        config = recipe(train=rows, validation=rows[:50], task=FOUND)
        assert shown(load_splits, config) == (
            "data.selection_fraction: 0.1 of the 80 rows of train, with at least one of each of 40 classes, "
            "would be 40 rows (50%; c00 has 2 in all); merge classes, give more rows, or name a selection file "
            "(data.selection)"
        )
        larger = recipe(train=rows, validation=rows[:50], task=FOUND, data={"selection_fraction": 0.25})
        assert len(load_splits(larger).selection) == 40

    def test_selection_file_makes_tiny_classes_fit(self, recipe, write, tmp_path):
        rows = [{"text": f"t {i}", "label": f"c{i % 40:02d}"} for i in range(80)]
        path = str(write(tmp_path / "choices.jsonl", rows[:60]))
        assert len(load_splits(recipe(rows, rows[:50], task=FOUND, data={"selection": path})).train) == 80

    def test_validation_is_not_train(self, recipe, rows):
        message = shown(load_splits, recipe(rows, rows))
        assert message == (
            "data.validation: validation.jsonl has the same 60 rows as train.jsonl (data.train); "
            "protocol: held_out needs different ones"
        )
        assert len(load_splits(recipe(rows, rows, protocol="paper")).train) == 60

    def test_a_sample_hides_nothing(self, recipe, rows):
        assert shown(load_splits, recipe(rows, rows, data={"max_train_rows": 30})).startswith("data.validation: ")

    @pytest.mark.parametrize(
        ("selection", "start"),
        [
            (slice(0, 60), "data.selection: choices.jsonl has the same 60 rows as train.jsonl (data.train); "),
            (slice(0, 20), "data.validation: validation.jsonl has the same 20 rows as choices.jsonl (data.select"),
        ],
    )
    def test_selection_is_neither_train_nor_validation(self, recipe, rows, write, tmp_path, selection, start):
        path = write(tmp_path / "choices.jsonl", rows[selection])
        assert shown(load_splits, recipe(data={"selection": str(path)})).startswith(start)


class TestColumns:
    @pytest.mark.parametrize(
        ("task", "columns", "message"),
        [
            ({"text": ["label"]}, {}, 'task.text: column "label" is task.label as well; name different columns'),
            ({"text": ["text", "text"]}, {}, 'task.text: column "text" is named twice; name different columns'),
            (
                {},
                {"text": "label"},
                'data.columns: column "label" would be read as both text and label; name different columns',
            ),
        ],
    )
    def test_no_column_is_read_twice(self, recipe, task, columns, message):
        assert shown(load_splits, recipe(task=FOUND | task, data={"columns": columns})) == message

    def test_columns_may_be_swapped(self, recipe):
        rows = [{"text": i % 2, "label": f"t {i}"} for i in range(40)]
        columns = {"text": "label", "label": "text"}
        assert load_splits(recipe(rows, rows[:20], task=FOUND, data={"columns": columns})).task.label_names == (
            "0",
            "1",
        )

    def test_columns_that_differ_by_blanks(self, tmp_path):
        assert message_file(tmp_path / "x.csv", "text, label\na,no\n") == (
            'data.train: column "label" is not in x.csv, which has: "text", " label"; '
            '" label" differs only by spaces; remove them, or use this name'
        )

    @pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t")])
    def test_repeated_header(self, tmp_path, ending, separator):
        lines = [["text", "label", "text"], ["a", "no", "b"]]
        content = "".join(separator.join(cells) + "\n" for cells in lines)
        assert message_file(tmp_path / f"x.{ending}", content) == (
            f'data.train: x.{ending} has 2 columns called "text"; give each column a name of its own'
        )

    def test_repeated_parquet_column(self, tmp_path):
        columns = [pyarrow.array(["a"]), pyarrow.array(["b"]), pyarrow.array(["no"])]
        pyarrow.parquet.write_table(pyarrow.table(columns, names=["text", "text", "label"]), tmp_path / "x.parquet")
        assert shown(read_file, tmp_path / "x.parquet", "data.train", WANTED) == (
            'data.train: x.parquet has 2 columns called "text"; give each column a name of its own'
        )

    def test_empty_names_may_repeat(self, tmp_path):
        (tmp_path / "x.csv").write_text("text,label,,\na,no,,\n")
        assert read_file(tmp_path / "x.csv", "data.train", WANTED).columns == {"text": ["a"], "label": ["no"]}

    def test_long_column_names_are_cut(self, tmp_path):
        assert len(message_file(tmp_path / "x.csv", "a" * 5000 + "\nb\n")) < 200


class TestLabels:
    def test_blanks_do_not_count(self, recipe):
        rows = [{"text": f"t {i}", "label": ("no", "yes ", " no")[i % 3]} for i in range(60)]
        splits = load_splits(recipe(rows, rows[:30], task=FOUND))
        assert splits.task.label_names == ("no", "yes")
        assert np.bincount(splits.validation["validation"].labels).tolist() == [20, 10]

    @pytest.mark.parametrize(
        ("label", "problem"),
        [
            ("a\x07b", r"is 'a\x07b' in row 41 of train.jsonl; the name of a class has no control characters and"),
            ("\ud800", r"is '\ud800' in row 41 of train.jsonl; the name of a class has no control characters and"),
            (-1, "is -1 in row 41 of train.jsonl; -1 marks rows without a label; leave them out, or name the classes"),
            ("-1", "is -1 in row 41 of train.jsonl; -1 marks rows without a label; leave them out, or name the"),
            (0.5, "is 0.5 in row 41 of train.jsonl; a class is a name or a whole number; for values use"),
        ],
    )
    def test_labels_that_no_class_has(self, recipe, label, problem):
        rows = [{"text": f"t {i}", "label": i % 2} for i in range(40)]
        message = shown(load_splits, recipe([*rows, {"text": "last", "label": label}], rows[:20], task=FOUND))
        assert message.startswith(f'data.train: "label" {problem}')

    def test_minus_one_may_be_named(self, recipe):
        rows = [{"text": f"t {i}", "label": (-1, 1)[i % 2]} for i in range(40)]
        named = FOUND | {"label_names": ["-1", "1"]}
        assert load_splits(recipe(rows, rows[:20], task=named)).validation["validation"].labels.tolist() == [0, 1] * 10

    def test_long_labels_are_cut(self, recipe):
        rows = [{"text": f"t {i}", "label": ("no", "yes")[i % 2]} for i in range(40)]
        assert len(shown(load_splits, recipe([*rows, {"text": "t", "label": "x" * 9000}], rows[:20]))) < 250

    def test_row_of_a_broken_label(self):
        with pytest.raises(LabelError) as caught:
            distinct_names(["a", None, "\t"])
        assert caught.value.row == 3

    @pytest.mark.parametrize("label", ["1_000", "\uff11", b"1.5", "1,5", "nan", "inf", ""])
    def test_texts_that_are_no_number(self, label):
        with pytest.raises(LabelError, match="allowed is a finite number"):
            regression_value(label)

    @pytest.mark.parametrize("label", [" ", None, math.nan])
    def test_some_labels_missing(self, recipe, label):
        rows = [{"text": f"t {i}", "label": i % 2} for i in range(40)]
        given = [*rows, {"text": "blank", "label": label}, {"text": "last", "label": label}]
        assert shown(load_splits, recipe(given, rows[:20], task=FOUND)) == (
            'data.train: 2 of 42 rows of train.jsonl have no "label", the first of them row 41; give labels, or leave '
            "such rows out with data.drop_unlabelled=true"
        )

    def test_every_label_missing(self, recipe):
        rows = [{"text": f"t {i}", "label": None} for i in range(40)]
        assert shown(load_splits, recipe(rows, rows[:20], task=FOUND)) == (
            'data.train: "label" is missing in every row of train.jsonl'
        )

    def test_integers_too_large_for_a_float(self, recipe):
        with pytest.raises(LabelError, match="allowed is a finite number"):
            regression_value(10**400)
        rows = [{"text": f"t {i}", "label": i} for i in range(40)]
        message = shown(
            load_splits, recipe([*rows, {"text": "t", "label": 10**400}], rows, task={"kind": "regression"})
        )
        assert message.startswith('data.train: "label" is 1000')
        assert message.endswith("... in row 41 of train.jsonl; allowed is a finite number")


class TestDamage:
    @pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv"])
    def test_corrupt_gzip(self, tmp_path, ending):
        content = bytearray(gzip.compress(np.random.default_rng(0).bytes(3000)))
        content[10:40] = b"\xff" * 30
        message = message_file(tmp_path / f"x.{ending}.gz", bytes(content))
        assert message.startswith(f"data.train: x.{ending}.gz cannot be read as {ending}.gz (")

    def test_parquet_labels_that_no_value_can_hold(self, tmp_path):
        labels = pyarrow.array([2**31 - 1], pyarrow.int32()).cast(pyarrow.date32())  # millions of years ahead
        table = pyarrow.table({"text": pyarrow.array(["a"]), "label": labels})
        pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
        message = shown(read_file, tmp_path / "x.parquet", "data.train", WANTED)
        assert message.startswith("data.train: x.parquet cannot be read as parquet (")

    @pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "jsonl.gz", "parquet"])
    @pytest.mark.parametrize("key", ["train", "validation"])
    @pytest.mark.parametrize("task", [FOUND, FOUND | {"label_names": ["no", "yes"]}, {"kind": "regression"}])
    def test_no_rows(self, recipe, tmp_path, ending, key, task):
        path = tmp_path / f"empty.{ending}"
        if ending == "parquet":
            pd.DataFrame({"text": [], "label": []}).to_parquet(path)
        else:
            path.write_bytes(b"")
        rows = [{"text": f"t {i}", "label": i % 2} for i in range(20)]
        config = recipe(rows, rows[:10], task=task, data={key: str(path)})
        assert shown(load_splits, config) == f"data.{key}: empty.{ending} has no rows"


class TestPaths:
    @pytest.mark.parametrize("key", ["train", "validation", "selection", "folder"])
    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("~nosuchuser/x.csv", "~nosuchuser/x.csv needs the home folder of ~nosuchuser, which does not exist"),
            ("a\0b.csv", r"a\x00b.csv has a zero byte, which no path can have; check the path"),
            ("x" * 300 + ".csv", "x" * 77 + "... cannot be reached (File name too long); check the path"),
            (" ", '" " is empty; give a path'),
        ],
    )
    def test_paths_that_cannot_be(self, recipe, key, path, problem):
        data = {key: path} | ({"train": None} if key == "folder" else {})
        assert shown(load_splits, recipe(data=data)) == f"data.{key}: {problem}"

    def test_link_to_itself(self, recipe, tmp_path):
        loop = tmp_path / "x.csv"
        loop.symlink_to(loop)
        message = shown(load_splits, recipe(data={"train": str(loop)}))
        assert message.startswith("data.train: ")
        assert message.endswith(" cannot be reached (Too many levels of symbolic links); check the path")


class TestTexts:
    def test_a_column_called_value(self, tmp_path, write):
        path = write(tmp_path / "x.jsonl", [{"value": "a"}, {"value": "b"}])
        rows = read_texts(path, ["value"]).rows
        assert (rows.texts, rows.labels.tolist()) == ((["a", "b"],), [0.0, 0.0])

    def test_columns_that_clash(self, tmp_path, write):
        path = write(tmp_path / "x.jsonl", [{"a": "a", "probability": "c"}])
        assert shown(read_texts, path, ["a", "a"]) == 'columns: "a" is named twice; name different columns'
        assert shown(read_texts, path, ["a"], None, ("prediction", "probability")) == (
            'file: x.jsonl has a column "probability", which `minidisc predict` adds; rename it in the file'
        )
        assert read_texts(path, ["a"], None, ("prediction",)).table.columns["probability"] == ["c"]


@pytest.mark.parametrize("key", ["path", "train_split", "validation_split"])
def test_empty_names_on_the_hub(key):
    config = resolve({"task": "mrpc", "data": {"kind": "hub", key: " "}})
    assert shown(load_splits, config).startswith(f"data.{key}: is empty; give the ")


def test_quoting():
    assert quoted("a") == "'a'"
    assert cut("a\nb\x00") == r"a\nb\x00"
    assert len(quoted("x" * 10_000)) == len(cut("\n" * 10_000)) == 80
    assert quoted(b"\xff" * 1000) == "binary data (1,000 bytes)"
    assert [named(name) for name in ("a b", "", " a")] == ["a b", "''", "' a'"]
    assert listed([f"c{place}" for place in range(10_000)]).endswith(", c19 and 9,980 more")
