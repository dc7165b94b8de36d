"""``minidisc importance`` and ``minidisc recommend`` as a user calls them."""

import json
from pathlib import Path

import pytest
from autodistiller_kit import observations

from minidisc_ray.cli import main


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    observations(tasks=3).to_parquet(path)
    return path


def test_importance_prints_json_and_writes_its_files(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("importance", str(table), "--format", "json", "--output", str(tmp_path / "out")) == 0
    records = json.loads(capsys.readouterr().out)
    assert {"task", "component", "share", "low", "high"} <= set(records[0])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "importance.csv", "importance.png", "importance.svg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("importance", "nothing.parquet"), "no such file"),
        (("importance", "TABLE", "--student", "huge"), "--student: huge has no row"),
        (("importance", "nothing"), "nothing: no such file or folder"),
        (("importance", "TABLE", "--output", "/"), "--output: / is not empty"),
        (("observe", "--to", ""), "--to: give a folder of the table's own"),
        (("observe", "/", "--to", "/nothing"), "--to: /nothing is in the storage"),
        (("recommend", "nothing.yaml", "--from", "TABLE"), "nothing.yaml"),
        (("recommend", "nothing.yaml", "--from", "TABLE", "--output", "."), "--output: . exists"),
    ],
)
def test_a_mistake_ends_with_2_and_one_sentence(
    arguments: tuple[str, ...], sentence: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*(str(table) if one == "TABLE" else one for one in arguments)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
