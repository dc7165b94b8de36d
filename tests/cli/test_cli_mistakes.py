import json
import re

import pytest
from cli_kit import write_recipe, write_rows, write_teacher

from minidisc_ray.api import plan as check
from minidisc_ray.cli.app import app
from minidisc_ray.pipeline.run_directory import open_run


@pytest.fixture(params=["plan", "run"])
def command(request):
    """Both refuse before anything starts, in the same words."""
    return request.param


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path / "tiny.yaml", tmp_path / "storage")


def own_task(tmp_path, teacher=None, **changes):
    """A recipe for files of one's own, with a teacher of one's own."""
    train, validation = write_rows(tmp_path / "train.jsonl", 40), write_rows(tmp_path / "validation.jsonl", 20)
    parts = {
        "task": {"kind": "classification"},
        "data": {"kind": "files", "train": str(train), "validation": str(validation)},
        "teacher": {
            "kind": "pretrained",
            "path": str(teacher or write_teacher(tmp_path / "teacher")),
            "allow_at_chance": True,
        },
        "student": {"scale_percent": 20},
    }
    return write_recipe(tmp_path / "own.yaml", tmp_path / "storage", **{**parts, **changes})


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "schedule.tusk=3",
            "schedule.tusk: unknown key; allowed here: chain, in_place, kind, num_assistants, num_sampled, residual",
        ),
        ("tusk=3", "tusk: unknown key; allowed here: compute, data"),
        ("schedule.kind=tusk", "schedule.kind: tusk is not a kind; use "),
        (
            "schedule.scales.values=[60, 10]",
            "schedule.scales: 10 is not strictly between the student's own scale of 10 percent",
        ),
        ("schedule.scales.values=[100, 60]", "schedule.scales: 100 is not strictly between"),
        ("student.scale_percent=0", "student.scale_percent: 0 is not allowed"),
        ("student.scale_percent=5", "student.scale_percent: at 5 percent no attention head is left"),
        ("distil.num_epochs=none", "distil.num_epochs: 'none' is not allowed"),
        ("storage=ftp://host/runs", "storage: ftp://host/runs: ftp:// is not supported"),
        ("name=../elsewhere", "name: '../elsewhere' is not a run's name"),
        ("name=a/b", "name: 'a/b' is not a run's name"),
        ("name=/tmp/x", "name: '/tmp/x' is not a run's name"),
        ("num_epochs", "--set num_epochs: write key.sub=value"),
    ],
)
def test_a_mistake_in_a_key_is_one_sentence(minidisc, recipe, tmp_path, command, override, sentence):
    message = minidisc(command, recipe, "--set", override).sentence
    assert message.startswith(sentence), message
    assert not (tmp_path / "storage").exists()


def test_a_recipe_that_is_not_there(minidisc, tmp_path, command):
    assert "no.yaml: cannot be read as a recipe" in minidisc(command, tmp_path / "no.yaml").sentence
    assert "cannot be read as a recipe" in minidisc(command, tmp_path).sentence
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "a recipe is a mapping" in minidisc(command, tmp_path / "list.yaml").sentence
    (tmp_path / "broken.yaml").write_text("task: [\n")
    assert "not valid YAML" in minidisc(command, tmp_path / "broken.yaml").sentence


def test_the_options_name_and_storage_are_checked_like_keys(minidisc, recipe, tmp_path, command):
    assert minidisc(command, recipe, "--name", "../x").sentence.startswith("name: '../x' is not a run's name")
    (tmp_path / "file").write_text("in the way")
    message = minidisc(command, recipe, "--storage", tmp_path / "file").sentence
    assert message.startswith(f"storage: {tmp_path / 'file'} cannot be written")


def test_a_variable_that_is_not_set(minidisc, tmp_path, command, monkeypatch):
    monkeypatch.delenv("MINIDISC_DATA", raising=False)
    data = {"kind": "files", "folder": "${MINIDISC_DATA}/mrpc"}
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage", task="mrpc", data=data)
    assert (
        "data.folder: ${MINIDISC_DATA}/mrpc needs the environment variable MINIDISC_DATA"
        in minidisc(command, path).sentence
    )


def test_a_run_directory_of_another_config(minidisc, recipe, tmp_path, command):
    folder = open_run(check(recipe, ["name=mine"]))
    message = minidisc(command, recipe, "--name", "mine", "--set", "seed=1").sentence
    assert message.startswith(f"name: {folder} was made by another config (different: seed)")


def test_a_data_file_that_is_not_there(minidisc, tmp_path, command):
    gone = {"kind": "files", "train": str(tmp_path / "gone.jsonl"), "validation": str(tmp_path / "validation.jsonl")}
    message = minidisc(command, own_task(tmp_path, data=gone)).sentence
    assert message.startswith(f"data.train: there is no file {tmp_path / 'gone.jsonl'}")


def test_a_column_that_is_not_there(minidisc, tmp_path, command):
    message = minidisc(command, own_task(tmp_path), "--set", "task.text=[review]").sentence
    assert 'column "review" is not in train.jsonl, which has: text, label' in message


def test_labels_that_do_not_match_a_fine_tuned_head(minidisc, tmp_path, command):
    message = minidisc(command, own_task(tmp_path)).sentence
    assert re.search(r"has 3 outputs, but test_labels\w+ needs 2; use another teacher", message)
    assert message.startswith("teacher.path: the head of ")


def test_a_family_that_is_not_supported(minidisc, tmp_path, command):
    teacher = write_teacher(tmp_path / "gpt2", model_type="gpt2")
    message = minidisc(command, own_task(tmp_path, teacher)).sentence
    assert message == (
        "teacher.path: a model of type 'gpt2' is not supported; use one of bert, distilbert, electra, roberta"
    )


