"""What files and folders' names say is shown, and nothing that a terminal obeys or that cannot be encoded."""

import csv
import io
import json
import os

import pytest
from reports_builder import run_result
from rich.console import Console
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.cli.display import show_result
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.printable import printable, printable_json
from minidisc_ray.files.writing import write_json
from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.storage.listing import StorageEntry, listing
from minidisc_ray.reports.storage.views import BY_RUN
from minidisc_ray.reports.tables import terminal_text
from minidisc_ray.run_files.result import RunResult, load_result

EVIL = "\x1b[31mred\x1b]0;title\x07\N{RIGHT-TO-LEFT OVERRIDE}\x9b1m\ud800\r\x00end"
SHOWN = r"\x1b[31mred\x1b]0;title\x07\u202e\x9b1m\ud800"


def is_safe(text: str) -> bool:
    return text.replace("\n", "").replace("\t", "").isprintable() and bool(text.encode())


def test_a_text_is_shown_with_escapes_and_json_keeps_its_values():
    assert printable(EVIL) == SHOWN + r"\r\x00end"
    assert printable("a\tb\n¹ naïve 名 →") == "a\tb\n¹ naïve 名 →"
    values = {EVIL: [EVIL, "\U000e0001", "名 →", '"\\'], "n": 1.5}
    text = printable_json(json.dumps(values, indent=2, ensure_ascii=False))
    assert is_safe(text)
    assert json.loads(text) == values
    assert "名 →" in text
    assert is_safe(str(UserError(EVIL)))


def evil_result() -> RunResult:
    result = run_result("maxidisc")
    metrics = {"validation_metrics": result.student.validation_metrics | {EVIL: 0.5}}
    values = dict.fromkeys(("task", "label", "objective", "selection_split", "selection_rule", "name"), EVIL)
    return result.model_copy(
        update=values
        | {
            "student": result.student.model_copy(update=metrics),
            "cost": result.cost.model_copy(update={"price": 1.0, "currency": EVIL}),
            "choice_by_lambda": {EVIL: 40},
            "trials": tuple(one.model_copy(update={"reason": EVIL}) for one in result.trials),
        }
    )


@pytest.mark.parametrize("format", ["table", "md", "csv", "json"])
def test_a_comparison_of_hostile_results_is_safe_to_show(format):  # noqa: A002
    text = render(compare([evil_result()]), format, 1000)
    assert is_safe(text)
    if format == "json":
        assert {row["task"] for row in json.loads(text)} == {EVIL.replace("\ud800", r"\ud800")}
    else:
        assert (SHOWN.replace("\\", "\\\\") if format == "md" else SHOWN) in text


def test_what_a_run_shows_at_its_end_is_safe(tmp_path):
    stream = io.StringIO()
    show_result(Console(file=stream, width=400, color_system=None), tmp_path / EVIL.replace("\x00", ""), evil_result())
    assert is_safe(stream.getvalue())
    assert SHOWN in stream.getvalue()


def test_a_listing_of_hostile_files_is_safe_and_no_formula(tmp_path):
    write_json(tmp_path / os.fsdecode(b"\xff\xfe") / "identity.json", {"task": {"name": EVIL}, "seed": 1})
    write_json(tmp_path / "\x1b[31mfailed" / "identity.json", {"schedule": {"kind": EVIL}})
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "result.json").write_text(
        json.dumps(json.loads(run_result().model_dump_json()) | {"task": EVIL})
    )
    Ledger(LOCAL, tmp_path / "=cmd" / "ledger.jsonl").start("stage", "student", "main", 1.0, "cpu-core")
    os.utime(tmp_path / "done" / "result.json", (2**40, 2**40))
    found = listing(tmp_path)
    assert load_result(tmp_path / "done").task == EVIL
    found += [
        StorageEntry("driven", "run", "running", driver="=cmd|x@h 1"),
        StorageEntry("noted", "run", "failed", note=EVIL),
    ]
    names = [entry.name for entry in found]
    assert len(names) == 6
    table, lines, values = (
        terminal_text([BY_RUN.table(found)], 400),
        BY_RUN.text(found, "csv"),
        BY_RUN.text(found, "json"),
    )
    assert is_safe(table)
    assert is_safe(lines)
    assert is_safe(values)
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert {row["name"] for row in rows} >= {r"\udcff\udcfe", r"\x1b[31mfailed", "'=cmd"}
    assert "'=cmd|x@h 1" in {row["driver"] for row in rows}
    assert [row["name"] for row in json.loads(values)] == names
    assert SHOWN in table
