import io
import json
import shutil
from collections import Counter

import pandas as pd
import pytest
from cli_kit import RECIPE, write_recipe, write_rows

import minidisc_ray
from minidisc_ray.configs import resolve
from minidisc_ray.data import builtin_rows
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.run_files.result import load_result

CONVENTIONAL = {"kind": "conventional"}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Two finished runs of one setting, made without Ray."""
    root = tmp_path_factory.mktemp("storage")
    for schedule in (CONVENTIONAL, RECIPE["schedule"]):
        run_in_process(prepare(resolve({**RECIPE, "schedule": schedule, "storage": str(root)})))
    return root


@pytest.fixture(scope="module")
def recipe(storage, tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipes") / "tiny.yaml", storage)


@pytest.fixture(scope="module")
def runs(storage):
    return sorted(path for path in storage.iterdir() if (path / "result.json").is_file())


@pytest.mark.parametrize("options", [(), ("--format", "table")])
def test_compare_prints_a_table(minidisc, runs, options):
    out = minidisc.well("compare", *runs, *options)
    for word in ("Conventional", "MiniDisc", "Teacher", "Majority", "Useful"):
        assert word in out, word


def test_compare_prints_what_programs_read(minidisc, runs):
    read = {
        "csv": lambda text: pd.read_csv(io.StringIO(text)).to_dict("records"),
        "json": json.loads,
    }
    for format_, parse in read.items():
        rows = parse(minidisc.well("compare", *runs, "--format", format_))
        by_method = {row["method"]: row for row in rows}
        for run in runs:
            result = load_result(run)
            row = by_method[result.label]
            assert row["student_scale_percent"] == 10
            assert row["total_parameters"] == result.student.total_parameters
            assert row["training_flops"] == pytest.approx(result.cost.training_flops)
    markdown = minidisc.well("compare", *runs, "--format", "md")
    assert any(line.startswith("|") for line in markdown.splitlines())


def test_compare_names_what_it_leaves_out(minidisc, runs, tmp_path):
    one, other = (shutil.copytree(run, tmp_path / "root" / run.name) for run in runs)
    (one / "result.json").write_text("{}")
    done = minidisc("compare", tmp_path / "root", "--format", "csv")
    assert done.code == 1, "a script is message"
    assert f"{one / 'result.json'}: schema version None" in done.err
    assert done.err.endswith("; left out\n")
    assert len(done.out.splitlines()) >= 2
    assert minidisc("compare", one).code == 2
    whole = (other / "result.json").read_text()
    (other / "result.json").write_text("{}")
    done = minidisc("compare", tmp_path / "root")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("none of these results can be read\n")
    (other / "result.json").write_text(whole)
    (one / "result.json").unlink()
    done = minidisc("compare", tmp_path / "root", "--format", "csv")
    assert (done.code, done.err) == (0, f"minidisc: not finished, left out: {one.name}\n")
    (other / "result.json").unlink()
    sentence = minidisc("compare", tmp_path / "root").sentence
    assert sentence.startswith(f"{tmp_path / 'root'}: none of its runs is finished (")
    assert one.name in sentence


def test_compare_passes_over_what_runs_share_and_says_where_nothing_is_scanned(minidisc, runs, tmp_path):
    plain = next(run for run in runs if load_result(run).method == "conventional")
    (tmp_path / "root" / "_shared").mkdir(parents=True)
    shutil.copytree(plain, tmp_path / "root" / plain.name)
    done = minidisc("compare", *sorted((tmp_path / "root").iterdir()), "--scan")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("none of these runs chose by λ once all candidates were trained\n")
    assert "no result.json there" in minidisc("compare", tmp_path / "root" / "_shared").sentence


def test_compare_scans_lambda(minidisc, runs):
    scan = minidisc.well("compare", *runs, "--scan").splitlines()[-1]
    run = next(run for run in runs if load_result(run).method == "minidisc")
    assert scan.startswith(f"{run.name}: ")
    assert "0.1" in scan
    assert "0.7" in scan


def test_status_names_every_run(minidisc, storage, runs):
    out = minidisc.well("status", storage)
    assert out.count("finished") == len(runs) == 2
    for run in runs:
        assert run.name[:20] in out


def test_predict_writes_to_stdout_and_to_a_file(minidisc, runs, tmp_path):
    file = write_rows(tmp_path / "new.jsonl", 10, columns=("text",))
    out = minidisc.well("predict", runs[0] / "student", file)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 10
    assert {row["prediction"] for row in rows} <= {"negative", "positive"}
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    assert rows[0]["text"] == "the film was good"
    assert minidisc.well("predict", runs[0] / "student", file, "--output", tmp_path / "labels.jsonl") == ""
    assert (tmp_path / "labels.jsonl").read_text() == out

    other = write_rows(tmp_path / "other.jsonl", 4, columns=("review",))
    assert [
        json.loads(line)["prediction"]
        for line in minidisc.well("predict", runs[0] / "student", other, "--columns", "review").splitlines()
    ] == [row["prediction"] for row in rows[:4]]


def test_predict_keeps_the_files_columns_in_the_outputs_format(minidisc, runs, tmp_path):
    """A run's folder stands for its student."""
    frame = pd.DataFrame({"id": ["007", "008"], "text": ["the film was good", "a bad, slow plot"], "note": ["", "x"]})
    frame.to_csv(tmp_path / "new.csv", index=False)
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        assert minidisc.well("predict", runs[0], tmp_path / "new.csv", "--output", tmp_path / f"out{ending}") == ""
        found = read(tmp_path / f"out{ending}", **({"dtype": {"id": str}} if ending == ".csv" else {}))
        assert list(found) == ["id", "text", "note", "prediction", "probability"]
        assert found["id"].tolist() == ["007", "008"]
        assert all(probability == round(probability, 6) for probability in found["probability"].tolist())
    again = minidisc("predict", runs[0], tmp_path / "out.csv")
    assert (
        again.sentence
        == 'file: out.csv has a column "prediction", which `minidisc predict` adds; rename it in the file'
    )
    missing = minidisc("predict", tmp_path, tmp_path / "new.csv", "--output", tmp_path / "out.json")
    assert "out.json is not of a known format; allowed endings are .jsonl" in missing.sentence


