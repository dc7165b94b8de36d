"""Which setting of a grid a study uses: by real runs in this process, and by results made for the purpose."""

import json

import pytest
from reports_builder import model, result_of
from study_kit import raw_study, study_of, write_study

from minidisc_ray.api.studies import prepare_study, report_study
from minidisc_ray.configs.study.study import grid_runs
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.reports.study.render import render_study
from minidisc_ray.run_files.failures import write_failure
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.settings import choices_of, selection_score

RATES = {"values": {"distil.learning_rate": [1e-4, 1e-2, 2e-2]}}
TWO_RATES = {"values": {"distil.learning_rate": [1e-4, 1e-2]}}
METHODS = {name: raw_study()["methods"][name] for name in ("LTSD", "MiniDisc")}


@pytest.fixture
def cells(tmp_path):
    study = study_of(tmp_path, scales=[10], methods=METHODS, grid=RATES, seeds=[0])
    return [cell for cell in grid_runs(study) if cell.method == "LTSD"]


def outcome(cell, score, failure=None):
    """A run of the grid whose student has this score on the selection rows; without either it is not over."""
    if score is None:
        return Outcome(cell, f"run-{cell.setting}", None, failure)
    student = model(10, 0.5, selection_metrics={"f1": score})
    return Outcome(cell, f"run-{cell.setting}", result_of(cell, 0.5, 1.0, student=student), None)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [((0.5, 0.7, 0.6), 1), ((0.5, 0.7, 0.7), 1), ((0.7, 0.7, 0.7), 0), ((0.5, None, 0.6), None)],
)
def test_the_best_score_on_the_selection_rows_is_chosen_once_all_runs_are_over(cells, scores, chosen):
    (choice,) = choices_of([outcome(cell, score) for cell, score in zip(cells, scores, strict=True)])
    assert (choice.chosen, choice.failure, choice.scores) == (chosen, None, scores)
    assert len(choice.unused) == (0 if chosen is None else 2)


def test_a_failed_run_takes_no_part_and_without_any_the_place_fails(cells):
    (choice,) = choices_of([outcome(cells[0], None, "out of memory"), *(outcome(cell, 0.6) for cell in cells[1:])])
    assert (choice.chosen, choice.scores, len(choice.unused)) == (1, (None, 0.6, 0.6), 1)
    (choice,) = choices_of([outcome(cell, None, "out of memory") for cell in cells])
    assert (choice.chosen, choice.failure) == (None, "no setting of the grid finished: out of memory")


def test_settings_with_one_run_are_charged_once(cells):
    same = [Outcome(cell, "run", outcome(cell, 0.6).result, None) for cell in cells]
    (choice,) = choices_of(same)
    assert (choice.chosen, choice.unused) == (0, [])
    two = [same[0], *(Outcome(cell, "other", outcome(cell, 0.5).result, None) for cell in cells[1:])]
    (choice,) = choices_of(two)
    assert [run.student.selection_metrics for run in choice.unused] == [{"f1": 0.5}]


def test_a_choice_by_several_metrics_is_by_their_mean(cells):
    student = model(10, 0.5, selection_metrics={"f1": 0.5, "accuracy": 0.9})
    result = result_of(cells[0], 0.5, 1.0, student=student, selection_metric="mean of f1 and accuracy")
    assert selection_score(result) == pytest.approx(0.7)
    assert selection_score(result.model_copy(update={"selection_metric": "matthews"})) is None


def test_a_study_searches_then_runs_the_other_seeds_and_trains_nothing_twice(tmp_path):
    """In pieces: after each the study is read from its files again, as a resumed one is."""
    file = write_study(tmp_path, raw_study(scales=[10], methods=METHODS, grid=TWO_RATES))

    def study():
        return prepare_study(file, storage=str(tmp_path / "runs"))

    start = study()
    assert (len(start.grid_runs), start.other_runs, start.num_runs, start.cells) == (4, [], 6, ())
    of_ltsd, of_minidisc = start.grid_runs[:2], start.grid_runs[2:]
    assert {run.config.schedule.kind for run in of_ltsd} == {"conventional"}
    first = {run.name: run_in_process(run) for run in of_ltsd}
    half = study()
    (choice, other) = half.choices
    best = max(first.values(), key=lambda result: result.student.selection_metrics["accuracy"])
    assert choice.chosen_result == best
    assert other.chosen is None
    assert {cell.method for cell in half.open_cells} == {"MiniDisc"}
    (second,) = half.other_runs
    assert second.config.seed == 1
    assert second.config.distil.learning_rate == TWO_RATES["values"]["distil.learning_rate"][choice.chosen]
    assert half.num_runs == 6

    for run in of_minidisc[1:]:
        run_in_process(run)
    write_failure(of_minidisc[0].storage, open_run(of_minidisc[0]), "main", "out of memory")
    whole = study()
    assert whole.open_cells == ()
    for run in whole.other_runs:
        run_in_process(run)
    report = report_study(study())
    assert report.table.unfinished == ()
    assert report.table.failed == {of_minidisc[0].name: "out of memory"}
    assert {o.name for o in report.outcomes} < {run.name for run in whole.runs}
    assert len(whole.runs) == 6
    rows = {row.label: row for row in report.table.blocks[0].rows}
    assert sorted(rows["MiniDisc10%"].scores["builtin"].values) == [0, 1]
    # The other setting of LTSD takes as many FLOPs as the one chosen; MiniDisc's failed.
    assert rows["LTSD10%"].search_flops_ratio == pytest.approx(1.0)
    assert rows["MiniDisc10%"].search_flops_ratio == 0.0
    (written,) = [each for each in json.loads(render_study(report.table, "json"))["grid"] if each["method"] == "LTSD"]
    assert [run["selection_score"] for run in written["runs"]] == [
        result.student.selection_metrics["accuracy"] for result in first.values()
    ]
    page = report.page.read_text(encoding="utf-8")
    assert "Chosen settings: distil.learning_rate" in page
    assert "5 of 6 runs finished" in page


def test_every_kind_of_student_leaves_the_score_that_a_grid_chooses_by(tmp_path):
    methods = {
        "LTSD": METHODS["LTSD"],
        "layers": {"schedule": {"kind": "conventional"}, "student": {"kind": "layers", "num_layers": 1}},
        "race": {"schedule": {"search": "race", "num_sampled": 3}},
    }
    file = write_study(tmp_path, raw_study(scales=[10], methods=methods, seeds=[0]))
    for run in prepare_study(file, storage=str(tmp_path / "runs")).runs:
        assert selection_score(run_in_process(run)) is not None, run.name
