import gzip

import pandas as pd
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.files import read_file
from minidisc_ray.data.table import to_rows
from minidisc_ray.data.tasks import resolve_task

WANTED = {"text": "text", "label": "label"}


@pytest.fixture
def task(recipe):
    return resolve_task(recipe().task)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet"])
@pytest.mark.parametrize("numbers", [False, True])
def test_every_format_gives_the_same_rows(tmp_path, rows, write, task, ending, numbers):
    reference = to_rows(read_file(write(tmp_path / "reference.jsonl", rows), "data.train", WANTED), task)
    if numbers:
        rows = [row | {"label": task.label_names.index(row["label"])} for row in rows]
    path = tmp_path / f"train.{ending}"
    frame = pd.DataFrame(rows)
    if "jsonl" in ending:
        write(path, rows)
    elif ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in ending else ",")
    quoting = "csv" if "tsv" in ending else None  # pandas writes TSV as CSV with another separator
    read = to_rows(read_file(path, "data.train", WANTED, quoting), task)
    assert read.texts == reference.texts
    assert read.digest() == reference.digest()
    assert read.texts[0][3] == 'row 3, with "quotes" and a comma: NA 9'


def sentence(path, wanted=WANTED, task=None):
    def read():
        table = read_file(path, "data.train", wanted)
        return table if task is None else to_rows(table, task)

    with pytest.raises(UserError) as caught:
        read()
    return str(caught.value)


def test_missing_file(tmp_path):
    path = tmp_path / "train.jsonl"
    assert sentence(path) == f"data.train: there is no file {path}; check the path"


def test_unknown_format(tmp_path):
    assert sentence(tmp_path / "train.xlsx") == (
        "data.train: train.xlsx is not of a known format; allowed endings are "
        ".jsonl, .jsonl.gz, .csv, .csv.gz, .tsv, .tsv.gz, .parquet"
    )


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_missing_column(tmp_path, rows, write, ending):
    path = tmp_path / f"train.{ending}"
    frame = pd.DataFrame(rows)
    if ending == "jsonl":
        write(path, rows)
    elif ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    assert sentence(path, {"sentence2": "sentence2"}) == (
        f'data.train: column "sentence2" is not in train.{ending}, which has: text, label, idx'
    )


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "csv.gz", "parquet"])
def test_damaged_file_is_one_sentence(tmp_path, ending):
    path = tmp_path / f"train.{ending}"
    path.write_bytes(b"\xff\xfe\x00 broken \x80\n" * 20)
    message = sentence(path)
    assert message.startswith(f"data.train: train.{ending} cannot be read as {ending} (")
    assert "\n" not in message


def test_gzip_cut_short(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": "no"}\n' * 1000)[:-20])
    assert "cannot be read as jsonl.gz" in sentence(path)


def test_broken_json_line_is_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "a", "label": "no"}\n\n{"text": \n')
    assert sentence(path) == "data.train: line 3 of train.jsonl is not a JSON object; write one row a line"


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_empty_file(tmp_path, task, content):
    path = tmp_path / "train.csv"
    path.write_text(content)
    assert sentence(path, task=task) == "data.train: train.csv has no rows"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": None, "label": "no"}, '"text" is missing in row 2 of train.jsonl; every row needs a text'),
        ({"label": "no"}, '"text" is missing in row 2 of train.jsonl; every row needs a text'),
        ({"text": 7, "label": "no"}, '"text" is 7, not a text in row 2 of train.jsonl; every row needs a text'),
        ({"text": "\ud800", "label": "no"}, '"text" is not valid Unicode in row 2 of train.jsonl'),
        (
            {"text": "a", "label": None},
            '"label" is missing in row 2 of train.jsonl; allowed: no, yes, or a number from 0 to 1',
        ),
        (
            {"text": "a", "label": 2},
            '"label" is 2 in row 2 of train.jsonl; allowed: no, yes, or a number from 0 to 1',
        ),
        (
            {"text": "a", "label": -1},
            '"label" is -1 in row 2 of train.jsonl; allowed: no, yes, or a number from 0 to 1',
        ),
        (
            {"text": "a", "label": "maybe"},
            "\"label\" is 'maybe' in row 2 of train.jsonl; allowed: no, yes, or a number from 0 to 1",
        ),
        (
            {"text": "a", "label": 0.5},
            '"label" is 0.5 in row 2 of train.jsonl; allowed: no, yes, or a number from 0 to 1',
        ),
    ],
)
def test_bad_rows_are_named(tmp_path, write, task, row, problem):
    path = write(tmp_path / "train.jsonl", [{"text": "fine", "label": "yes"}, row])
    assert sentence(path, task=task) == f"data.train: {problem}"


def test_empty_cell_is_missing(tmp_path, task):
    path = tmp_path / "train.csv"
    path.write_text("text,label\nNA,no\n,yes\n")
    assert sentence(path, task=task) == 'data.train: "text" is missing in row 2 of train.csv; every row needs a text'


def test_numeric_names_mean_the_same_as_text_and_as_number(tmp_path, write):
    from minidisc_ray.configs.task import ClassificationTaskConfig

    task = resolve_task(ClassificationTaskConfig(label_names=("1", "2")))
    for label in (2, "2", 2.0):
        table = read_file(write(tmp_path / "a.jsonl", [{"text": "a", "label": label}]), "data.train", WANTED)
        assert to_rows(table, task).labels.tolist() == [1]
