"""Predictions in each format hold what the file had, and the reader of that format reads it back."""

import datetime
import json
from pathlib import Path

import pandas as pd
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.files import read_file
from minidisc_ray.inference.prediction_files import check_output, json_lines, prediction_bytes

ROWS = {
    "id": [7, None],
    "text": ['a "good", long\nfilm', "=not bad\r"],
    "tags": [["a", "b"], {"c": 1.5}],
    "prediction": ["yes", "no"],
    "probability": [0.75, 0.625],
}
PLAIN = {**ROWS, "text": ['a "good" film', "  not bad"]}


def frame(columns) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype=object)


def read_back(folder: Path, ending: str, columns, quoting=None) -> dict[str, list]:
    path = folder / f"out{ending}"
    path.write_bytes(prediction_bytes(frame(columns), ending))
    return read_file(path, "file", {}, quoting, with_others=True).columns


def test_json_lines_hold_every_value(tmp_path):
    assert read_back(tmp_path, ".jsonl", ROWS) == ROWS


def test_parquet_holds_every_value(tmp_path):
    columns = {**ROWS, "tags": [["a"], ["b", "c"]], "at": [datetime.datetime(2024, 5, 1), None]}
    assert read_back(tmp_path, ".parquet", columns) == columns


@pytest.mark.parametrize(("ending", "columns"), [(".csv", ROWS), (".tsv", PLAIN)])
def test_delimited_files_hold_every_text(tmp_path, ending, columns):
    expected = {
        **columns,
        "id": ["7", None],
        "tags": ['["a", "b"]', '{"c": 1.5}'],
        "probability": ["0.75", "0.625"],
    }
    assert read_back(tmp_path, ending, columns) == expected


def test_a_csv_is_read_by_pandas_alike(tmp_path):
    (tmp_path / "out.csv").write_bytes(prediction_bytes(frame(ROWS), ".csv"))
    assert pd.read_csv(tmp_path / "out.csv")["text"].tolist() == ROWS["text"]


def test_what_a_format_cannot_hold_is_refused():
    with pytest.raises(UserError, match=r'"text" has a tab or a line end in row 1, which TSV cannot hold; use \.csv'):
        prediction_bytes(frame(ROWS), ".tsv")
    with pytest.raises(UserError, match=r"\.parquet cannot hold this file's columns \(.*\); use \.jsonl"):
        prediction_bytes(frame({"text": ["a", 1]}), ".parquet")
    with pytest.raises(UserError, match=r"out\.xlsx is not of a known format; allowed endings are \.jsonl, \.csv"):
        check_output(Path("out.xlsx"))
    check_output(Path("OUT.CSV"))


def test_json_has_what_json_lacks_as_text():
    lines = json_lines(frame({"at": [datetime.date(2024, 5, 1)], "value": [float("nan")], "bad": ["\ud800"]}))
    assert json.loads(lines) == {"at": "2024-05-01", "value": None, "bad": "\ud800"}
    assert lines.encode().isascii()


def test_binary_cells_are_text_and_errors_of_arrow_are_words(tmp_path):
    columns = {"text": ["good"], "key": ["caf\u00e9".encode()], "rest": [b"a\xff"], "keys": [[b"x"]]}
    assert json.loads(json_lines(frame(columns))) == {
        "text": "good",
        "key": "caf\u00e9",
        "rest": "a\\xff",
        "keys": ["x"],
    }
    assert prediction_bytes(frame(columns), ".csv").decode().splitlines()[1] == 'good,caf\u00e9,a\\xff,"[""x""]"'
    with pytest.raises(UserError) as caught:
        prediction_bytes(frame({"text": ["a", 1]}), ".parquet")
    assert "((" not in str(caught.value)
    assert "('" not in str(caught.value)
