"""A study's table: the papers' layout, averages and ratios by hand, the paper's own figures, what is missing."""

import csv
import io
from dataclasses import replace

import pytest
from reports_builder import PAPER, TASKS, model, outcomes_of, result_of
from study_kit import cells_of, study_of

from minidisc_ray.configs.study.base import AVERAGE, TABLE_COLUMNS
from minidisc_ray.reports.study.labels import row_label
from minidisc_ray.reports.study.paper import hidden_size
from minidisc_ray.reports.study.render import render_study, study_frame, study_tables
from minidisc_ray.reports.study.table import StudyTable, study_table
from minidisc_ray.run_files.decision import GapDecision
from minidisc_ray.run_files.result import ModelRecord
from minidisc_ray.study.cells import Outcome

TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def study(tmp_path):
    return study_of(tmp_path, tasks=TASKS, paper=PAPER, scales=[5, 10])


@pytest.fixture
def table(study, tmp_path) -> StudyTable:
    return study_table(study, outcomes_of(study, tmp_path, hours={"MiniDisc": 8.0}))


def test_rows_are_teacher_then_conventional_then_assistant_based_from_large_to_small(table):
    (block,) = table.blocks
    assert [(row.group, row.label) for row in block.rows] == [
        ("teacher", "Teacher"),
        ("conventional", "LTSD10%"),
        ("conventional", "LTSD5%"),
        ("assistant", "TA10%"),
        ("assistant", "MiniDisc10%"),
        ("assistant", "TA5%"),
        ("assistant", "MiniDisc5%"),
        ("majority", "Majority class"),
    ]
    assert [column.title for column in block.columns] == ["MRPC", "MNLI-m", "MNLI-mm"]


def test_scores_averages_and_ratios_by_hand(table):
    rows = {row.label: row for row in table.blocks[0].rows}
    row = rows["MiniDisc10%"]
    assert row.scores["mrpc"].mean == pytest.approx(0.83)  # of 0.82 and 0.84
    assert row.scores["mrpc"].std == pytest.approx(0.02 / 2**0.5)
    assert row.scores["mnli_mm"].text == "72.0 ± 1.4"
    # The flat mean over three columns, MNLI's two among them: (0.83 + 0.73 + 0.72) / 3.
    assert row.average.mean == pytest.approx(0.76)
    assert row.average.std == pytest.approx(0.02 / 2**0.5)
    assert row.macs_at_128 == 1_117_400_000
    # 8 to 2 core-hours, and their squares in FLOPs; the same for both seeds and tasks.
    assert (row.device_hours_ratio, row.training_flops_ratio) == (4.0, 16.0)
    assert rows["LTSD5%"].device_hours_ratio == 1.0
    assert rows["Teacher"].device_hours_ratio is None
    assert rows["Teacher"].scores["mrpc"].values == {0: 0.9, 1: 0.9}
    assert rows["Majority class"].average.text == "39.7"


def test_the_papers_figures_stand_below_ours_where_the_teacher_is_the_papers(table):
    text = render_study(table, "table", width=120)
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("LTSD10%"))
    assert lines[at + 1].split() == ["paper", "87.8", "77.6", "77.5", "81.0", f"1.0{TIMES}"]
    assert not lines[at + 2].strip().startswith("paper"), "nothing was printed for 5%"
    teacher = next(number for number, line in enumerate(lines) if line.startswith("Teacher "))
    assert lines[teacher + 1].split() == ["paper", "10.9G", "91.5", "84.9", "84.9", "87.1"]
    assert "teacher of 12 layers of 768" in lines[0]
    assert "Conventional distillation" in text
    assert "Teacher assistant-based distillation" in text
    assert max(map(len, lines)) <= 120


def test_another_teacher_says_why_the_papers_figures_are_not_shown(study, tmp_path):
    small = model(100, 0.9, encoder_parameters=10_646_784, heads=(12,) * 6, neurons=(1536,) * 6)
    table = study_table(study, outcomes_of(study, tmp_path, teacher=small))
    text = " ".join(render_study(table, "md").split())
    assert "the paper's teacher has 12 layers of 768; this one 6 layers of 384" in text
    assert "| paper |" not in text


def test_the_papers_average_stands_only_beside_one_of_the_same_columns(tmp_path):
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"], "rte": TASKS["mrpc"]}, paper=PAPER)
    table = study_table(study, outcomes_of(study, tmp_path))
    row = next(row for row in table.blocks[0].rows if row.label == "LTSD10%")
    assert table.blocks[0].teacher is not None
    assert row.printed == {"mrpc": 87.8, "cost": 1.0}
    assert any("average is not shown: it is of mrpc, mnli_m, mnli_mm" in note for note in table.notes)


@pytest.mark.parametrize(
    ("layers", "parameters", "neurons", "hidden"),
    [(12, 85_054_464, 3072, 768), (6, 10_646_784, 1536, 384), (4, 3_159_040, 1024, 256), (12, 85_054_465, 3072, None)],
)
def test_the_hidden_size_follows_from_an_encoders_parameters(layers, parameters, neurons, hidden):
    teacher: ModelRecord = model(
        100, 0.9, encoder_parameters=parameters, heads=(4,) * layers, neurons=(neurons,) * layers
    )
    assert hidden_size(teacher) == hidden


