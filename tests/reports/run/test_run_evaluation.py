"""Scores in every format: a matrix for few classes, pairs for many, errors for a regression."""

import csv
import io
import json

import numpy as np

from minidisc_ray.evaluation import Evaluation, details_of
from minidisc_ray.reports.run.evaluation import MAX_MATRIX_CLASSES, class_table, render_evaluation


def classified(classes: int, rows: int = 400) -> Evaluation:
    """Every tenth row of a class is predicted as the next class, and every twentieth as the one after it."""
    labels = np.arange(rows) % classes
    place = np.arange(rows) // classes
    predictions = (labels + (place % 10 == 0) + (place % 20 == 5) * 2) % classes
    names = tuple(f"class {index}" for index in range(classes))
    return Evaluation({"accuracy": 0.5}, {"test.csv": details_of(names, np.eye(classes)[predictions], labels)})


def regressed() -> Evaluation:
    labels = np.linspace(-2, 2, 9)
    return Evaluation({"pearson": 0.9}, {"test.csv": details_of((), labels[:, None] - 0.25, labels)})


def records(found: Evaluation) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_evaluation(found, "csv"))))


def test_few_classes_have_a_matrix():
    text = render_evaluation(classified(MAX_MATRIX_CLASSES), "md")
    assert "Confusion on test.csv: labels in rows, predictions in columns" in text
    assert "| class 19 |" in text
    assert "Predicted as" not in text


def test_many_classes_have_the_most_confused_pairs():
    found = classified(MAX_MATRIX_CLASSES + 1)
    text = render_evaluation(found, "table", width=100)
    assert "Confusion on test.csv: most confused pairs" in text
    lines = text[text.index("Predicted") :].splitlines()
    pairs = [line for line in lines if line.startswith("class ")]
    assert len(pairs) == 20
    assert pairs[0].split() == ["class", "0", "class", "1", "2", "10.0%"]
    assert "The 20 most confused pairs of 42." in text
    assert len(json.loads(render_evaluation(found, "json"))["sets"]["test.csv"]["confusion"]) == 21


def test_csv_has_a_number_a_row():
    found = classified(3)
    rows = records(found)
    assert rows[0] == {"rows": "", "name": "accuracy", "label": "", "prediction": "", "value": "0.5"}
    assert sum(int(row["value"]) for row in rows if row["name"] == "confusion") == 400
    assert [row["label"] for row in rows if row["name"] == "support"] == ["class 0", "class 1", "class 2"]


def test_a_regression_has_errors_and_no_classes():
    found = regressed()
    text = render_evaluation(found, "table", width=100)
    assert "Confusion" not in text
    assert "Classes" not in text
    lines = [line.split("  ") for line in text.splitlines()]
    assert ["Residual, median", "-0.250"] in [[part.strip() for part in line if part] for line in lines]
    document = json.loads(render_evaluation(found, "json"))["sets"]["test.csv"]
    assert document["mean_absolute_error"] == 0.25
    assert document["residual_quantiles"] == dict.fromkeys(("0.05", "0.25", "0.5", "0.75", "0.95"), -0.25)
    assert [row["value"] for row in records(found) if row["name"] == "mean_squared_error"] == ["0.0625"]


def test_models_stand_beside_each_other():
    details = classified(2).details["test.csv"]
    headings = [column.heading for column in class_table("", {"Student": details, "Teacher": details}).columns]
    assert headings[:5] == ["Class", "Rows", "Student: Precision", "Student: Recall", "Student: F1"]
    assert headings[5] == "Teacher: Precision"


def test_scores_are_in_percent_as_the_classes_are():
    found = Evaluation({"accuracy": 1.0, "matthews": -1e-6}, classified(2).details)
    text = render_evaluation(found, "md")
    assert "**Scores, in percent**" in text
    assert "| accuracy | 100.0 |" in text
    assert "| matthews | 0.0 |" in text
    text = render_evaluation(Evaluation({"pearson": 0.9, "mean_squared_error": 0.0625}, regressed().details), "md")
    assert "**Scores, metrics in percent, errors in the unit of the label**" in text
    assert "| mean_squared_error | 0.0625 |" in text
