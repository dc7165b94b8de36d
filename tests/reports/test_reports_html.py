"""The page: right words, nothing from outside, nothing unescaped."""

from html.parser import HTMLParser

import pytest
from reports_builder import model, run_result, several_objectives, several_seeds

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.html import report_page, write_report

_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Balance(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("method", ["conventional", "assistant", "minidisc", "maxidisc"])
def test_page_is_whole_and_self_contained(method):
    page = report_page(run_result(method))
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    for word in ("<script", "http:", "https:", "src=", "url(", "@import", "<link"):
        assert word not in page


def test_headline_says_what_happened(tmp_path):
    path = write_report(tmp_path / "run", run_result("minidisc"))
    page = " ".join(path.read_text(encoding="utf-8").split())
    assert path.name == "report.html"
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    assert "was compressed to 10% of its attention heads" in page
    assert "Of 3 assistant candidates the one at 40% was chosen in one trial, by λ-tradeoff with λ = 0.2." in page
    assert "The student scores 84.0 F1 on the validation rows, the teacher 90.0" in page
    assert "majority class 81.2" in page
    assert "It cost 2.00 core-hours." in page
    assert "Selected on: a tenth of train, held out." in page
    assert "took no part in any choice" in page
    assert "reused: run before, charged all the same" in page
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
    assert "the teacher may have seen the rows that selected" in page
    assert "so the scores are optimistic" in page
    assert "no better than the majority class" in page


def test_trials_and_comparison():
    runs = several_seeds()
    page = report_page(runs[-1], runs)
    assert "Beside other runs" in page
    assert "out of memory" in page
    assert "3.3\N{MULTIPLICATION SIGN}" in page
    assert "Of 3 assistants tried in full, the one at 40% led to the student that was kept" in " ".join(page.split())


def test_objectives_and_their_steps_are_told():
    runs = several_objectives()
    page = report_page(runs[-1], runs)
    assert "MiniDisc with HS (last) on mrpc" in page
    assert "<th>Step time</th>" in page
    assert ">KD</td>" in page
    assert "<td>300000000</td>" in page.replace(' class="text"', "")


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
    page = report_page(result, [result])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_others_that_cannot_be_compared(tmp_path):
    with pytest.raises(UserError, match="protocol"):
        write_report(tmp_path, run_result(), [run_result("minidisc", protocol="paper")])
    assert list(tmp_path.iterdir()) == []
