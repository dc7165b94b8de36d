"""``minidisc study`` before and after its runs, without a cluster: what stands in the way, and what is damaged."""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from study_kit import raw_study, write_study

from minidisc_ray.api.studies import prepare_study, report_study, run_study
from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.finish import has_result, is_finished
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run


def in_the_way(storage, name, kind):
    path = storage / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("in the way")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("study-small", "file"), ("study-small/report.html", "folder"), ("study-small/figures", "file")],
)
def test_what_stands_in_the_way_of_a_studys_files_is_reported_first(tmp_path, name, kind):
    file = write_study(tmp_path, raw_study())
    in_the_way(tmp_path / "runs", name, kind)
    with pytest.raises(UserError, match=rf"^storage: .*{name} is a {kind}, but has to be a \w+ of the study"):
        prepare_study(file, storage=str(tmp_path / "runs"))


@pytest.mark.parametrize("storage", ["/proc/runs", "x" * 300])
def test_a_dry_run_refuses_a_storage_that_cannot_be_written(minidisc, tmp_path, monkeypatch, storage):
    monkeypatch.chdir(tmp_path)
    file = write_study(tmp_path, raw_study())
    message = minidisc("study", file, "--dry-run", "--storage", storage).sentence
    assert message.startswith(f"storage: {storage} cannot be written")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"], "nothing is left there"


def test_one_damaged_run_costs_its_own_cell_and_not_the_page(tmp_path):
    study = prepare_study(write_study(tmp_path, raw_study(scales=[10])), storage=str(tmp_path / "runs"))
    for run in study.runs:
        run_in_process(run)
    broken, cut = (run for run in study.runs if run.config.schedule.kind == "assistant")
    path = broken.run_folder / "result.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    del raw["sha256"]
    path.write_text(json.dumps({**raw, "seed": 7}), encoding="utf-8")
    (cut.run_folder / "predictions" / "main.student.safetensors").write_bytes(b"")
    report = report_study(study)
    assert list(report.table.failed) == [broken.name]
    assert "its seed is 7, not 0" in report.table.failed[broken.name]
    page = report.page.read_text(encoding="utf-8")
    assert "its seed is 7, not 0" in page
    assert f"Not included here: {cut.name} (" in page
    assert {found.what for found in report.findings.differences} == {"MiniDisc"}


def test_a_damaged_result_is_not_finished_and_is_made_again(minidisc, tmp_path):
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0]))
    given = ("study", file, "--storage", tmp_path / "runs")
    study = prepare_study(file, storage=str(tmp_path / "runs"))
    whole, cut, failed = study.runs[:3]
    for run in (whole, cut):
        run_in_process(run)
    path = cut.run_folder / "result.json"
    path.write_bytes(path.read_bytes()[:500])
    open_run(failed)
    (failed.run_folder / "failure.json").write_text('{"reason": "no memory"}')
    first, _, _, *rows = minidisc.well(*given, "--dry-run").splitlines()
    assert "1 of them finished" in first
    states = {row.split()[4]: row.split(row.split()[4])[1].strip() for row in rows}
    assert {run.name: states[run.name] for run in (whole, cut, failed)} == {
        whole.name: "finished", cut.name: "damaged", failed.name: "failed"
    }  # fmt: skip
    done = minidisc(*given, "--report")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "minidisc: --retry-failed runs only the others"
    assert f"{path}: cannot be read as a result" in done.err
    assert not has_result(cut)


def test_a_dry_run_of_a_grid_lists_both_parts_and_counts_all_runs(minidisc, tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "TA": {"schedule": {"kind": "assistant"}}}
    grid = {"values": {"distil.learning_rate": [1e-3, 1e-2]}}
    file = write_study(tmp_path, raw_study(scales=[10], methods=methods, grid=grid))
    arguments = (file, "--storage", tmp_path / "runs")
    out = minidisc.well("study", *arguments, "--dry-run")
    assert out.startswith("small: 6 runs (4 of them in the grid), 0 of them finished, each trial on")
    search, then = out.split("Then, with the chosen settings")
    assert "The grid's runs, seed 0" in search
    assert search.count("0.001") == search.count("0.01") == 2
    rows = [line.split() for line in then.splitlines() if "to be chosen" in line]
    assert [row[:4] for row in rows] == [["LTSD", "builtin", "10%", "1"], ["TA", "builtin", "10%", "1"]]
    assert not (tmp_path / "runs").exists()

    for run in prepare_study(file, storage=str(tmp_path / "runs")).grid_runs[:2]:
        run_in_process(run)
    out = minidisc.well("study", *arguments, "--dry-run")
    assert "small: 6 runs (4 of them in the grid), 2 of them finished" in out
    (known,) = prepare_study(file, storage=str(tmp_path / "runs")).other_runs
    assert known.name in out
    assert out.count("to be chosen") == 1


