"""The table of observations: what is checked, and how the published one is read."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from autodistiller_kit import observations

from minidisc_ray.autodistiller.tables.frame import (
    COLUMNS,
    SCHEMA_VERSION,
    checked_frame,
    configuration_keys,
    feature_name,
)
from minidisc_ray.autodistiller.tables.published import read_published
from minidisc_ray.autodistiller.tables.reading import read_table, read_tables
from minidisc_ray.autodistiller.tables.tabular import MAX_ROWS
from minidisc_ray.configs.base import UserError

PUBLISHED = Path(os.environ.get("MINIDISC_DATA", "/nowhere")) / "autodistiller"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MINIDISC_DATA has no autodistiller folder")


def test_a_table_survives_parquet_and_csv(tmp_path: Path) -> None:
    frame = observations()
    frame.to_parquet(tmp_path / "table.parquet")
    frame.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet"), frame)
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), frame)
    assert len(read_tables([tmp_path / "table.csv", tmp_path / "table.parquet"])) == len(frame), "the same rows"


def test_flags_and_columns_have_one_type_each() -> None:
    frame = checked_frame(observations().astype({"mixup": object}).assign(mixup="TRUE"), "table")
    assert list(frame.columns) == list(COLUMNS)
    assert frame["mixup"].dtype == "boolean"
    assert frame["mixup"].all()
    assert frame["alpha"].dtype == np.float64


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.assign(lr=0.1), "unknown column 'lr'"),
        (lambda frame: frame.drop(columns="teacher"), "lacks the column 'teacher'"),
        (lambda frame: frame.assign(schema_version=SCHEMA_VERSION + 1), "a newer release wrote it"),
        (lambda frame: frame.assign(schema_version=0), "schema_version is 0 in row 1 of 96, which takes whole numbers"),
        (lambda frame: frame.assign(schema_version=-1), "schema_version is -1 in row 1"),
        (lambda frame: frame.assign(schema_version=0.5), "schema_version is 0.5 in row 1"),
        (lambda frame: frame.assign(num_examples=-3), "num_examples is -3 in row 1 of 96, which takes numbers above 0"),
        (lambda frame: frame.assign(batch_size=0), "batch_size is 0 in row 1"),
        (lambda frame: frame.assign(learning_rate=0.0), "learning_rate is 0 in row 1"),
        (lambda frame: frame.assign(num_epochs=-1), "num_epochs is -1 in row 1"),
        (lambda frame: frame.assign(student_parameters=0), "student_parameters is 0 in row 1"),
        (lambda frame: frame.assign(score=np.nan), "score is missing in row 1"),
        (lambda frame: frame.assign(alpha="high"), "alpha has a cell that is not a number"),
        (lambda frame: frame.assign(score=np.inf), r"score has a cell beyond 1e\+100"),
        (lambda frame: frame.assign(ratio_to_teacher=-1e308), r"ratio_to_teacher has a cell beyond 1e\+100"),
        (lambda frame: frame.assign(score="1" + "0" * 400), "score has a cell"),
        (lambda frame: frame.assign(student=[["a", "b"]] * len(frame)), "student has a cell that is a list"),
        (lambda frame: frame.assign(mixup="perhaps"), "mixup is 'perhaps' in a row"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(change: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        checked_frame(change(observations()), "table")  # type: ignore[operator]


@pytest.mark.parametrize("name", ["missing.parquet", "table.txt", "broken.parquet", "folder"])
def test_a_file_that_is_no_table_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=name):
        read_table(tmp_path / name)


def test_a_table_of_more_rows_than_memory_holds_is_refused_at_once(tmp_path: Path) -> None:
    rows = pa.table({"task": pa.DictionaryArray.from_arrays(pa.array(np.zeros(MAX_ROWS + 1, np.int8)), ["a"])})
    pq.write_table(rows, tmp_path / "bomb.parquet")
    with pytest.raises(UserError, match="has more than 2,000,000 rows"):
        read_table(tmp_path / "bomb.parquet")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_table(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"table\.csv: cannot be read as a table \(not a regular file\)$"):
        read_table(path)


@needs_published
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("dataset_features_50_concat.csv", "task,", "tusk,"),
        ("student_baseline.csv", "task,Model", "task,Name"),
        ("teacher_baseline.csv", "task,model", "task,name"),
        ("auto_distiller_tabular_data.csv", "0.83681737", "abc"),
        ("auto_distiller_tabular_data.csv", "56.2,0,0,0", "56.2,abc,0,0"),
    ],
)
def test_published_files_that_were_changed_are_one_sentence(tmp_path: Path, name: str, before: str, after: str) -> None:
    for path in PUBLISHED.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = (tmp_path / name).read_bytes().replace(before.encode(), after.encode(), 1)
    (tmp_path / name).write_bytes(changed)
    with pytest.raises(UserError, match=str(tmp_path)) as caught:
        read_published(tmp_path)
    assert "\n" not in str(caught.value)


def test_rows_that_repeat_a_configuration_share_a_key() -> None:
    frame = observations()
    keys = configuration_keys(pd.concat([frame, frame], ignore_index=True)).to_numpy()
    assert (keys[: len(frame)] == keys[len(frame) :]).all()
    assert len(set(keys)) == len(frame)


@needs_published
def test_the_published_table_is_read_as_it_was_counted() -> None:
    frame = read_published(PUBLISHED)
    assert len(frame) == 1239
    assert frame["task"].nunique() == 8
    assert configuration_keys(frame).duplicated(keep=False).sum() == 267
    assert frame["mixup"].sum() == 470
    num_labels = frame.groupby("task")["num_labels"].unique().map(list)
    assert num_labels.to_dict() == {task: [2.0] for task in num_labels.index} | {"mnli": [3.0], "stsb": [1.0]}
    # alpha belongs to MI-alpha alone.
    assert frame["alpha"].notna().sum() == (frame["intermediate_loss"] == "mi_alpha").sum() == 875
    assert frame.loc[frame["augmentation"] == "none", "augmentation_share"].isna().all()
    assert set(frame["augmentation"]) >= {"none", "random+contextual", "backtranslation+random"}


@needs_published
def test_published_scores_are_shares_and_ratios_follow_from_them() -> None:
    frame = read_published(PUBLISHED)
    implied = frame["score"] / frame["teacher_score"]
    assert implied.to_numpy() == pytest.approx(frame["ratio_to_teacher"].to_numpy(), abs=2e-3)
    # Equation 2 by hand: TinyBERT4 alone has 85.9 on QNLI, its teacher 90.9.
    row = frame[(frame["task"] == "qnli") & (frame["student"] == "TinyBERT4")].iloc[0]
    assert row["ratio"] == pytest.approx((row["score"] - 0.859) / (0.909 - 0.859), abs=0.01)
    # On RTE the student alone is above this teacher.
    is_rte = (frame["task"] == "rte") & (frame["teacher"] == "BERT_BASE")
    assert frame.loc[is_rte, "ratio"].isna().all()


def test_a_row_of_two_tables_counts_once_and_repeats_of_one_table_stay(tmp_path):
    frame = observations(tasks=2)
    repeated = pd.concat([frame, frame.iloc[:3]], ignore_index=True)
    frame.to_parquet(tmp_path / "first.parquet")
    repeated.assign(source="copy").to_parquet(tmp_path / "second.parquet")
    assert len(read_tables([tmp_path / "first.parquet"] * 2)) == len(frame)
    assert len(read_tables([tmp_path / "first.parquet", tmp_path / "second.parquet"])) == len(repeated)


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("score", 84.5, "score is 84.5 in row 1 of 72, which takes shares from -1 to 1"),
        ("ratio_to_teacher", 1e99, "ratio_to_teacher is 1e+99 in row 1 of 72, which takes ratios up to 10,000"),
        ("num_labels", 0.5, "num_labels is 0.5 in row 1 of 72, which takes whole numbers from 1"),
        ("num_labels", 0, "num_labels is 0 in row 1 of 72"),
        ("scale_percent", -5, "scale_percent is -5 in row 1 of 72, which takes percents from 1 to 100"),
        ("score", pd.Timestamp("2026-01-01"), "score has cells of type datetime64"),
        ("score", True, "score has cells of type bool, not numbers"),
        ("task", b"sst2", "task has a cell of bytes; write texts"),
        ("mixup", [True, False], "mixup has a cell that is a list; use true or false"),
    ],
)
def test_a_cell_that_no_distillation_has_is_refused(column, value, allowed):
    frame = observations(tasks=3)
    frame[column] = pd.Series([value] * len(frame))
    with pytest.raises(UserError, match=re.escape(allowed)):
        checked_frame(frame, "table")


def test_a_table_with_a_hundred_thousand_features_is_refused():
    wide = pd.DataFrame(np.zeros((1, 100_000)), columns=[feature_name(place) for place in range(100_000)])
    with pytest.raises(UserError, match="has 100,000 dataset features, more than 20,000; drop some"):
        checked_frame(pd.concat([observations(tasks=2).iloc[:1], wide], axis=1), "table")


def test_what_pandas_noted_of_an_index_is_not_read(tmp_path):
    table = pa.Table.from_pandas(observations(tasks=2)).replace_schema_metadata({b"pandas": b"{}"})
    pq.write_table(table, tmp_path / "table.parquet")
    assert len(read_table(tmp_path / "table.parquet")) == len(observations(tasks=2))
