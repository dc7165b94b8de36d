"""The page: right words, its figures, nothing from outside, nothing unescaped."""

import re
from html.parser import HTMLParser

import pytest
from reports_builder import model, report_page, run_result, several_objectives, several_seeds
from storage_kit import LOCAL

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.pages.page import sort_value
from minidisc_ray.reports.run.page import write_report

_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Balance(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("method", ["conventional", "assistant", "minidisc", "maxidisc"])
def test_page_is_whole_and_self_contained(method):
    page = report_page(run_result(method))
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    for word in ("http:", "https:", "@import", "<link", "url("):
        assert word not in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)


def test_headline_says_what_happened(tmp_path):
    path = write_report(LOCAL, tmp_path / "run", run_result("minidisc"))
    page = " ".join(path.read_text(encoding="utf-8").split())
    assert path.name == "report.html"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["figures", "report.html"]
    assert "was compressed to 10% of its attention heads" in page
    assert "Of 3 assistant candidates the one at 40% was chosen in one trial, by λ-tradeoff with λ = 0.2." in page
    assert "The student scores 84.0 F1 on the validation rows, the teacher 90.0" in page
    assert "majority class 81.2" in page
    assert "It cost 2.00 useful core-hours." in page
    assert "Selected on: a tenth of train, held out." in page
    assert "took no part in any choice" in page
    assert "reused: executed earlier, charged in full" in page
    assert "evaluated" in page
    assert "3301" in page
    assert "109483010" in page
    assert "may have seen" not in page


def test_doubts_are_said():
    result = run_result(
        "minidisc",
        teacher_may_have_seen_selection=True,
        protocol="paper",
        selection_split="validation",
        student=model(10, 0.812),
    )
    page = report_page(result)
    assert "the teacher may have been trained on the selection rows" in page
    assert "so the scores are optimistic" in page
    assert "no better than the majority class" in page


def test_trials_and_comparison():
    runs = several_seeds()
    page = report_page(runs[-1], runs)
    assert "Beside other runs" in page
    assert "out of memory" in page
    assert "3.3\N{MULTIPLICATION SIGN}" in page
    assert "Of 3 assistants tried in full, the one at 40% led to the student that was kept" in " ".join(page.split())


def test_objectives_and_their_steps_are_reported():
    runs = several_objectives()
    page = report_page(runs[-1], runs)
    assert "MiniDisc with HS (last) on mrpc" in page
    assert "<th>Step time</th>" in page
    assert ">KD</td>" in page
    assert ">300000000</td>" in page


def test_everything_is_escaped():
    evil = '<script>alert("x")</script>'
    trials = [trial.model_copy(update={"reason": evil}) for trial in run_result("maxidisc").trials]
    result = run_result(
        "maxidisc",
        name=evil,
        task=evil,
        objective=evil,
        selection_split=evil,
        selection_rule=evil,
        teacher_source=evil,
        devices=evil,
        trials=trials,
        versions={evil: evil},
        splits={evil: {"rows": 1, "truncated_rows": 0}},
        majority_metrics={"f1": 0.5, evil: 0.5},
    )
    page = report_page(result, [result], config_text=evil)
    assert page.count("<script") == 1
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_others_that_cannot_be_compared(tmp_path):
    with pytest.raises(UserError, match="protocol"):
        write_report(LOCAL, tmp_path, run_result(), [run_result("minidisc", protocol="paper")])
    assert list(tmp_path.iterdir()) == []


def test_figures_stand_in_the_page_and_beside_it(tmp_path):
    runs = several_seeds()
    page = write_report(LOCAL, tmp_path, runs[4], runs).read_text(encoding="utf-8")
    figures = ["accuracy", "cost", "structure", "tradeoff"]
    names = [f"{kind}-mrpc-10pc.{ending}" for kind in figures for ending in ("png", "svg")]
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == names
    assert page.count("<figure") == page.count("<img") == page.count("<figcaption>") == 4
    alternatives = re.findall(r'<img src="[^"]*" alt="([^"]*)">', page)
    assert alternatives[0] == "Chart: F1 against core-hours: mrpc, LTSD, student at 10%."
    assert len(set(alternatives)) == 4
    assert "MiniDisc: 2 seeds; MaxiDisc: 2 seeds" in page
    alone = report_page(run_result())
    assert alone.count("<img") == 2  # what was kept, and what it cost


def test_the_config_stands_at_the_foot(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 7\nname: a <b>\n", encoding="utf-8")
    page = write_report(LOCAL, tmp_path, run_result()).read_text(encoding="utf-8")
    assert "<pre>seed: 7\nname: a &lt;b&gt;\n</pre>" in page
    assert "<details>" not in report_page(run_result())


def test_numbers_sort_by_their_raw_values_and_sums_stay_at_the_foot():
    runs = several_seeds()
    page = report_page(runs[-1], runs)
    assert '<td data-value="0.872">87.2</td>' in page
    assert '<td data-value="4.0">4.00</td>' in page
    feet = re.findall(r"<tfoot>(.*?)</tfoot>", page, re.DOTALL)
    assert len(feet) == 2
    assert ">All<" in feet[0]
    assert ">Sum<" in feet[1]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("10.6M", 10_600_000.0),
        ("1.43G", 1.43e9),
        ("22.7B", 22.7e9),
        ("77.5 ± 2.4", 77.5),
        ("-2.0", -2.0),
        ("1,234", 1234.0),
        ("9.8\N{MULTIPLICATION SIGN}", 9.8),
        ("25/40%", 25.0),
        ("0.0422 core-hours", 0.0422),
        (0.25, 0.25),
        (3, 3.0),
    ],
)
def test_a_cell_sorts_by_the_number_that_it_shows(cell, value):
    assert float(sort_value(cell)) == pytest.approx(value)


@pytest.mark.parametrize("cell", [None, "", "Majority class", True])
def test_what_is_no_number_has_no_value(cell):
    assert sort_value(cell) == ""