def test_predict_notes_quotation_marks_as_training_does(minidisc, runs, tmp_path):
    (tmp_path / "new.tsv").write_text('text\tid\n"the film was good"\t"\nbad\t2\n')
    done = minidisc("predict", runs[0], tmp_path / "new.tsv")
    assert done.code == 0
    assert " ".join(done.err.split()) == (
        "note: file: 1 cells of new.tsv are enclosed in quotation marks, which are read as text; set --quoting csv to "
        "remove them"
    )
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ['"', "2"]


def test_evaluate_prints_exactly_the_score_of_the_result(minidisc, recipe, runs):
    for run in runs:
        metrics = load_result(run).student.validation_metrics
        assert metrics
        for folder in (run / "student", run):
            assert json.loads(minidisc.well("evaluate", folder, recipe, "--format", "json"))["metrics"] == metrics
    lines = [line.split() for line in minidisc.well("evaluate", runs[0], recipe).splitlines()]
    accuracy = load_result(runs[0]).student.validation_metrics["accuracy"]
    assert ["accuracy", f"{100 * accuracy:.1f}"] in lines
    assert ["Label", "negative", "positive"] in lines


def test_evaluate_scores_a_file_as_predict_labels_it(minidisc, runs, tmp_path):
    """Its metrics and its confusion are those of the file that predict writes, counted by hand."""
    rows = builtin_rows("test", 60, 3)
    names = ["negative", "positive"]
    labels = [names[label] for label in rows.labels]
    file = tmp_path / "labelled.csv"
    pd.DataFrame({"text": rows.texts[0], "truth": labels}).to_csv(file, index=False)
    found = json.loads(minidisc.well("evaluate", runs[0], file, "--label", "truth", "--format", "json"))
    predicted = minidisc_ray.predict(runs[0] / "student", file)["prediction"]
    pairs = Counter(zip(labels, predicted, strict=True))
    details = found["sets"]["labelled.csv"]
    assert details["confusion"] == [[pairs[label, prediction] for prediction in names] for label in names]
    assert found["metrics"]["accuracy"] == sum(pairs[name, name] for name in names) / 60
    for name, one in zip(names, details["classes"], strict=True):
        assert one["support"] == labels.count(name)
        assert one["recall"] == pytest.approx(pairs[name, name] / labels.count(name))
        answered = sum(pairs[label, name] for label in names)
        assert one["precision"] == pytest.approx(pairs[name, name] / answered if answered else 0)
    assert found["notes"] == []

    records = pd.read_csv(io.StringIO(minidisc.well("evaluate", runs[0], file, "--label", "truth", "--format", "csv")))
    assert list(records.columns) == ["rows", "name", "label", "prediction", "value"]
    assert records[records.name == "confusion"].value.sum() == 60

    numbered = tmp_path / "numbered.jsonl"
    pd.DataFrame({"text": rows.texts[0], "label": rows.labels}).to_json(numbered, orient="records", lines=True)
    again = json.loads(minidisc.well("evaluate", runs[0] / "student", numbered, "--format", "json"))
    assert again["metrics"] == found["metrics"]
    assert again["notes"] == ["Labels that are numbers are the student's outputs: 0 is negative, 1 is positive."]
    assert minidisc_ray.evaluate(runs[0], numbered) == found["metrics"]


def test_the_same_from_python(recipe, runs, tmp_path):
    result = load_result(runs[0])
    assert minidisc_ray.evaluate(runs[0] / "student", recipe) == result.student.validation_metrics
    assert set(minidisc_ray.compare(runs).method) >= {"Conventional", "MiniDisc (η = 2)"}
    frame = minidisc_ray.predict(runs[0] / "student", write_rows(tmp_path / "new.jsonl", 3, columns=("text",)))
    assert list(frame.columns) == ["text", "prediction", "probability"]
    assert minidisc_ray.plan(recipe, ["schedule.kind=conventional"]).name == result.name


def test_public_names_resolve():
    for name in minidisc_ray.__all__:
        assert getattr(minidisc_ray, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        minidisc_ray.tusk  # noqa: B018


def test_clean_says_what_it_would_free_and_then_frees_it(minidisc, tmp_path):
    prepared = prepare(resolve({**RECIPE, "schedule": CONVENTIONAL, "storage": str(tmp_path)}))
    run_in_process(prepared)
    stages = prepared.run_folder / "stages"
    would = minidisc.well("clean", tmp_path, "--dry-run")
    assert str(stages) in would.splitlines()
    assert "would free" in would.splitlines()[-1]
    assert stages.is_dir()
    freed = minidisc.well("clean", tmp_path)
    assert freed.splitlines()[:-1] == would.splitlines()[:-1]
    assert freed.splitlines()[-1] == would.splitlines()[-1].replace("would free", "freed")
    assert not stages.exists()
    assert (prepared.run_folder / "student" / "model.safetensors").is_file()
    assert minidisc.well("clean", tmp_path) == "freed 0.0 MiB in 0 places\n"


def test_help_names_every_command(minidisc):
    out = minidisc.well("--help")
    for command in ("demo", "init", "plan", "run", "compare", "status", "predict", "evaluate", "clean"):
        assert command in out
        assert "Usage" in minidisc.well(command, "--help")
