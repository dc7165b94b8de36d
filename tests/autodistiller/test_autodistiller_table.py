"""The table of observations: what is written comes back, however often it was added."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from bucket_kit import another_node, bucket_at, names
from observe_kit import observation, public_folder

from minidisc_ray.autodistiller.tables.frame import COLUMNS, SCHEMA_VERSION
from minidisc_ray.autodistiller.tables.observation import VERSION_KEY, arrow_schema, arrow_table
from minidisc_ray.autodistiller.tables.observe import observe_public
from minidisc_ray.autodistiller.tables.published import read_published
from minidisc_ray.autodistiller.tables.reading import read_table
from minidisc_ray.autodistiller.tables.table import ObservationTable, read_frame
from minidisc_ray.configs import UserError


def test_an_observation_comes_back_whole(tmp_path):
    full = observation(
        "a",
        intermediate_loss="mi_alpha",
        alpha=0.5,
        mixup=True,
        seed=3,
        num_labels=2,
        features=(0.1, 1 / 3),
        feature_space="glove-1",
        training_tflops=1.5,
        device_unit="core-hours",
    )
    table = ObservationTable(tmp_path / "table")
    table.add([full, observation("b")])
    assert ObservationTable(tmp_path / "table").observations() == [full, observation("b")]


def test_every_column_of_the_frame_is_stored():
    assert set(COLUMNS) <= set(arrow_schema().names)


def test_every_column_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "autodistiller.md").read_text(encoding="utf-8")
    missing = [name for name in arrow_schema().names if f"`{name}`" not in page]
    assert not missing


def test_the_frame_has_the_features_of_one_space(tmp_path):
    table = ObservationTable(tmp_path)
    table.add(
        [
            observation("a", task="one", features=(1.0, 2.0), feature_space="x"),
            observation("b", task="two", features=(3.0, 4.0), feature_space="x"),
            observation("c", task="two", features=(5.0,), feature_space="y"),
        ]
    )
    frame = read_frame(tmp_path)
    assert frame["feature_001"].tolist()[:2] == [2.0, 4.0]
    assert frame.loc[2, ["feature_000", "feature_001"]].isna().all()
    assert read_frame(tmp_path, "y")["feature_000"].tolist()[2:] == [5.0]
    with pytest.raises(UserError, match=r"no dataset features of z in .*, which has: x, y"):
        read_frame(tmp_path, "z")


def test_of_a_run_added_twice_the_row_with_features_is_kept(tmp_path):
    bare, whole = observation("a"), observation("a", features=(1.0,), feature_space="x")
    for rows in ([bare], [whole], [replace(bare, run="later")]):
        ObservationTable(tmp_path).add(rows)
    assert ObservationTable(tmp_path).observations() == [whole]
    assert len(list(tmp_path.iterdir())) == 3


def test_the_ratio_is_of_equation_2(tmp_path):
    ObservationTable(tmp_path).add(
        [
            observation("a", score=0.8),
            observation("b", score=0.6),
            observation("c", score=0.8, teacher_score=0.65),
            observation("d", score=0.8, comparable="c2"),
            observation("e", score=0.8, metric="accuracy"),
            observation("fine-tuned 0", score=0.65, is_finetuned=True),
            observation("fine-tuned 1", score=0.75, is_finetuned=True),
        ]
    )
    found = {one.key: one.ratio for one in ObservationTable(tmp_path).observations()}
    # The fine-tuned student scores 0.7 on average, the teacher 0.9.
    assert found["a"] == pytest.approx(0.5)
    assert found["b"] == pytest.approx(-0.5)
    assert [found[key] for key in "cde"] == [None, None, None]
    assert read_frame(tmp_path)["ratio"].isna().tolist() == [False, False, True, True, True, False, False]


_ADD = """
import sys, time
from pathlib import Path
from minidisc_ray.autodistiller.tables.observation import Observation
from minidisc_ray.autodistiller.tables.table import ObservationTable
which = sys.argv[2]
Path(sys.argv[1], which).touch()
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
for number in range(20):
    key = f"{which}-{number}" if number % 2 else f"both-{number}"
    texts = {name: key for name in ("key", "source", "run", "task", "student", "teacher")}
    ObservationTable(Path(sys.argv[1], "table")).add([Observation(**texts, score=0.8, ratio_to_teacher=0.9)])
