"""status() on folders as runs leave them, broken ones too."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reports_builder import run_result
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.storage.status import status
from minidisc_ray.reports.storage.views import BY_TRIAL
from minidisc_ray.reports.tables import terminal_text
from minidisc_ray.run_files.failures import write_failure
from minidisc_ray.run_files.progress import Progress, write_progress


def progress(trial: str = "main", state: str = "running", age: float = 1.0) -> Progress:
    now = time.time()
    return Progress(
        trial=trial, status=state, stage="sandwich", stage_index=2, num_stages=3, step=120, num_steps=400,
        metric_name="f1", metric=0.8412, device_hours=0.0123, started_at=now - 100, updated_at=now - age,
    )  # fmt: skip


def run_folder(storage: Path, name: str, age: float = 1000.0) -> Path:
    folder = storage / name
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text("seed: 0\n")
    os.utime(config, (time.time() - age, time.time() - age))
    return folder


def test_every_kind_of_run(tmp_path):
    write_progress(LOCAL, run_folder(tmp_path, "live"), progress())
    write_progress(LOCAL, run_folder(tmp_path, "lost"), progress(age=300))
    write_progress(LOCAL, run_folder(tmp_path, "broken"), progress(state="failed"))
    # Of a run that was refused after its teacher was trained.
    write_progress(LOCAL, run_folder(tmp_path, "at chance"), progress(age=300))
    write_failure(LOCAL, tmp_path / "at chance", "main", "the teacher has learned nothing")
    sweep = run_folder(tmp_path, "sweep")
    write_progress(LOCAL, sweep, progress("assistant-55", "finished"))
    write_progress(LOCAL, sweep, progress("assistant-40"))
    done = run_folder(tmp_path, "done")
    write_progress(LOCAL, done, progress(state="finished"))
    (done / "result.json").write_text(run_result("maxidisc").model_dump_json())
    run_folder(tmp_path, "new", age=1)
    run_folder(tmp_path, "queued", age=100_000)
    write_failure(LOCAL, run_folder(tmp_path, "refused"), "main", "no memory")
    for skipped in ("_cache", ".hidden"):
        run_folder(tmp_path, skipped)
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file.txt").write_text("")

    found = {(entry.run, entry.trial): entry for entry in status(tmp_path)}
    assert {key: entry.status for key, entry in found.items()} == {
        ("at chance", "main"): "failed",
        ("broken", "main"): "failed",
        ("done", "3 trials, 1 failed"): "finished",
        ("live", "main"): "running",
        ("lost", "main"): "stale",
        ("new", "main"): "waiting",
        ("queued", "main"): "waiting",
        ("refused", "main"): "failed",
        ("sweep", "assistant-40"): "running",
        ("sweep", "assistant-55"): "finished",
    }
    live = found["live", "main"]
    assert (live.stage, live.step, live.metric, live.metric_split) == ("2/3 sandwich", "120/400", 0.8412, "selection")
    assert found["refused", "main"].stage == "no memory"
    finished = found["done", "3 trials, 1 failed"]
    assert (finished.metric, finished.metric_split) == (0.84, "validation")


def test_a_run_started_again_is_live(tmp_path):
    folder = run_folder(tmp_path, "again")
    result = folder / "result.json"
    result.write_text(run_result().model_dump_json())
    os.utime(result, (time.time() - 50, time.time() - 50))
    write_progress(LOCAL, folder, progress())
    assert [entry.status for entry in status(tmp_path)] == ["running"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"schema_version": 1}', b'{"schema_version": 9}', b"[" * 100_000]
)
def test_corrupt_files_hide_nothing(tmp_path, content):
    both = run_folder(tmp_path, "both")
    (both / "result.json").write_bytes(content)
    (both / "progress").mkdir()
    (both / "progress" / "main.json").write_bytes(content)
    write_progress(LOCAL, run_folder(tmp_path, "live"), progress())
    result_only = run_folder(tmp_path, "result-is-a-folder")
    (result_only / "result.json").mkdir()
    progress_is_a_file = run_folder(tmp_path, "progress-is-a-file")
    (progress_is_a_file / "progress").write_bytes(content)
    assert {entry.run: entry.status for entry in status(tmp_path)} == {
        "both": "failed",
        "live": "running",
        "progress-is-a-file": "stale",
        "result-is-a-folder": "failed",
    }


@contextmanager
def as_no_root() -> Iterator[None]:
    """Root reads every folder."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_cannot_be_read_hides_nothing(mode):
    # Others may not look into what pytest makes.
    with tempfile.TemporaryDirectory() as name:
        storage = Path(name)
        storage.chmod(0o755)
        write_progress(LOCAL, run_folder(storage, "live"), progress())
        closed = run_folder(storage, "closed")
        (closed / "progress").mkdir()
        closed.chmod(mode)
        try:
            with as_no_root():
                found = {entry.run: entry for entry in status(storage)}
        finally:
            closed.chmod(0o700)
    assert (found["live"].status, found["closed"].status) == ("running", "stale")
    assert found["closed"].stage == "cannot be read (Permission denied)"


def test_one_runs_trials_by_its_folder(tmp_path, monkeypatch):
    write_progress(LOCAL, run_folder(tmp_path, "other"), progress())
    sweep = run_folder(tmp_path, "sweep")
    write_progress(LOCAL, sweep, progress("assistant-55", "finished"))
    write_progress(LOCAL, sweep, progress("assistant-40"))
    monkeypatch.chdir(sweep)
    for place in (sweep, Path()):
        found = status(place)
        assert [(entry.run, entry.trial) for entry in found] == [("sweep", "assistant-40"), ("sweep", "assistant-55")]


def test_missing_storage(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        if path.name == "file":
            path.write_text("")
        with pytest.raises(UserError, match="storage: "):
            status(path)


def test_table_fits_a_hundred_columns(tmp_path):
    name = "builtin-minidisc-10pc-seed0-0123abcd"
    write_progress(LOCAL, run_folder(tmp_path, name), progress())
    ledger = Ledger(LOCAL, tmp_path / name / "ledger.jsonl")
    ledger.end(ledger.start("stage", "sandwich", "main", 1000.0, "cpu-core", time.time() - 4.428), "finished")
    write_progress(LOCAL, run_folder(tmp_path, "[red]x"), progress())
    text = terminal_text([BY_TRIAL.table(status(tmp_path))], 100)
    assert "…" not in text
    assert "[red]x" in text
    for cell in (name, "main", "running", "2/3 sandwich", "120/400", "F1 84.1", "1.23", "1 s"):
        assert cell in text


def test_trials_that_ended_early_are_counted_apart(tmp_path):
    result = run_result("maxidisc")
    trials = tuple(
        one.model_copy(update={"status": "ended early"}) if one.status == "failed" else one for one in result.trials
    )
    folder = run_folder(tmp_path, "done")
    (folder / "result.json").write_text(result.model_copy(update={"trials": trials}).model_dump_json())
    (found,) = status(tmp_path)
    assert found.trial == "3 trials, 1 ended early"