def test_a_tokenizer_without_padding(minidisc, tmp_path, command):
    teacher = write_teacher(tmp_path / "nopad", pads=False)
    message = minidisc(command, own_task(tmp_path, teacher), "--set", "teacher.fine_tuned=false").sentence
    assert message.startswith("teacher.path: the tokenizer has no padding token")


def test_a_teacher_that_is_not_there(minidisc, tmp_path, command, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    message = minidisc(command, own_task(tmp_path, tmp_path / "empty")).sentence
    assert message.startswith("teacher.path: ")


def test_predict_and_evaluate_on_what_is_not_there(minidisc, recipe, tmp_path):
    file = write_rows(tmp_path / "new.jsonl", 4)
    assert "no model there" in minidisc("predict", tmp_path / "none", file).sentence
    assert "no model there" in minidisc("evaluate", tmp_path / "none", recipe).sentence
    message = minidisc("predict", tmp_path / ("x" * 300), file).sentence
    assert "cannot be read (File name too long); give a student's folder" in message
    student = write_teacher(tmp_path / "student")
    assert "does not say which columns it reads" in minidisc("predict", student, file).sentence
    message = minidisc("predict", student, file, "--columns", "review").sentence
    assert 'column "review" is not in new.jsonl, which has: text, label' in message
    assert "there is no file" in minidisc("predict", student, tmp_path / "no.jsonl", "--columns", "text").sentence
    message = minidisc(
        "predict", student, file, "--columns", "text", "--output", tmp_path / "no" / "out.jsonl"
    ).sentence
    assert "cannot be written" in message
    message = minidisc("evaluate", student, recipe).sentence
    assert message == f"student: {student} has 3 outputs, but builtin needs 2; use the student's own recipe"


@pytest.mark.parametrize("arguments", [("compare", "--storage"), ("clean", "--dry-run", "--storage")])
def test_a_name_that_no_file_can_have_is_one_sentence(minidisc, tmp_path, arguments):
    message = minidisc(*arguments, tmp_path / ("x" * 300)).sentence
    assert message == f"{'x' * 60}...: 300 characters are too long for a file's name; give another"


def test_a_number_that_a_format_cannot_hold_is_one_sentence(minidisc, tmp_path):
    student = write_teacher(tmp_path / "student")
    file = tmp_path / "huge.jsonl"
    file.write_text('{"text": "good", "other": 1' + "0" * 40 + "}\n")
    output = tmp_path / "out.parquet"
    message = minidisc("predict", student, file, "--columns", "text", "--output", output).sentence
    assert message.startswith("--output: .parquet cannot hold this file's columns (")
    assert not output.exists()


def test_evaluate_on_a_file_that_does_not_fit(minidisc, recipe, tmp_path):
    student = write_teacher(tmp_path / "student")
    file = write_rows(tmp_path / "new.jsonl", 4, columns=("text", "truth"))
    named = ("--columns", "text")
    assert minidisc("evaluate", student, file, *named).sentence == (
        'file: column "label" is not in new.jsonl, which has: text, truth; name the label with --label'
    )
    message = minidisc("evaluate", student, file, "--columns", "review", "--label", "truth").sentence
    assert message.endswith("name a text with --columns")
    rows = [{"text": "good", "truth": 0}, {"text": "bad", "truth": "awful"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert minidisc("evaluate", student, file, *named, "--label", "truth").sentence == (
        "file: \"truth\" is 'awful' in row 2 of new.jsonl; the student's classes are: no, yes, maybe, or a number "
        "from 0 to 2"
    )
    assert minidisc("evaluate", student, file, *named, "--label", "text").sentence == (
        'label: "text" is a column of text as well; name another column with --label'
    )
    (tmp_path / "rows.txt").write_text("text\n")
    assert minidisc("evaluate", student, tmp_path / "rows.txt").sentence == (
        "file: rows.txt is neither a file of rows (.jsonl, .csv, .tsv, each also .gz, or .parquet) nor a recipe (.yaml)"
    )
    assert "--set: it changes a recipe" in minidisc("evaluate", student, file, "--set", "seed=1").sentence
    assert (
        "--label: a recipe names its columns itself" in minidisc("evaluate", student, recipe, "--label", "x").sentence
    )
    assert "read from this machine alone" in minidisc("evaluate", student, "s3://bucket/new.jsonl").sentence


def test_compare_status_and_clean_on_folders_without_anything(minidisc, tmp_path):
    assert "no result.json there" in minidisc("compare", tmp_path).sentence
    (tmp_path / "result.json").write_text(json.dumps({"schema_version": 99}))
    assert "schema version 99; this release reads version 1" in minidisc("compare", tmp_path).sentence
    assert "is not a folder that can be read" in minidisc("status", tmp_path / "none").sentence
    assert "no such storage folder" in minidisc("clean", tmp_path / "none").sentence


def test_a_failure_of_ours_is_exit_code_1_and_says_how_to_see_more(minidisc, recipe, monkeypatch):
    import minidisc_ray.api

    def broken(*_: object) -> None:
        raise RuntimeError("a wheel\ncame off")

    monkeypatch.setattr(minidisc_ray.api, "describe_plan", broken)
    monkeypatch.delenv("MINIDISC_TRACEBACK", raising=False)
    done = minidisc("plan", recipe)
    assert done.code == 1
    assert done.err.splitlines() == [
        "minidisc: a wheel came off",
        "minidisc: set MINIDISC_TRACEBACK=1 for the traceback",
    ]


def test_the_commands_are_those_of_the_contract():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names >= {"demo", "init", "plan", "run", "compare", "status", "predict", "evaluate", "clean"}