"""


def test_two_processes_lose_nothing(tmp_path):
    command = [sys.executable, "-c", _ADD, str(tmp_path)]
    with subprocess.Popen([*command, "one"]) as one, subprocess.Popen([*command, "two"]) as two:
        while not ((tmp_path / "one").exists() and (tmp_path / "two").exists()):
            assert one.poll() is None
            assert two.poll() is None
        (tmp_path / "go").touch()
    assert (one.returncode, two.returncode) == (0, 0)
    wanted = {f"{which}-{number}" for which in ("one", "two") for number in range(1, 20, 2)}
    wanted |= {f"both-{number}" for number in range(0, 20, 2)}
    assert {found.key for found in ObservationTable(tmp_path / "table").observations()} == wanted
    assert not list((tmp_path / "table").glob(".*"))


def test_a_bucket_holds_a_table(bucket, tmp_path, monkeypatch):
    ObservationTable(bucket).add([observation("a")])
    another_node(tmp_path, monkeypatch)
    other = ObservationTable(bucket)
    assert [one.key for one in other.observations()] == ["a"]
    other.add([observation("b")])
    assert len(names(bucket)) == 2
    assert [one.key for one in ObservationTable(bucket).observations()] == ["a", "b"]


def test_a_file_that_was_not_sent_is_sent_by_the_next_reader(bucket):
    table = ObservationTable(bucket)
    table.add([observation("a")])
    (name,) = names(bucket)
    bucket_at(bucket).remove(name)
    assert names(bucket) == []
    assert [one.key for one in ObservationTable(bucket).observations()] == ["a"]
    assert names(bucket) == [name]


def _part(folder: Path) -> Path:
    ObservationTable(folder).add([observation("a")])
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_changed_byte_is_refused(tmp_path, place):
    path = _part(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path.name}: damaged .* remove it and observe again"):
        ObservationTable(tmp_path).observations()


def test_half_of_a_file_is_refused(tmp_path):
    path = _part(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=rf"{path.name}: damaged"):
        ObservationTable(tmp_path).observations()


def _write_as_whole(folder: Path, content: bytes) -> None:
    name = f"observations-{hashlib.sha256(content).hexdigest()[:32]}.parquet"
    (folder / name).write_bytes(content)


def _parquet(table: pyarrow.Table) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_a_newer_version_is_refused_in_a_sentence(tmp_path):
    newer = arrow_table([observation("a")]).append_column("new", pyarrow.array(["x"]))
    _write_as_whole(tmp_path, _parquet(newer.replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION + 1)})))
    with pytest.raises(UserError, match=r"newer release wrote it \(schema version 2, this one reads 1\); read it with"):
        ObservationTable(tmp_path).observations()


def test_a_version_that_never_was_is_no_reason_for_another_release(tmp_path):
    part = arrow_table([observation("a")]).replace_schema_metadata({VERSION_KEY: b"0"})
    _write_as_whole(tmp_path, _parquet(part))
    with pytest.raises(UserError, match=r"not a table of observations \(its schema version is 0\); remove it"):
        ObservationTable(tmp_path).observations()


def test_other_content_is_refused(tmp_path):
    _write_as_whole(tmp_path, b"not parquet at all")
    with pytest.raises(UserError, match=r"cannot be read \(.*\); remove it and observe again"):
        ObservationTable(tmp_path).observations()


def test_other_columns_are_refused(tmp_path):
    other = pyarrow.table({"x": [1]}).replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION)})
    _write_as_whole(tmp_path, _parquet(other))
    with pytest.raises(UserError, match="not a table of observations"):
        ObservationTable(tmp_path).observations()


def test_mistakes_are_sentences(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; give a folder"):
        ObservationTable(tmp_path / "file")
    with pytest.raises(UserError, match="ftp:// is not supported"):
        ObservationTable("ftp://somewhere/table")
    with pytest.raises(UserError, match=r"there are no observations in .*; `minidisc observe` adds them"):
        read_frame(tmp_path / "none")


def test_what_was_published_comes_back_as_it_is(tmp_path):
    folder = public_folder()
    observed = observe_public(folder, tmp_path / "table")
    assert (len(observed.added), observed.num_observations, observed.num_tasks) == (1239, 1239, 8)
    assert not observe_public(folder, tmp_path / "table").added
    pd.testing.assert_frame_equal(read_frame(tmp_path / "table"), read_published(folder))
    assert {one.feature_space for one in ObservationTable(tmp_path / "table").observations()} == {"glove-50"}


def test_published_rows_and_runs_share_one_schema(tmp_path):
    observe_public(public_folder(), tmp_path)
    ObservationTable(tmp_path).add([observation("a")])
    frame = read_frame(tmp_path)
    assert len(frame) == 1240
    assert frame["source"].value_counts().to_dict() == {"public": 1239, "run": 1}


def test_the_tables_folder_is_read_where_a_table_is_asked_for(tmp_path):
    ObservationTable(tmp_path / "table").add([observation("a")])
    pd.testing.assert_frame_equal(read_table(tmp_path / "table"), read_frame(tmp_path / "table"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no observations in"):
        read_table(tmp_path / "empty")
