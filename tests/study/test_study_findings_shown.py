"""How findings stand in tables and notes."""

from dataclasses import replace

from findings_kit import FEW, section

from minidisc_ray.reports.study.finding_notes import finding_notes
from minidisc_ray.reports.study.findings import finding_tables
from minidisc_ray.study.answers import EVERY_TASK
from minidisc_ray.study.findings import Findings, findings_of


def test_sections_say_what_is_shown_and_what_is_not(findings):
    sections = {section.title: section for section in finding_tables(findings, num_seeds=2)}
    assert list(sections) == [
        "Differences between methods",
        "Regret to MaxiDisc",
        "Rules judged on MaxiDisc's students",
        "Rules that pick the best student",
        "Do the method's assumptions hold?",
    ]
    shown = section(findings, "Differences between methods")["Shown"]
    for verdict, found in zip(shown, findings.differences, strict=True):
        interval = found.interval
        assert verdict == ("no" if interval.low <= 0 <= interval.high else "better" if interval.mean > 0 else "worse")
    assert any("two to five seeds" in note for note in finding_notes(findings, num_seeds=2))


def test_rows_on_fewer_seeds_than_the_study_has_name_them(runs, findings):
    title = "Differences between methods"
    assert {found.seeds for found in findings.differences} == {(0, 1)}
    assert "Seeds" not in section(findings, title)
    assert set(section(findings, title, num_seeds=3)["Seeds"]) == {"0, 1"}, "the study has a third one"

    other = [replace(run, cell=run.cell._replace(task="again")) for run in runs if run.cell.seed == 1]
    some = findings_of([*runs, *other], FEW)
    for each in ("Regret to MaxiDisc", "Rules judged on MaxiDisc's students", title):
        columns = section(some, each)
        found = dict(zip(columns["Task"], columns["Seeds"], strict=True))
        assert found == {"builtin": "0, 1", "again": "1", EVERY_TASK: "1"}, each
    assert any(note.startswith("Seeds: those that both") for note in finding_notes(some, 2))


def test_the_same_predictions_are_no_certainty(findings):
    found = findings.differences[0]
    same = replace(found, interval=replace(found.interval, mean=0.0, low=0.0, high=0.0, excludes_zero=False))
    message = Findings(differences=(same,))
    (cells,) = section(message, "Differences between methods")["Interval"]
    assert cells == "the same predictions"
    assert any("does not show that the methods" in note for note in finding_notes(message, 2))
    assert not any("does not show that the methods" in note for note in finding_notes(Findings((found,)), 2))


def test_rules_say_what_they_need_and_whether_they_looked(findings):
    columns = section(findings, "Rules judged on MaxiDisc's students")
    metrics = "every assistant's metric"
    assert dict(zip(columns["Rule"], columns["Needs"], strict=True)) == {
        "λ-tradeoff, λ = 0.2": metrics,
        "negative derivative": metrics,
        "2.5x law": "nothing",
        "best assistant on selection": metrics,
        "no assistant": "nothing",
    }
    assert {found.smallest_candidate for found in findings.rules} == {20}
    rule = next(found for found in findings.rules if found.what.startswith("λ"))
    blind, law = replace(rule, picks=(20, 20)), replace(rule, what="2.5x law", picks=(20, 20))
    note = "λ-tradeoff, λ = 0.2 picked the smallest candidate, 20%, on every task and seed: here its metrics"
    message = [each for each in finding_notes(Findings(rules=(blind, law)), 2) if "picked the smallest" in each]
    assert message == [f"{note} made no difference."]
    looked = finding_notes(Findings(rules=(blind, replace(rule, picks=(20, 40)))), 2)
    assert not any("picked the smallest" in each for each in looked)


def test_rank_correlations_over_few_scales_or_none_are_one_sentence(findings):
    title = "Does the trade-off order the students?"
    assert title not in {each.title for each in finding_tables(findings, 2)}
    assert any(
        note.startswith("No rank correlations on builtin: over fewer than 4") for note in finding_notes(findings, 2)
    )

    def agreements(mean):
        return [
            replace(each, agreement=replace(each.agreement, num_scales=5, mean=mean)) for each in findings.agreements
        ]

    same = Findings(agreements=tuple(agreements(None)))
    assert finding_tables(same, 2) == []
    assert finding_notes(same, 2) == [
        "No rank correlations on builtin: the students, or their assistants, score the same at all scales."
    ]
    (first, *_), (_, *others) = agreements(None), agreements(0.5)
    assert section(Findings(agreements=(first, *others)), title)["Mean"] == ("undefined",) + ("+0.50",) * 5