def test_every_teacher_has_its_block(tmp_path):
    study = study_of(
        tmp_path,
        tasks={"mrpc": TASKS["mrpc"]},
        teachers={"big": {}, "small": {"teacher": {"num_layers": 1}}},
        scales=[10],
    )
    small = model(100, 0.7, encoder_parameters=10_646_784, heads=(12,) * 6, neurons=(1536,) * 6)
    outcomes = []
    for one in outcomes_of(study, tmp_path):
        if one.cell.teacher == "small":
            one = Outcome(one.cell, f"{one.name}-small", result_of(one.cell, 0.6, 1.0, teacher=small), None)
        outcomes.append(one)
    table = study_table(study, outcomes)
    assert [(block.name, block.rows[0].label) for block in table.blocks] == [("big", "big"), ("small", "small")]
    assert table.blocks[1].rows[1].scores["mrpc"].mean == pytest.approx(0.6)
    text = render_study(table, "table", width=100)
    assert "big · teacher of 12 layers of 768" in text
    assert "small · teacher of 6 layers of 384" in text


def test_a_student_of_some_layers_is_measured_by_the_conventional_one_of_its_scale(tmp_path):
    layers = {"kind": "layers", "num_layers": 1}
    methods = {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "KD1L": {"schedule": {"kind": "conventional"}, "student": layers},
        "DynaBERT": {"schedule": {"kind": "assistant"}, "student": layers, "group": "conventional"},
    }
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods=methods, scales=[50, 10])
    table = study_table(study, outcomes_of(study, tmp_path, hours={"KD1L": 1.0}))
    assert [row.label for row in table.blocks[0].rows] == [
        "Teacher", "KD1L", "DynaBERT", "LTSD50%", "LTSD10%", "Majority class",
    ]  # fmt: skip
    assert table.blocks[0].rows[1].device_hours_ratio == 0.5
    other = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods=methods, scales=[10])
    assert study_table(other, outcomes_of(other, tmp_path)).blocks[0].rows[1].device_hours_ratio is None


def test_csv_has_full_precision_and_the_papers_figures(table):
    rows = list(csv.DictReader(io.StringIO(render_study(table, "csv"))))
    row = next(row for row in rows if row["label"] == "LTSD10%")
    assert float(row["mrpc"]) == pytest.approx(0.81)
    assert (row["mrpc_seeds"], row["student_scale_percent"], row["paper_mrpc"]) == ("2", "10", "87.8")
    assert row["runs"].split()[0] == "mrpc-LTSD-10-seed0"


def test_every_column_is_a_tasks_or_a_name_that_tasks_may_not_have(table):
    found = set(study_frame(table).columns)
    keys = ("mrpc", "mnli_m", "mnli_mm", AVERAGE)
    scores = {text for key in keys for text in (key, f"{key}_std", f"{key}_seeds", f"paper_{key}")}
    assert found - scores == set(TABLE_COLUMNS)


def test_a_tasks_name_stays_one_heading_in_markdown(tmp_path):
    study = study_of(tmp_path, tasks={"a|b <i>": {"task": "mrpc", "data": {"kind": "files", "folder": "x"}}})
    text = render_study(study_table(study, [Outcome(cell, "run", None, None) for cell in cells_of(study)]), "md")
    heading = next(line for line in text.splitlines() if line.startswith("| Method"))
    assert r"| a\|b &lt;i> |" in heading


@pytest.mark.parametrize(
    ("method", "scale", "label"),
    [
        ("LTSD", 5, "LTSD5%"),
        ("MiniDisc (η=1)", 10, "MiniDisc10% (η=1)"),
        ("second layers", 10, "second layers, 10%"),
        ("KD2L", None, "KD2L"),
    ],
)
def test_the_scale_follows_the_methods_first_word(method, scale, label):
    assert row_label(method, scale) == label


def test_a_method_that_decides_says_how_often_it_used_an_assistant(tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "Auto": {"schedule": {"kind": "auto"}}}
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods=methods, scales=[10], seeds=[0, 1, 2])
    gaps = {0: 8.0, 1: 2.0, 2: 2.5}

    def with_decision(outcome: Outcome) -> Outcome:
        if outcome.cell.method != "Auto":
            return outcome
        decision = GapDecision(
            teacher_metric=0.9, student_metric=0.8, num_rows=50, gap_points=gaps[outcome.cell.seed], low_points=-1.0,
            high_points=9.0, min_gap_points=2.0, probe_epochs=2, num_epochs=4, outcome="-",
        )  # fmt: skip
        return replace(outcome, result=outcome.result.model_copy(update={"decision": decision}))

    notes = study_table(study, [with_decision(each) for each in outcomes_of(study, tmp_path)]).notes
    assert [note for note in notes if "used an assistant" in note] == ["Auto used an assistant in 2 of 3 runs."]


def test_macs_and_flops_are_set_apart(tmp_path):
    match = {"schedule": {"kind": "conventional", "match": {"kind": "minidisc", "scales": [60, 30], "num_sampled": 2}}}
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "LTSD <long>": match}
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods=methods, paper=PAPER)
    table = study_table(study, outcomes_of(study, tmp_path))
    (shown,) = study_tables(table)
    assert [column.heading for column in shown.columns if {"MACs", "FLOPs"} & set(column.heading.split())] == [
        "MACs", "FLOPs ratio",
    ]  # fmt: skip
    notes = " ".join(table.notes)
    assert "MACs: multiply-adds of one row of 128 tokens, what the papers print as FLOPs." in notes
    assert "LTSD <long> is matched in FLOPs, in closed form, so its hours may differ" in notes
    assert "Ratios of device-hours, and of FLOPs of training and evaluation, are to LTSD of the same teacher," in notes
    assert "Majority class: always answering the most common class of the rows that are scored." in notes
