"""``minidisc importance`` and ``minidisc recommend`` as a user calls them."""

import json
import os
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
        (("importance", "TABLE", "--student", "huge"), "--student: 'huge' has no row"),
        (("importance", "nothing"), "nothing: no such file or folder"),
        (("importance", "TABLE", "--output", "/"), "--output: / is not empty"),
        (("observe", "--to", ""), "--to: empty; give a folder"),
        (("observe", "/", "--to", "/nothing"), "--to: /nothing is in the storage"),
        (("recommend", "nothing.yaml", "--from", "TABLE"), "nothing.yaml"),
        (("recommend", "nothing.yaml", "--from", "TABLE", "--output", "."), "--output: . exists"),
        (("recommend", "task0", "--from", "TABLE", "--output", "OUT"), "only a task's name was given"),
        (("recommend", "nothing", "--from", "TABLE"), "nothing: neither a recipe file nor a task"),
        (("recommend", "task0", "--from", "TABLE", "--without", "tusk1"), "--without: 'tusk1' has no row in the table"),
        # Refused before the table is read, which is not there.
        (("importance", "no.csv", "--output", "TABLE"), "is a file; give a folder"),
        (("importance", "no.csv", "--output", "TABLE/below"), "cannot be written (TABLE is a file)"),
        (("importance", "no.csv", "--output", "s3://bucket/out"), "--output: out would be in a bucket"),
        (("recommend", "rte", "--from", "no.csv", "--output", "TABLE/below"), "cannot be written (TABLE is a file)"),
        (("recommend", "rte", "--from", "no.csv", "--output", "s3://bucket/out"), "would be in a bucket"),
    ],
)
def test_a_mistake_ends_with_2_and_one_sentence(
    arguments: tuple[str, ...], sentence: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"TABLE": str(table), "OUT": str(table.parent / "out")}

    def filled(text: str) -> str:
        for word, place in places.items():
            text = text.replace(word, place)
        return text

    assert _run(*map(filled, arguments)) == 2
    error = capsys.readouterr().err
    assert filled(sentence) in error
    assert not (table.parent / "out").exists()
    assert error.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o555)
    assert _run("importance", "no.csv", "--output", str(tmp_path / "out")) == 2
    assert "is read-only for you" in capsys.readouterr().err


def test_a_tasks_name_is_enough(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("recommend", "task0", "--from", str(table), "--top", "2", "--student", "small", "--format", "json")
    assert _run(*given) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["student"], row["teacher"]) for row in records] == [("task0", "small", "teacher")] * 2
    assert [(row["run"], row["tflops"]) for row in records] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("importance.component_importance.decompose", ("importance", "TABLE")),
        ("prediction.predictor.Predictor.fit", ("recommend", "task0", "--from", "TABLE")),
    ],
)
def test_ctrl_c_while_it_computes_is_one_sentence(
    place: str,
    arguments: tuple[str, ...],
    table: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"minidisc_ray.autodistiller.{place}", stopped)
    assert _run(*(str(table) if one == "TABLE" else one for one in arguments)) == 130
    assert capsys.readouterr().err == "minidisc: stopped; nothing was written\n"


def test_ctrl_c_while_it_writes_says_what_may_be_missing(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("minidisc_ray.reports.importance.files.importance_figure", stopped)
    out = tmp_path / "out"
    assert _run("importance", str(table), "--output", str(out)) == 130
    assert capsys.readouterr().err == (
        f"minidisc: stopped; {out} may lack files; remove it, and run the same command again\n"
    )
