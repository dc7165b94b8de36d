"""Texts of recipes, data sets, runs and errors stay texts: no element, attribute, script or formula comes of them."""

import base64
import csv
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from reports_builder import report_page, run_result, several_seeds
from storage_kit import LOCAL
from study_kit import cells_of, study_of

from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.study.page import render_whole_study, write_study
from minidisc_ray.reports.study.table import study_table
from minidisc_ray.reports.tables import csv_text, records_of
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.findings import Findings

HOSTILE = [
    "<x-pwned>",
    '"><x-pwned pwned="1">',
    "' pwned='1",
    '" onmouseover="pwned()',
    "</title><x-pwned>",
    "</script><script>pwned()</script>",
    "</style></pre></svg><x-pwned>",
    "]]>--><x-pwned>",
    "{{ 7 * 7 }}{% raw %}<x-pwned>",
    "<img src=x onerror=pwned()>",
    "&lt;x-pwned&gt;&#60;x-pwned>",
    "javascript:pwned()",
    "\N{RIGHT-TO-LEFT OVERRIDE}<x-pwned>",
    "url(https://pwned.example)",
]
ALL = " ".join(HOSTILE)


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[tuple[str, str]] = set()
        self.values: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.found |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        self.values += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside == "script" else self.texts).append(data)


def hostile_run(text: str, method: str = "maxidisc") -> RunResult:
    runs = run_result(method)
    changes = dict.fromkeys(
        ("name", "task", "objective", "label", "selection_split", "selection_rule", "teacher_source", "devices",
         "data_digest", "setting_digest", "method_digest", "started_at", "finished_at"), text,
    )  # fmt: skip
    metrics = {"majority_metrics": runs.majority_metrics | {text: 0.5}, "versions": {text: text}}
    model = {"validation_metrics": runs.student.validation_metrics | {text: 0.5}, "selection_metrics": {text: 0.5}}
    stages = tuple(
        stage.model_copy(update={"stage": text, "trial": text, "device_type": text}) for stage in runs.cost.stages
    )
    return RunResult.model_validate(
        runs.model_dump()
        | {key: value for key, value in changes.items() if hasattr(runs, key)}
        | metrics
        | {"splits": {text: {"rows": 1, "truncated_rows": 0}}, "choice_by_lambda": {text: 40}}
        | {"trials": [trial.model_copy(update={"name": text, "reason": text}) for trial in runs.trials]}
        | {"student": runs.student.model_copy(update=model), "cost": runs.cost.model_copy(update={"stages": stages})}
    )


def check_only_texts(hostile: str, plain: str) -> None:
    found, known = Elements(hostile), Elements(plain)
    assert found.found <= known.found
    assert not [
        name for name, _ in found.values if name.startswith("on") or name in ("pwned", "srcdoc", "formaction", "href")
    ]
    image = re.compile(r"data:image/svg\+xml;base64,[A-Za-z0-9+/]+=*")
    assert all(image.fullmatch(value) for name, value in found.values if name == "src")
    assert not [value for name, value in found.values if "url(" in value and name not in ("aria-label", "alt")]
    # The one script is the page's own, which the policy knows by its digest.
    (policy,) = [value for name, value in found.values if name == "content" and "default-src" in value]
    script = "".join(found.scripts)
    assert script == "".join(known.scripts)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert hostile.count("<script") == 1


# Figures cut long texts, so that each half comes first once.
@pytest.mark.parametrize("text", [ALL, " ".join(reversed(HOSTILE))])
def test_a_runs_texts_stay_texts(text):
    hostile, plain = hostile_run(text), hostile_run("plain")
    page = report_page(hostile, [hostile], config_text=text)
    check_only_texts(page, report_page(plain, [plain], config_text="plain"))
    assert text.split()[0] in "".join(Elements(page).texts)