def test_a_dry_run_is_a_table_of_runs(minidisc, tmp_path):
    methods = {"LTSD [b]": {"schedule": {"kind": "conventional"}}, "MiniDisc": None}
    budgets = {"quick": {"seeds": [0]}, "whole": {}}
    file = write_study(tmp_path, raw_study(scales=[20, 10], methods=methods, budgets=budgets))
    arguments = (file, "--storage", tmp_path / "runs", "--budget", "quick")
    study = prepare_study(file, budget="quick", storage=str(tmp_path / "runs"))
    run_in_process(study.runs[0])
    first, headings, _, *rows = minidisc.well("study", *arguments, "--dry-run").splitlines()
    assert first == (
        f"small, budget quick: 4 runs, 1 of them finished, each trial on 1 x 1 CPUs, in {tmp_path}/runs/study-small"
    )
    assert headings.split() == ["Method", "Task", "Scale", "Seed", "Run"]
    table = [row.split() for row in rows]
    assert [row[-7:-2] if row[-2] == "not" else row[-6:-1] for row in table] == [
        [*cell.method.split()[-1:], cell.task, f"{cell.scale_percent}%", str(cell.seed), run.name]
        for cell, run in zip(study.cells, study.prepared, strict=True)
    ]
    done = study.prepared[0].name
    assert all(row.endswith("not finished") != (done in row) for row in rows)
    assert rows[0].startswith("LTSD [b]")


def test_a_dry_run_says_which_method_has_no_run_and_shows_no_empty_table(minidisc, tmp_path):
    methods = {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "TA": {"schedule": {"kind": "assistant"}, "only": {"seeds": [7]}},
    }
    grid = {"values": {"distil.learning_rate": [1e-3, 1e-2]}}
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0], methods=methods, grid=grid))
    lines = minidisc.well("study", file, "--storage", tmp_path / "runs", "--dry-run").splitlines()
    assert lines[1] == "TA has no seed in this command"
    assert lines[-1] == "Then nothing: every run has the grid's seed."
    assert not any("Then, with the chosen settings" in line for line in lines)


def test_a_report_needs_a_finished_run_and_starts_nothing(minidisc, tmp_path):
    file = write_study(tmp_path, raw_study())
    given = ("study", file, "--storage", tmp_path / "runs", "--report")
    assert minidisc(*given, "--retry-failed").sentence == "--report starts nothing; leave out --retry-failed"
    done = minidisc(*given)
    assert (done.code, done.err) == (2, f"minidisc: --report: no run of this study is finished in {tmp_path}/runs\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(shutil.which("xz") is None, reason="the documented command packs with xz")
def test_a_finished_study_is_packed_without_models_and_reported_elsewhere(minidisc, tmp_path):
    """With the command of docs/studies.md."""
    methods = raw_study()["methods"] | {"MaxiDisc": {"schedule": {"kind": "maxidisc", "scales": [60, 30]}}}
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0], methods=methods))
    here, there = tmp_path / "runs", tmp_path / "there"
    for run in prepare_study(file, storage=str(here)).runs:
        run_in_process(run)
    arguments = ("study", file, "--format", "md", "--storage")
    first, *before = minidisc.well(*arguments, here, "--report").splitlines()
    assert first == f"small: 4 runs, 4 of them finished, each trial on 1 x 1 CPUs, in {here}/study-small"

    docs = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^    (tar (?:.*\\\n)*.*)", docs, re.MULTILINE)
    places = {"STORAGE": str(here), "study.tar.xz": str(tmp_path / "study.tar.xz")}
    subprocess.run([places.get(word, word) for word in shlex.split(command.replace("\\\n", " "))], check=True)
    there.mkdir()
    subprocess.run(["tar", "-C", there, "-xf", tmp_path / "study.tar.xz"], check=True)
    names = {path.name for path in there.rglob("*") if path.is_file()}
    assert not names & {"model.safetensors", "importance.safetensors", "tokenizer.json", "report.html"}
    assert sum(path.stat().st_size for path in there.rglob("*") if path.is_file()) < 4_000_000

    first, *after = minidisc.well(*arguments, there, "--report").splitlines()
    assert "4 runs, 4 of them finished" in first
    assert after[:-1] == before[:-1], "the last line is the page's path"
    assert any("Regret to MaxiDisc" in line for line in after)
    listed = minidisc.well("study", file, "--storage", there, "--dry-run").splitlines()[3:]
    assert len(listed) == 4
    assert not [line for line in listed if line.endswith("not finished")]

    # The study itself trains nothing either: no cluster is started, since none is needed.
    report = run_study(prepare_study(file, storage=str(there)))
    assert all(outcome.result is not None for outcome in report.outcomes)
    assert not (there / "study-small" / "ray").exists()


def test_a_damaged_student_is_no_packed_one(tmp_path):
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0], methods={"LTSD": raw_study()["methods"]["LTSD"]}))
    (run,) = prepare_study(file, storage=str(tmp_path / "runs")).runs
    run_in_process(run)
    assert has_result(run)
    (run.run_folder / "student" / "model.safetensors").unlink()
    assert not has_result(run), "part of it is there"
    (run.run_folder / "student" / "seal.json").unlink()
    assert not has_result(run), "nor does a folder without seal and weights pass"
    shutil.rmtree(run.run_folder / "student")
    assert has_result(run)
    assert not is_finished(run), "`minidisc run` makes it again"
    other = replace(run, config=run.config.model_copy(update={"seed": 1}))
    assert not has_result(other), "a result of another seed"
    (run.run_folder / "result.json").write_text("{}")
    assert not has_result(run)
