"""``minidisc study`` from its file to its page, on a real local Ray."""

import csv
import io
import json

import pytest
from ray_kit import RAY, call
from slow_kit import mostly_slow
from storage_kit import LOCAL
from study_kit import raw_study, write_study

from minidisc_ray.api.studies import prepare_study, report_study
from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.ray_backend.run import run_many
from minidisc_ray.run_files.failures import write_failure

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]


@pytest.mark.parametrize("failed_before", mostly_slow((True, False), (True,)))
def test_a_study_runs_shows_its_failures_and_tries_them_again(capsys, tmp_path, failed_before):
    """What failed in an earlier call, or fails in this one: how a trial fails on Ray, the tests of a sweep look at."""
    methods = {name: raw_study()["methods"][name] for name in ("LTSD", "TA")}
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0], methods=methods))
    storage = tmp_path / "runs"
    once = ("study", file, "--storage", storage, "--set", "recipe.compute.max_failures=0")

    code, out, err = call(capsys, *once, "--dry-run")
    assert (code, err) == (0, "")
    assert not storage.exists()

    study = prepare_study(file, ["recipe.compute.max_failures=0"], storage=str(storage))
    (bad,) = (run for run in study.runs if run.config.schedule.kind == "assistant")
    obstacle = open_run(bad) / "stages"
    if failed_before:
        for run in study.runs:
            if run is not bad:
                run_in_process(run)
        write_failure(LOCAL, bad.run_folder, "main", "there was a file where a folder belongs")
    else:
        obstacle.write_text("a file where a folder belongs")
    code, out, err = call(capsys, *once)
    assert code == 1
    assert f"minidisc: {bad.name} failed: " in err
    assert "--retry-failed runs only these" in err
    assert "failed (a)" in next(line for line in out.splitlines() if line.startswith("TA10%"))
    assert f": {bad.name}." in " ".join(out.split()), "the note of (a) names the run"
    assert "1 of 2 runs are finished, 1 failed" in " ".join(out.split())
    if failed_before:
        assert not (storage / "study-small" / "ray").exists(), "what failed stays failed"
    else:
        assert call(capsys, *once)[0] == 1, "what failed stays failed"
        obstacle.unlink()

    code, out, _ = call(capsys, *once, "--retry-failed", "--format", "json")
    assert code == 0
    assert {found["what"] for found in json.loads(out)["findings"]["differences"]} == {"TA"}

    folder = storage / "study-small"
    rows = csv.DictReader(io.StringIO((folder / "table.csv").read_text(encoding="utf-8")))
    assert {row["method"] for row in rows} >= {"LTSD", "TA"}
    assert {path.name for path in folder.iterdir()} >= {"study.yaml", "table.md", "table.csv", "report.html", "figures"}
    assert list((folder / "figures").glob("*.svg"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "A small study" in page
    assert "2 of 2 runs finished" in page


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_where_it_was(tmp_path):
    methods = {name: raw_study()["methods"][name] for name in ("LTSD", "TA")}
    file = write_study(tmp_path, raw_study(scales=[10], seeds=[0], methods=methods))
    # Long enough that a look, twice a second, finds it at work on any machine.
    study = prepare_study(file, ["recipe.distil.num_epochs=40"], storage=str(tmp_path / "runs"))

    def stop(progress):
        if progress:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(study.runs, study.folder, lambda run, result: None, stop)
    first = report_study(study)
    assert first.table.unfinished
    results = []
    run_many(study.runs, study.folder, lambda run, result: results.append(run.name))
    finished_before = {o.name for o in first.outcomes if o.result is not None}
    assert set(results) == {run.name for run in study.runs} - finished_before
    assert report_study(study).table.unfinished == ()


@pytest.mark.parametrize("stopped_in_search", mostly_slow((False, True), (False,)))
def test_a_grid_is_searched_then_used_by_one_command_that_resumes(capsys, tmp_path, stopped_in_search):
    methods = {"LTSD": raw_study()["methods"]["LTSD"]}
    grid = {"values": {"distil.learning_rate": [1e-3, 1e-2]}}
    file = write_study(tmp_path, raw_study(scales=[10], methods=methods, grid=grid))
    storage = tmp_path / "runs"
    if stopped_in_search:
        study = prepare_study(file, storage=str(storage))
        run_in_process(study.grid_runs[0])
        start = report_study(study)
        assert (start.table.unfinished, start.table.failed) == (
            (study.grid_runs[1].name, "LTSD on builtin at 10 percent, seed 1"),
            {},
        )

    code, out, err = call(capsys, "study", file, "--storage", storage)
    assert (code, err) == (0, "")
    assert "small: 3 runs (2 of them in the grid)" in out
    assert "LTSD on builtin at 10 percent: chose distil.learning_rate" in out
    assert "Chosen settings: distil.learning_rate" in out
    (entry,) = json.loads((storage / "study-small" / "study.json").read_text(encoding="utf-8"))["grid"]
    best = max(entry["runs"], key=lambda run: run["selection_score"])
    assert entry["chosen"] == best["setting"]
    (other,) = prepare_study(file, storage=str(storage)).other_runs
    assert other.config.distil.learning_rate == best["setting"]["distil.learning_rate"]
    assert sorted(path.parent.name for path in storage.glob("*/result.json")) == sorted(
        [other.name, *(run["run"] for run in entry["runs"])]
    )


def test_mistakes_are_one_sentence_before_anything_starts(tmp_path):
    file = write_study(
        tmp_path, raw_study(methods={"LTSD": {"schedule": {"kind": "assistant", "assistant_percent": 5}}})
    )
    with pytest.raises(UserError, match=r"LTSD.*5 is not above the student's own scale"):
        prepare_study(file, storage=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
