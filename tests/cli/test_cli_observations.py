"""observe and features: what a user types, and what is printed."""

import json

import pytest
from cli_kit import write_recipe
from observe_kit import public_folder, write_run


def test_runs_are_observed_once(minidisc, tmp_path):
    runs, table = tmp_path / "runs", tmp_path / "table"
    write_run(runs, 0.84)
    unfinished = write_run(runs, 0.85, ("seed=1",))
    (unfinished / "result.json").unlink()
    lines = minidisc.well("observe", runs, "--to", table).splitlines()
    assert lines == [
        f"added 1 run to {table}",
        f"left out, not finished: {unfinished.name}",
        "no ratio of equation 2 for 1: the table has no fine-tuned student of the same size (a run with objective.kind "
        "labels and schedule.kind conventional)",
        "no dataset features for 1: --features adds them where rows can be read",
        f"{table} now has 1 observation of 1 task",
    ]
    assert minidisc.well("observe", "--storage", runs, "--to", table).startswith(
        f"added 0 runs to {table}; 1 known already\n"
    )


def test_features_that_cannot_be_computed_are_named(minidisc, tmp_path):
    run = write_run(tmp_path / "runs", 0.84)
    out = minidisc.well("observe", tmp_path / "runs", "--to", tmp_path / "table", "--features")
    assert f"no dataset features for {run.name}: data.folder" in out


def test_a_damaged_run_is_left_out_and_the_command_fails(minidisc, tmp_path):
    write_run(tmp_path / "runs", 0.84)
    damaged = write_run(tmp_path / "runs", 0.85, ("seed=1",))
    (damaged / "result.json").write_text("{")
    done = minidisc("observe", tmp_path / "runs", "--to", tmp_path / "table")
    assert done.code == 1
    assert f"left out, damaged: {damaged.name}" in done.out
    assert "now has 1 observation of 1 task" in done.out
    assert done.err.startswith(f"minidisc: {damaged.name} is left out: ")


def test_what_was_published_is_added(minidisc, tmp_path):
    table = tmp_path / "table"
    lines = minidisc.well("observe", "--public", public_folder(), "--to", table).splitlines()
    assert lines[0] == f"added 1,239 published observations to {table}"
    assert lines[-1] == f"{table} now has 1,239 observations of 8 tasks"
    assert "no ratio of equation 2 for 289: the score of the fine-tuned student was not published" in lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("runs", "--public", "x"), "--public: the published observations have features and come from no storage"),
        (("runs", "--vectors", "x"), "--vectors: these are for dataset features; add --features"),
        (("none",), "none is not a folder that can be read"),
        ((), "storage: there is no minidisc-runs here"),
        (("--public", "none"), "cannot be read"),
        (("runs", "--to", "file"), "file is a file; give a folder"),
    ],
)
def test_mistakes_are_sentences(minidisc, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    write_run(tmp_path / "runs", 0.84)
    assert sentence in minidisc("observe", *arguments).sentence


def test_features_of_a_recipe_are_shown(minidisc, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.yaml", tmp_path / "runs")
    out = minidisc.well("features", recipe)
    assert "builtin negative positive" in out
    assert "Bi-LSTM's accuracy" in out
    found = json.loads(
        minidisc.well("features", recipe, "--no-baseline", "--format", "json", "--set", "task.description=Good or bad?")
    )
    assert (found["task"], found["description"], found["baseline_score"]) == ("builtin", "Good or bad?", None)
    assert len(found["values"]) == 64
    assert not (tmp_path / "runs").exists()


def test_a_bad_file_of_vectors_is_a_sentence(minidisc, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.yaml", tmp_path / "runs")
    (tmp_path / "glove.txt").write_text("good 1 2\nfilm 1\n")
    done = minidisc("features", recipe, "--vectors", tmp_path / "glove.txt")
    assert "line 2 of" in done.sentence


def test_vectors_that_are_not_there_are_noticed_before_anything_is_read(minidisc, tmp_path):
    rows = {"kind": "files", "train": str(tmp_path / "none.jsonl"), "validation": str(tmp_path / "none.jsonl")}
    recipe = write_recipe(
        tmp_path / "r.yaml",
        tmp_path / "runs",
        task={"kind": "classification"},
        data=rows,
        student={"scale_percent": 20},
    )
    nowhere = tmp_path / "nowhere"
    assert f"vectors: {nowhere} cannot be read" in minidisc("features", recipe, "--vectors", nowhere).sentence
    write_run(tmp_path / "runs", 0.84)
    given = ("observe", tmp_path / "runs", "--to", tmp_path / "table", "--features", "--vectors", nowhere)
    assert f"vectors: {nowhere} cannot be read" in minidisc(*given).sentence
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize("description", ["?!", "...", "- -"])
def test_a_description_has_a_word(minidisc, tmp_path, description):
    recipe = write_recipe(tmp_path / "tiny.yaml", tmp_path / "runs")
    done = minidisc("features", recipe, "--set", f"task.description='{description}'")
    assert done.sentence == f"task.description: '{description}' has no word; write what the task is, or leave it out"