def test_a_studys_texts_stay_texts(tmp_path):
    def page(words: list[str], folder: Path) -> str:
        names = [f"{word}{place}"[:60] for place, word in enumerate(words)]
        study = study_of(
            tmp_path,
            title=" ".join(words)[:200],
            methods={
                name: {"schedule": {"kind": "assistant", "assistant_percent": 40 + i}} for i, name in enumerate(names)
            },
            tasks={name: {"task": "builtin", "data": {"max_train_rows": 100 + i}} for i, name in enumerate(names[:1])},
            seeds=[0],
            scales=[10],
        )
        outcomes = []
        for place, cell in enumerate(cells_of(study, tmp_path)):
            name = f"{words[place % len(words)]} {place}"
            result = run_result("assistant", cell.seed, task=cell.task, name=name, label=name)
            is_there = place % 3 == 0
            outcomes.append(Outcome(cell, name, result if is_there else None, None if is_there else " ".join(words)))
        table = study_table(study, outcomes)
        found = write_study(LOCAL, folder, study, table, Findings(), outcomes).read_text(encoding="utf-8")
        for cells in csv.reader(io.StringIO((folder / "table.csv").read_text(encoding="utf-8"))):
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@")) or re.match(r"-\D", cell)]
        assert "<x-pwned" not in (folder / "table.md").read_text(encoding="utf-8")
        return found

    words = [HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[5], "=cmd()", "-1+1", "@SUM(1)"]
    check_only_texts(page(words, tmp_path / "hostile"), page(["plain"] * len(words), tmp_path / "plain"))


def test_figures_hold_texts_only(tmp_path):
    import xml.etree.ElementTree as ET

    write_report(LOCAL, tmp_path, hostile_run(ALL), [hostile_run(ALL)])
    figures = sorted((tmp_path / "figures").glob("*.svg"))
    assert figures
    for path in figures:
        assert re.fullmatch(r"[a-z0-9-]+\.svg", path.name)
        for element in ET.fromstring(path.read_bytes()).iter():
            assert "pwned" not in element.tag
            assert not [name for name in element.attrib if name.startswith("on") or "pwned" in name]


def test_a_formula_is_no_formula_in_csv_and_numbers_stay_numbers():
    texts = ["=cmd()", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "plain", " =1", "1-1", "-", ""]
    frame = pd.DataFrame({"text": texts, "number": [-0.5 * i for i in range(len(texts))], "=head": [None] * len(texts)})
    rows = list(csv.reader(io.StringIO(csv_text(records_of(frame)), newline="")))
    assert rows[0] == ["text", "number", "'=head"]
    assert [row[0] for row in rows[1:]] == [
        "'=cmd()",
        "'+1+1",
        "'-1+1",
        "'@SUM(A1)",
        "'\t=1",
        "'\n=1",  # a lone carriage return would begin a line of its own
        "plain",
        " =1",
        "1-1",
        "'-",
        "",
    ]
    assert [row[1] for row in rows[1:3]] == ["-0.0", "-0.5"]
    whole = render(compare([run_result(objective="=cmd()", name="@x")]), "csv")
    assert "'=cmd()" in whole
    assert ",=cmd()" not in whole
    # As it was given where no spreadsheet reads it.
    assert '"=cmd()"' in render(compare([run_result(objective="=cmd()", name="@x")]), "json")


def test_csv_of_plain_runs_is_what_it_was():
    frame = compare(several_seeds())
    assert render(frame, "csv") == frame.to_csv(index=False, lineterminator="\n")


def test_pages_and_tables_have_no_secrets(tmp_path):
    token = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwX"
    page = report_page(hostile_run(f"from https://me:{token}@h/x"), config_text=f"path: {token}")
    assert token not in page
    assert "https://***@h/x" in page
    study = study_of(tmp_path, title=f"with {token}", seeds=[0], scales=[10])
    outcomes = [Outcome(cell, "a", None, f"HTTP 401 with {token}") for cell in cells_of(study, tmp_path)]
    table = replace(study_table(study, outcomes), failed={"a": token})
    for format_ in ("table", "md", "csv", "json"):
        assert token not in render_whole_study(table, Findings(), format_)
    write_study(LOCAL, tmp_path / "study", study, table, Findings(), outcomes)
    for path in (tmp_path / "study").rglob("*.*"):
        assert token.encode() not in path.read_bytes(), path
