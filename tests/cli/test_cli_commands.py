import io
import json
import os
import shutil
from collections import Counter
from typing import get_args

import pandas as pd
import pytest
from cli_kit import RECIPE, write_recipe, write_rows

import minidisc_ray
from minidisc_ray.configs import load_recipe, resolve
from minidisc_ray.configs.task import GlueTask
from minidisc_ray.data import builtin_rows, load_splits
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


@pytest.mark.parametrize("task", get_args(GlueTask))
def test_init_writes_a_recipe_that_parses_back(minidisc, tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIDISC_DATA", "/somewhere")
    out = minidisc.well("init", "--task", task, "--model", "bert-base-uncased")
    assert out == f"wrote {task}.yaml; next: minidisc plan {task}.yaml\n"
    config = load_recipe(tmp_path / f"{task}.yaml")
    assert (config.task.name, config.data.folder) == (task, f"/somewhere/{task}")
    assert config.teacher.path == "bert-base-uncased"
    assert config.student.scale_percent == 10
    assert config.candidate_scales() == tuple(range(95, 10, -5))
    assert config.compute.cpus_per_worker == os.cpu_count()
    for kind in ("conventional", "assistant", "maxidisc"):
        assert load_recipe(tmp_path / f"{task}.yaml", [f"schedule.kind={kind}"]).schedule.kind == kind


def test_init_replaces_a_file_only_when_asked_to(minidisc, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    arguments = ["init", "--task", "rte", "--model", "some/model", "--data", "/data/rte", "--output", path]
    assert "mine.yaml exists" in minidisc(*arguments).sentence
    assert path.read_text() == "mine"
    minidisc.well(*arguments, "--force")
    assert load_recipe(path).data.folder == "/data/rte"
    assert "tusk is not a GLUE task; use one of cola" in minidisc("init", "--task", "tusk", "--model", "m").sentence
    assert "cannot be written" in minidisc(*arguments[:-1], tmp_path / "no" / "where.yaml").sentence


def write_reviews(path):
    rows = [{"id": i, "review": f"film {i}: what a plot", "made on": f"5/{i}", "stars": i % 5 + 1} for i in range(60)]
    pd.DataFrame(rows).to_csv(path, index=False)


def test_init_writes_a_recipe_for_ones_own_file(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "reviews 2024.csv")
    out = minidisc.well("init", "--data", "reviews 2024.csv", "--model", "bert-base-uncased")
    assert out.splitlines() == [
        "assumed: text is review (by its name), label is stars (5 classes: 1, 2, 3, 4, 5); not used: id, made on",
        "assumed: validation is a seeded 20% of reviews 2024.csv, as there is no validation file",
        "wrote reviews-2024.yaml; next: minidisc plan reviews-2024.yaml",
    ]
    config = load_recipe(tmp_path / "reviews-2024.yaml")
    assert config.task.model_dump(exclude_defaults=True) == {
        "name": "reviews-2024",
        "text": ("review",),
        "label": "stars",
    }
    splits = load_splits(config)
    assert (splits.task.name, splits.task.label_names) == ("reviews-2024", ("1", "2", "3", "4", "5"))
    assert len(splits.validation["validation"]) == 12


def test_init_writes_a_recipe_for_a_folder_with_awkward_names(minidisc, tmp_path, monkeypatch):
    """Names that YAML or a comment would read as something else come back as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yes").mkdir()
    for name, count in (("train", 40), ("dev", 20)):
        rows = [f'"was it, {i}, good?"\t"it was good, {i} times"\t{i % 9 / 2}\n' for i in range(count)]
        (tmp_path / "yes" / f"{name}.tsv").write_text("a, b\t[c] # d\tnull\n" + "".join(rows))
    out = minidisc.well("init", "--data", "yes", "--model", "m", "--quoting", "csv")
    assert out.startswith("assumed: text is a, b and [c] # d (the longest texts), label is null (a regression: numbers")
    config = load_recipe(tmp_path / "yes.yaml")
    assert (config.task.kind, config.task.text, config.task.label) == ("regression", ("a, b", "[c] # d"), "null")
    assert (config.task_name, config.data.quoting, config.data.validation) == ("yes", "csv", "yes/dev.tsv")
    assert load_splits(config).train.texts[0][0].startswith("was it, ")


def test_init_needs_a_task_or_data_that_it_understands(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert minidisc("init", "--model", "m").sentence.startswith("--task: missing; give a GLUE task, or your own file")
    assert minidisc("init", "--model", "m", "--data", "no.csv").sentence.startswith(
        "--data: there is no file or folder"
    )
    write_reviews(tmp_path / "reviews.csv")
    assert minidisc("init", "--model", " ", "--data", "reviews.csv").sentence.startswith("--model: empty")
    message = minidisc("init", "--model", "m", "--task", "reviews", "--data", "reviews.csv").sentence
    assert message.endswith("or leave it out and name your own file with --data")
    (tmp_path / "odd.csv").write_text('text,label\n"a" b,1\nc,2\n')
    assert "set --quoting none" in minidisc("init", "--model", "m", "--data", "odd.csv").sentence
    assert not list(tmp_path.glob("*.yaml"))


def test_plan_prints_steps_sizes_and_the_sum_and_starts_nothing(minidisc, tmp_path):
    out = minidisc.well("plan", write_recipe(tmp_path / "r.yaml", tmp_path / "storage"), "--name", "mine")
    assert out.startswith(
        "builtin: train 115 rows, selection 13 (a seeded tenth of train), validation 64; metric accuracy"
    )
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines if line and line[0] in ("teacher", "candidate", "student")] == [
        ["teacher", "8"],
        ["candidate", "60%"],
        ["candidate", "30%"],
        ["student", "10%"],
    ]
    steps = {line[1]: float(line[-1]) for line in lines if line and line[0] in ("shared", "main")}
    assert list(steps) == ["teacher", "importance", "sandwich", "choose", "student"]
    total = next(float(line[1]) for line in lines if line and line[0] == "sum")
    assert total == pytest.approx(sum(value for name, value in steps.items() if name != "teacher"), abs=0.003)
    assert f"run: {tmp_path / 'storage' / 'mine'}" in out
    assert "1 trial, each on 1 x 1 CPUs" in out
    assert not (tmp_path / "storage").exists()


def test_plan_says_what_its_steps_and_sums_rest_on(minidisc, tmp_path):
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage")
    out = minidisc.well("plan", path, "--set", "schedule.scales=[60,45,30]")
    assert "warning: 13 selection rows choose: metrics move in steps of 7.7 points" in out
    assert "sandwich trains: 60%, 10%; the other candidates are only evaluated" in out
    assert "choose is assumed to pick 45%, the middle of the grid" in out
    many = minidisc.well("plan", path, "--set", "data.selection_fraction=0.45", "--set", "schedule.num_sampled=3")
    assert "warning" not in many
    assert "sandwich trains: 60%, 30%, 10%, every scale" in many

    match = "{kind: conventional, match: {kind: minidisc, scales: [60, 30], num_sampled: 3}}"
    matched = minidisc.well("plan", path, "--set", f"schedule={match}")
    assert "warning" not in matched, "nothing is chosen"
    line = next(line for line in matched.splitlines() if line.startswith("matched: "))
    assert "of MiniDisc (η = 3) over 60%, 30% with eta 3; reached in " in line
    again = minidisc.well(
        "plan", path, "--set", f"schedule={match}", "--set", f"schedule.num_epochs={line.split()[-2]}"
    )
    assert line in again


def test_plan_counts_the_trials_of_a_sweep(minidisc, tmp_path):
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage")
    out = minidisc.well("plan", path, "--set", "schedule.kind=maxidisc", "--set", "compute.num_workers=2")
    assert "2 trials, each on 2 x 1 CPUs" in out
    assert "scale-60" in out
    out = minidisc.well(
        "plan", path, "--set", "schedule={kind: maxidisc, early_end: asha}", "--set", "distil.num_epochs=4"
    )
    assert "17 probes and 4 trials, each on" in out
    line = next(line for line in out.splitlines() if line.startswith("probes train for "))
    assert line.startswith("probes train for 1 of 4 epochs; 4 of 17 trials then run in full and from their beginning")
    assert line.endswith("% of the FLOPs of all in full")


def test_a_path_with_quotes_and_spaces_is_taken_as_it_is(minidisc, tmp_path):
    odd = tmp_path / 'my "runs" #1: a'
    assert str(odd) in minidisc.well(
        "plan", write_recipe(tmp_path / "r.yaml", tmp_path), "--storage", odd, "--name", "x"
    )


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
