"""Runs whose metrics are not their task's default: errors beside a correlation, and a mean F1 that chooses."""

import numpy as np
import pytest
from multilabel_kit import topic_recipe, topic_rows, write_rows
from sklearn.metrics import f1_score, mean_absolute_error, mean_squared_error

from minidisc_ray import api
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.comparison.render import render
from minidisc_ray.run_files.predictions import predictions_path, read_predictions
from minidisc_ray.run_files.result import load_result

QUICK = ("finetune.num_epochs=1", "distil.num_epochs=1", "teacher.allow_at_chance=true")


def run(folder, task, label_of):
    config = topic_recipe(folder, {"kind": "conventional"}, (f"task={task}", *QUICK))
    for name, seed, count in (("train", 0, 120), ("validation", 1, 60)):
        rows = [{"text": row["text"], "label": label_of(len(row["labels"]))} for row in topic_rows(count, seed)]
        write_rows(folder / f"{name}.jsonl", rows)
    prepared = prepare(config)
    run_in_process(prepared)
    arrays = (read_predictions(predictions_path(prepared.run_folder, *of)) for of in ((), ("main", "student")))
    labels, logits = (found["validation/validation"] for found in arrays)
    return prepared.run_folder, labels, logits


def test_errors_are_reported_in_their_own_unit_and_never_choose(tmp_path):
    task = "{kind: regression, extra_metrics: [mean_squared_error, mean_absolute_error]}"
    folder, labels, logits = run(tmp_path, task, lambda count: 10 * count)
    result = load_result(folder)
    found = result.student.validation_metrics
    assert result.primary_metric == "spearman"
    assert found["mean_squared_error"] == pytest.approx(mean_squared_error(labels, logits[:, 0]))
    assert found["mean_absolute_error"] == pytest.approx(mean_absolute_error(labels, logits[:, 0]))
    assert found["mean_squared_error"] > 1
    constant = result.majority_metrics["mean_squared_error"]
    assert constant >= np.var(labels)
    text = render(api.compare([folder]), "md")
    row = next(line for line in text.splitlines() if line.startswith("| Majority class"))
    assert f" {constant:.0f} |" in row
    assert "Mean squared error" in text


def test_a_mean_f1_chooses_where_the_recipe_says_so(tmp_path):
    task = "{kind: classification, metric: macro_f1, selection_metric: weighted_f1, extra_metrics: balanced_accuracy}"
    folder, labels, logits = run(tmp_path, task, lambda count: ("none", "one", "more")[min(count, 2)])
    result = load_result(folder)
    found = result.student.validation_metrics
    assert (result.primary_metric, result.selection_metric) == ("macro_f1", "weighted_f1")
    assert set(found) == {"macro_f1", "balanced_accuracy", "weighted_f1"}
    assert found["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro", zero_division=0))
