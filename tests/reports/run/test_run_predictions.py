"""What a page says of predictions: read from a run's files, the student beside its teacher."""

from pathlib import Path

import numpy as np
import pytest
from predictions_kit import keep_predictions
from reports_builder import model, run_result
from storage_kit import LOCAL

from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.run.predictions import classes_never_found, prediction_sections
from minidisc_ray.run_files.predictions import predictions_path, write_predictions

NAMES = ("no", "yes")
LABELS = np.array([0, 0, 0, 1, 1])
LOGITS = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])


def page_of(folder: Path, **changes) -> str:
    return write_report(LOCAL, folder, run_result(**changes)).read_text(encoding="utf-8")


def test_the_page_has_classes_and_a_matrix_of_student_and_teacher(tmp_path):
    keep_predictions(tmp_path, LOGITS, LABELS)
    page = page_of(tmp_path, label_names=NAMES)
    assert "<h2>Classes</h2>" in page
    assert "on the 5 validation rows" in page
    student = page[page.index("Student: labels in rows") : page.index("Teacher: labels in rows")]
    assert '<td class="share" style="--share: 0.667">2</td><td class="share" style="--share: 0.333">1</td>' in student
    assert '<td data-value="0.6666666666666666">66.7</td>' in page
    assert '<td class="share" style="--share: 1.000">3</td>' in page[page.index("Teacher: labels in rows") :]


def test_a_sweep_shows_the_trial_that_was_kept(tmp_path):
    keep_predictions(tmp_path, LOGITS, LABELS, trial="scale-40")
    result = run_result("maxidisc", label_names=NAMES, student_trial="scale-40")
    (section,) = prediction_sections(tmp_path, result)
    assert [confusion.table.title.split(":")[0] for confusion in section.confusions] == ["Student", "Teacher"]
    assert prediction_sections(tmp_path, run_result("maxidisc", label_names=NAMES, student_trial="scale-55")) == []


def test_each_validation_set_has_its_section(tmp_path):
    keep_predictions(tmp_path, LOGITS, LABELS, names=("validation_matched", "validation_mismatched"))
    titles = [section.title for section in prediction_sections(tmp_path, run_result(label_names=NAMES))]
    assert titles == ["Classes (validation_matched)", "Classes (validation_mismatched)"]


def test_classes_that_the_student_never_finds_are_named(tmp_path):
    keep_predictions(tmp_path, LOGITS, LABELS)
    assert classes_never_found(tmp_path, run_result(label_names=NAMES)) == []
    keep_predictions(tmp_path, np.array([[2.0, 1.0]] * 5), LABELS)
    assert classes_never_found(tmp_path, run_result(label_names=NAMES)) == ["yes"]
    keep_predictions(tmp_path, np.array([[2.0, 1.0]] * 5), np.zeros(5, dtype=int))
    assert classes_never_found(tmp_path, run_result(label_names=NAMES)) == [], "no row has it"
    assert classes_never_found(tmp_path / "none", run_result(label_names=NAMES)) == []


def test_many_classes_show_pairs(tmp_path):
    labels = np.arange(60) % 30
    keep_predictions(tmp_path, np.eye(30)[(labels + (np.arange(60) < 3)) % 30], labels)
    page = page_of(tmp_path, label_names=tuple(f"intent {index}" for index in range(30)))
    assert "Student: most confused pairs" in page
    assert 'class="share"' not in page
    assert "No row was predicted as another class." in page  # of the teacher


def test_a_regression_has_errors(tmp_path):
    values = np.array([1.0, 2.0, 3.0, 5.0])
    keep_predictions(tmp_path, values[:, None] + 0.5, values)
    metrics = {"pearson": 0.9, "spearman": 0.9}
    models = {name: model(scale, 0.9, "pearson", validation_metrics=metrics, selection_metrics=metrics)
              for name, scale in (("student", 10), ("teacher", 100))}  # fmt: skip
    page = page_of(tmp_path, primary_metric="pearson", majority_metrics={"pearson": 0.0}, **models)
    assert "<h2>Errors</h2>" in page
    assert "Mean squared error" in page
    assert '<td data-value="0.25">0.250</td><td data-value="0.0">0.00</td>' in page
    assert "labels in rows" not in page


def test_runs_without_predictions_have_no_section(tmp_path):
    assert "Classes" not in page_of(tmp_path, label_names=NAMES)
    keep_predictions(tmp_path, LOGITS, LABELS)
    assert prediction_sections(tmp_path, run_result()) == []  # of an older release, which kept no names


@pytest.mark.parametrize("damage", ["empty", "of another task"])
def test_damaged_predictions_leave_the_page_whole(tmp_path, caplog, damage):
    keep_predictions(tmp_path, LOGITS, LABELS)
    if damage == "empty":
        predictions_path(tmp_path, "main", "student").write_bytes(b"")
    else:
        write_predictions(
            LOCAL, predictions_path(tmp_path, "main", "student"), {"validation/validation": LOGITS[:, :1]}
        )
    with caplog.at_level("WARNING", logger="minidisc_ray"):
        page = page_of(tmp_path, label_names=NAMES)
    assert "<h2>Classes</h2>" not in page
    assert "the report is without classes and errors" in caplog.text
