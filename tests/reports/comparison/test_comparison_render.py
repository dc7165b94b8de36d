"""render(): four formats of one comparison."""

import io
import json
import math

import pandas as pd
import pytest
from reports_builder import run_result, several_objectives, several_seeds

from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.words import (
    age_text,
    count_text,
    hours_text,
    metric_title,
    percent_text,
    price_text,
    ratio_text,
    score_text,
)

TIMES = "\N{MULTIPLICATION SIGN}"


def test_table_fits_a_hundred_columns():
    text = render(compare(several_seeds()), "table", width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in ("Method", "Encoder", "Total", "MACs", "F1", "Useful", "core-", "Hours", "FLOPs", "Assistant", "Seeds"):
        assert word in text
    for cell in (
        "TA (40%)",
        "Majority class",
        "84.5 ± 0.7",
        "3.3\N{MULTIPLICATION SIGN}",
        "40/35%",
        "8.51M",
        "32.9M",
        "1.12G",
        "123",
    ):
        assert cell in text
    assert "mrpc · student at 10% · LTSD" in text
    assert "Step" not in text
    assert "a tenth of train, held out" in text
    assert "Left out at this width: Accuracy, Teacher hours, Start-up hours" in text
    assert "Warning" not in text


def test_table_fits_with_scales_and_seeds_as_columns():
    text = render(compare([*several_seeds(), *several_seeds(scale=5)]), "table", width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in ("Scale", "Seeds", "MACs", "FLOPs", "Assistant", "TA (40%)", "40/35%"):
        assert word in text


def test_wide_table_has_every_column():
    text = render(compare(several_seeds()), "table", width=220)
    assert "Teacher" in text
    assert "Accuracy" in text
    assert "Left out" not in text


def test_narrow_table_never_cuts_a_cell():
    text = render(compare(several_seeds()), "table", width=60)
    assert "…" not in text
    assert "Majority" in text


def test_two_scales_are_a_column_and_two_tasks_two_tables():
    text = render(compare([run_result(), run_result(scale=5), run_result(task="rte")]), "table", width=100)
    assert "mrpc · LTSD · 1 seed" in text
    assert "Scale" in text
    assert "rte · student at 10% · LTSD · 1 seed" in text


@pytest.mark.parametrize("format_name", ["table", "md"])
def test_several_objectives_are_a_column_with_what_their_steps_take(format_name):
    text = render(compare(several_objectives()), format_name, width=100)
    assert "mrpc · student at 10% · 2 seeds" in text
    line = next(line for line in text.splitlines() if "MiniDisc" in line and "HS (last)" in line)
    assert line.index("MiniDisc") < line.index("HS (last)") < line.index("8.51M")
    assert f"1.5{TIMES}" in line
    assert f"3.0{TIMES}" in line
    assert "relative to LTSD" in " ".join(text.split())
    if format_name == "table":
        assert max(map(len, text.splitlines())) <= 100
        assert "…" not in text


def test_steps_are_shown_beside_ltsd_alone():
    without = [run for run in several_objectives() if run.objective != "LTSD"]
    unmeasured = [run.model_copy(update={"student_step_memory_bytes": None}) for run in several_objectives()]
    one = [run for run in several_objectives() if run.objective == "LTSD"]
    headings = [
        {word for word in ("Objective", "Step time", "Step memory") if f"| {word} |" in render(compare(runs), "md")}
        for runs in (without, unmeasured, one)
    ]
    assert headings == [{"Objective"}, {"Objective", "Step time"}, set()]
    assert "relative to LTSD" not in render(compare(without), "md")


@pytest.mark.parametrize("format_name", ["table", "md"])
def test_warnings_stand_under_the_table(format_name):
    runs = several_seeds(teacher_may_have_seen_selection=True, protocol="paper")
    text = " ".join(render(compare(runs), format_name, width=100).split())
    assert "Warning: on mrpc the teacher may have been trained on the selection rows" in text
    assert "scores are optimistic" in text


def test_an_accuracy_has_the_interval_that_its_rows_leave():
    run = run_result("conventional", primary_metric="accuracy", majority_metrics={"accuracy": 0.5})
    student = run.student.model_copy(update={"validation_metrics": {"accuracy": 0.9}})
    frame = compare([run.model_copy(update={"student": student})])
    (rows,) = set(frame["validation_rows"])
    points = 100 * 1.96 * math.sqrt(0.09 / rows)
    words = f"On mrpc {rows} validation rows leave an accuracy of 90.0 a 95% interval of ±{points:.1f} points"
    assert words in render(frame, "md")
    assert "validation rows leave" not in render(compare([run_result("conventional")]), "md")


def test_text_is_never_markup():
    runs = [run_result(task="[red]a|b[/red]\n<b>")]
    assert "[red]a|b[/red]" in render(compare(runs), "table", width=100)
    markdown = render(compare(runs), "md")
    assert "**[red]a\\|b[/red] &lt;b>" in markdown


def test_markdown_rows_have_as_many_cells_as_headings():
    lines = [line for line in render(compare(several_seeds()), "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0].startswith("| Method | Seeds | Encoder params |")
    assert lines[1].startswith("| :--- | ---: |")


def test_csv_and_json_keep_full_precision():
    frame = compare(several_seeds())
    back = pd.read_csv(io.StringIO(render(frame, "csv")))
    assert list(back.columns) == list(frame.columns)
    assert back["metric_mean"].tolist() == frame["metric_mean"].tolist()
    rows = json.loads(render(frame, "json"))
    assert [row["metric_mean"] for row in rows] == frame["metric_mean"].tolist()
    assert rows[0]["device_hours_ratio"] is None
    assert rows[1]["seeds"] == 3
    assert rows[-1]["seeds"] is None
    assert '"total_parameters": 109483010,' in render(frame, "json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count_text(10_634_000), "10.6M"),
        (count_text(1_357_000_000), "1.36G"),
        (count_text(7_000_000_000, "B"), "7.00B"),
        (count_text(999_999), "1.00M"),
        (count_text(0), "0"),
        (count_text(512), "512"),
        (percent_text(0.8412, 0.0061), "84.1 ± 0.6"),
        (percent_text(-0.02), "-2.0"),
        (score_text("macro_f1", 0.8412, None), "84.1"),
        (score_text("mean_squared_error", 0.8412, None), "0.841"),
        (score_text("mean_absolute_error@other", 1234.5, 12.0), "1,234 ± 12.0"),
        (metric_title("balanced_accuracy@other"), "Balanced accuracy (other)"),
        (ratio_text(4.08), "4.1" + TIMES),
        (ratio_text(0.049), "0.049" + TIMES),
        (ratio_text(123.4), "123" + TIMES),
        (hours_text(0.012345), "0.0123"),
        (hours_text(12.345), "12.3"),
        (hours_text(1234.5), "1,234"),
        (hours_text(0.0), "0"),
        (hours_text(9.9999), "10.0"),
        (hours_text(5e-324), "4.94e-324"),
        (price_text(0.999999), "1.00"),
        (price_text(0.01234), "0.0123"),
        (price_text(1234.5), "1,234.50"),
        (price_text(0.0), "0.00"),
        (price_text(5e-324), "4.94e-324"),
        (price_text(1e300), "1e+300"),
        (hours_text(None), ""),
        (age_text(7300), "2 h"),
    ],
)
def test_numbers_in_words(text, expected):
    assert text == expected
