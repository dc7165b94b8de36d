"""Whole runs of a multi-label task: its teacher learns, and every stage and report reads several labels of a row."""

import csv
import json

import numpy as np
import pytest
from multilabel_kit import NAMES, topic_recipe, topic_rows, write_rows
from sklearn.metrics import f1_score
from tiny_models import MULTILABEL, TASK, tiny_config
from transformers import pipeline

from minidisc_ray import api
from minidisc_ray.configs import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.label_checks import check_labels
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages._teacher_check import lead_of
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.run.plan import plan_report
from minidisc_ray.run_files.predictions import predictions_path, read_predictions

GRID = {"kind": "list", "values": [60, 45]}
PAPER = {"kind": "minidisc", "scales": GRID, "num_sampled": 2}
RACE = {"kind": "minidisc", "scales": GRID, "search": "race"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose teacher has to learn the task: its check is on."""
    folder = tmp_path_factory.mktemp("topics")
    config = topic_recipe(folder, PAPER, ("task.extra_metrics=[macro_f1, accuracy]", "distil.num_epochs=2"))
    prepared = prepare(config)
    return prepared, run_in_process(prepared)


def test_the_teacher_learns_and_the_student_follows(run):
    _, result = run
    assert result.primary_metric == "micro_f1"
    assert result.teacher_warning is None
    assert set(result.majority_metrics) == {"micro_f1", "macro_f1", "accuracy"}
    teacher, student = (model.validation_metrics for model in (result.teacher, result.student))
    assert teacher["micro_f1"] > result.majority_metrics["micro_f1"] + 0.2
    assert student["micro_f1"] > result.majority_metrics["micro_f1"] + 0.1
    assert teacher["accuracy"] > 2 * result.majority_metrics["accuracy"]


def test_its_predictions_are_kept_and_give_the_score(run):
    prepared, result = run
    labels = read_predictions(predictions_path(prepared.run_folder))["validation/validation"]
    logits = read_predictions(predictions_path(prepared.run_folder, "main", "student"))["validation/validation"]
    assert labels.shape == logits.shape == (150, 4)
    expected = f1_score(labels, logits > 0, average="micro")
    assert result.student.validation_metrics["micro_f1"] == pytest.approx(expected, abs=1e-12)


def test_plan_and_reports_name_the_labels_and_metrics(run):
    prepared, result = run
    parts = [part for part in plan_report(prepared).parts if isinstance(part, str)]
    assert f"labels: {', '.join(NAMES)}" in parts
    report = write_report(prepared.storage, prepared.run_folder, result)
    assert "Micro F1, student" in report.read_text()
    frame = api.compare([prepared.run_folder])
    assert {"macro_f1_mean", "accuracy_mean"} <= set(frame.columns)
    assert set(frame["metric_name"]) == {"micro_f1"}


def test_predict_gives_a_list_of_names_and_a_probability_of_each(run, tmp_path):
    prepared, _ = run
    rows = topic_rows(20, seed=5)
    file = write_rows(tmp_path / "rows.jsonl", [{"text": row["text"]} for row in rows])
    frame = api.predict(prepared.run_folder / "student", file)
    columns = [f"probability_{name}" for name in NAMES]
    assert list(frame) == ["text", "prediction", *columns]
    for _, row in frame.iterrows():
        assert row["prediction"] == [name for name in NAMES if row[f"probability_{name}"] > 0.5]
    truth = np.array([[name in row["labels"] for name in NAMES] for row in rows])
    assert f1_score(truth, frame[columns].to_numpy() > 0.5, average="micro") > 0.6
    # The code in the folder's README gives the same.
    classify = pipeline("text-classification", str(prepared.run_folder / "student"), trust_remote_code=True)
    for answer, (_, row) in zip(
        classify(list(frame["text"]), truncation=True, top_k=None, function_to_apply="sigmoid"),
        frame.iterrows(),
        strict=True,
    ):
        assert {each["label"]: each["score"] for each in answer} == pytest.approx(
            {name: row[f"probability_{name}"] for name in NAMES}, abs=2e-6
        )
    readme = (prepared.run_folder / "student" / "README.md").read_text()
    assert 'top_k=None, function_to_apply="sigmoid"' in readme
    assert "Labels, any number for each text: people, praise, sound, words" in " ".join(readme.split())


def test_a_column_that_predict_adds_is_refused(run, tmp_path):
    prepared, _ = run
    file = write_rows(tmp_path / "rows.jsonl", [{"probability_sound": "music"}])
    with pytest.raises(
        UserError, match=r'^file: rows.jsonl has a column "probability_sound", which `minidisc predict` adds'
    ):
        api.predict(prepared.run_folder / "student", file, ["probability_sound"])


def test_evaluate_reads_the_labels_of_a_table_too(run, tmp_path):
    prepared, result = run
    table = tmp_path / "validation.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        writer.writerows([row["text"], ";".join(row["labels"])] for row in topic_rows(150, seed=1))
    found = api.evaluate(prepared.run_folder / "student", prepared.config, [f"data.validation={table}"])
    assert found == pytest.approx(result.student.validation_metrics, abs=1e-9)


def test_its_card(run, tmp_path):
    prepared, _ = run
    api.push(prepared.run_folder, str(tmp_path / "card"), repeats=0)
    card = (tmp_path / "card" / "README.md").read_text()
    assert "micro_f1 of always predicting the commoner answer to each label" in card
    assert "95% interval" in card
    assert 'function_to_apply="sigmoid"' in card


def test_the_config_says_that_it_gives_several_labels(run):
    prepared, _ = run
    config = load_model(prepared.run_folder / "student").config
    assert (config.problem_type, list(config.id2label.values())) == ("multi_label_classification", list(NAMES))
    check_labels(config, prepared.task, "it")
    classes = Task("topics", ("text",), "label", NAMES, ("accuracy",))
    with pytest.raises(UserError, match=r"gives any number of labels of a row .* but topics needs one class of a row"):
        check_labels(config, classes, "it")
    single = tiny_config("bert", TASK)
    single.problem_type = "single_label_classification"
    with pytest.raises(UserError, match=r"gives one class of a row .* but tiny needs any number of labels of a row"):
        check_labels(single, MULTILABEL, "it")


def test_a_race_chooses_by_several_labels(tmp_path):
    overrides = ("finetune.num_epochs=2", "distil.num_epochs=1", "teacher.allow_at_chance=true")
    prepared = prepare(topic_recipe(tmp_path, RACE, overrides, rows=120))
    result = run_in_process(prepared)
    assert result.race[-1].choice is not None
    assert set(result.race[-1].metrics) <= {60, 45, 30}
    assert json.loads((prepared.run_folder / "result.json").read_text())["primary_metric"] == "micro_f1"


class TestLead:
    """The teacher's check with several labels."""

    @pytest.fixture
    def labels(self):
        return (np.random.default_rng(0).random((300, 4)) < (0.6, 0.4, 0.25, 0.15)).astype(np.float32)

    def test_right_answers(self, labels):
        lead = lead_of(MULTI, 2 * labels - 1, labels, labels)
        assert lead.model == 1.0
        assert lead.is_significant

    @pytest.mark.parametrize("kind", ["all labels", "answers of other rows"])
    def test_answers_that_need_no_text(self, labels, kind):
        """Giving every label scores more than each label's commoner answer, and shows nothing."""
        shuffled = np.random.default_rng(1).permutation(labels)
        given = np.ones_like(labels) if kind == "all labels" else shuffled
        lead = lead_of(MULTI, 2 * given - 1, labels, labels)
        assert not lead.is_significant


MULTI = Task("topics", ("text",), "labels", NAMES, ("micro_f1",), is_multilabel=True)
