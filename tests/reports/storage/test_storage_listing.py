"""Every run and study of a storage root as one line, damaged ones too."""

import csv
import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from reports_builder import run_result
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, this_driver
from minidisc_ray.driver.lease import leased
from minidisc_ray.files.writing import write_json
from minidisc_ray.reports.storage.listing import StorageEntry, listing
from minidisc_ray.reports.storage.status import status
from minidisc_ray.reports.storage.views import BY_RUN
from minidisc_ray.reports.tables import terminal_text
from minidisc_ray.run_files.failures import write_failure
from minidisc_ray.run_files.progress import Progress, write_progress

IDENTITY = {
    "numerics": 1,
    "contents": {},
    "task": {"kind": "glue", "name": "mrpc"},
    "schedule": {"kind": "minidisc"},
    "student": {"scale_percent": 10},
    "seed": 3,
}


def run_folder(storage: Path, name: str) -> Path:
    folder = storage / name
    write_json(folder / "identity.json", IDENTITY)
    (folder / "config.yaml").write_text("seed: 3\n")
    return folder


def progress(folder: Path, state: str, trial: str = "main", metric: float | None = 0.8, age: float = 1.0) -> None:
    now = time.time()
    write_progress(LOCAL,
        folder,
        Progress(
            trial=trial, status=state, stage="sandwich", stage_index=2, num_stages=3, metric_name="f1", metric=metric,
            started_at=now - 100, updated_at=now - age,
        ),
    )  # fmt: skip


def finished_run(storage: Path, name: str, kind: str = "minidisc") -> Path:
    folder = run_folder(storage, name)
    (folder / "result.json").write_text(run_result(kind).model_dump_json())
    return folder


@pytest.fixture
def storage(tmp_path):
    finished_run(tmp_path, "done")
    progress(run_folder(tmp_path, "live"), "running")
    progress(run_folder(tmp_path, "lost"), "running", age=300)
    progress(run_folder(tmp_path, "stopped"), "interrupted", "scale-40", 0.7)
    progress(tmp_path / "stopped", "finished", "scale-60", 0.75)
    write_failure(LOCAL, run_folder(tmp_path, "bad"), "main", "no memory\nleft")
    progress(tmp_path / "bad", "failed")
    run_folder(tmp_path, "new")
    (tmp_path / "_shared").mkdir()
    (tmp_path / "somebody's notes").mkdir()
    (tmp_path / "file.txt").write_text("")
    return tmp_path


def states(storage):
    return {entry.name: entry.state for entry in listing(storage)}


def test_every_state_and_no_folder_that_is_not_ours(storage):
    assert states(storage) == {
        "done": "finished",
        "live": "running",
        "lost": "stale",
        "stopped": "interrupted",
        "bad": "failed",
        "new": "not begun",
    }
    found = {entry.name: entry for entry in listing(storage)}
    done, stopped = found["done"], found["stopped"]
    result = run_result("minidisc")
    assert (done.method, done.metric_split, done.metric) == (
        "minidisc",
        "validation",
        result.student.validation_metrics["f1"],
    )
    assert (done.held_hours, done.seed) == (pytest.approx(2.0 + 0.0123 + 1.5), result.seed)
    assert (stopped.method, stopped.task, stopped.scale_percent, stopped.seed) == ("minidisc", "mrpc", 10, 3)
    assert (stopped.metric, stopped.metric_split) == (0.75, "selection")
    assert found["bad"].note == "no memory left"


def test_a_run_that_ended_for_a_reason_has_failed(tmp_path):
    """Its last stage was cut short, as a stopped one's is; what it left says why."""
    folder = run_folder(tmp_path, "chance")
    progress(folder, "interrupted")
    assert [(one.state, one.note) for one in listing(tmp_path)] == [("interrupted", "")]
    write_failure(LOCAL, folder, "main", "teacher: it has learned nothing")
    assert [(one.state, one.note) for one in listing(tmp_path)] == [("failed", "teacher: it has learned nothing")]


@pytest.mark.parametrize("age", [1.0, 3600.0])
def test_a_run_whose_shared_stages_failed_has_failed_whatever_their_progress_says(tmp_path, age):
    folder = run_folder(tmp_path, "learned-nothing")
    progress(folder, "running", "shared", age=age)
    write_failure(LOCAL, folder, "main", "the teacher has learned nothing")
    (entry,) = listing(tmp_path)
    assert (entry.state, entry.note) == ("failed", "the teacher has learned nothing")
    (shown,) = status(tmp_path)
    assert shown.status == "failed"
    assert shown.stage.endswith(": the teacher has learned nothing")


def test_held_hours_are_those_of_all_attempts_and_the_teachers_part_is_named(storage):
    ledger = Ledger(LOCAL, storage / "stopped" / "ledger.jsonl")
    for stage, hours in (("teacher", 5), ("sandwich", 2), ("sandwich", 1)):
        attempt = ledger.start("stage", stage, "main", 2.0, "cpu-core", time.time() - 3600 * hours)
        ledger.end(attempt, "interrupted")
    found = {entry.name: entry for entry in listing(storage)}
    # All three overlap: a device is held once, and where attempts claim it the newest has it.
    assert found["stopped"].held_hours == pytest.approx(10.0, rel=1e-3)
    assert found["stopped"].teacher_hours == pytest.approx(6.0, rel=1e-3)
    assert found["new"].held_hours is None


def test_the_last_changed_is_first_and_sizes_are_of_all_files(storage):
    for age, name in enumerate(("new", "done", "stopped", "live", "bad", "lost")):
        for path in [path for path in (storage / name).rglob("*") if path.is_file()]:
            os.utime(path, (time.time() - 3600 * age - 10, time.time() - 3600 * age - 10))
    (storage / "done" / "student").mkdir()
    (storage / "done" / "student" / "model.safetensors").write_bytes(b"x" * 5000)
    os.utime(storage / "done" / "student" / "model.safetensors", (1.0, 1.0))
    (storage / "done" / "elsewhere").symlink_to(storage / "live")
    found = listing(storage)
    assert [entry.name for entry in found] == ["new", "done", "stopped", "live", "bad", "lost"]
    assert found[1].size_bytes > 5000 + (storage / "done" / "result.json").stat().st_size


def test_a_task_of_ones_own_is_called_by_its_name_before_its_run_is_finished(tmp_path):
    own = {**IDENTITY, "task": {"kind": "classification", "text": ["text"], "label": "label"}}
    for name, config in (
        ("read", "task: {kind: classification}\ndata: {kind: files, folder: /r/reviews}"),
        ("bad", ""),
    ):
        write_json(run_folder(tmp_path, name) / "identity.json", own)
        (tmp_path / name / "config.yaml").write_text(config)
    assert {entry.name: entry.task for entry in listing(tmp_path)} == {"read": "reviews", "bad": "classification"}


def test_a_driver_makes_the_difference(storage):
    def there(name):
        return {entry.name: entry for entry in listing(storage)}[name]

    with leased(LOCAL, storage / "study-table", [storage / "new", storage / "lost"]) as lease:
        who = f"{lease.own.user}@{lease.own.host} {os.getpid()}"
        assert (there("new").state, there("new").driver) == ("waiting", who)
        assert (there("lost").state, there("lost").driver) == ("running", who)
        assert (there("study-table").state, there("study-table").kind) == ("running", "study")
    assert there("new").state == "not begun"
    gone = this_driver(time.time() - 500).model_copy(update={"machine": "another boot"})
    write_json(storage / "new" / DRIVER_FILE, gone.model_dump(mode="json"))
    assert (there("new").state, there("new").driver) == ("not begun", None)


def test_studies_are_lines_of_their_own(storage):
    (storage / "study-empty").mkdir()
    (storage / "study-begun" / "ray").mkdir(parents=True)
    for name, failed, unfinished in (("whole", {}, []), ("half", {"a": "x"}, ["b"]), ("bad", {"a": "x"}, [])):
        write_json(storage / f"study-{name}" / "study.json", {"failed": failed, "unfinished": unfinished})
    finished_run(storage, "study-that-is-a-run")
    found = {entry.name: entry for entry in listing(storage) if entry.name.startswith("study-")}
    assert {name: (entry.kind, entry.state) for name, entry in found.items()} == {
        "study-begun": ("study", "interrupted"),
        "study-whole": ("study", "finished"),
        "study-half": ("study", "interrupted"),
        "study-bad": ("study", "failed"),
        "study-that-is-a-run": ("run", "finished"),
    }
    assert found["study-half"].note == "1 runs not finished, 1 failed"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe\x00", b'{"failed": 1}', b"[" * 100_000])
def test_damaged_folders_say_so_and_hide_nothing(storage, content):
    for file in ("identity.json", "result.json"):
        folder = finished_run(storage, f"broken-{file}")
        (folder / file).write_bytes(content)
        (folder / DRIVER_FILE).write_bytes(content)
        (folder / "ledger.jsonl").write_bytes(content)
    (storage / "study-broken").mkdir()
    (storage / "study-broken" / "study.json").write_bytes(content)
    (storage / "only-a-ledger").mkdir()
    (storage / "only-a-ledger" / "ledger.jsonl").write_bytes(content)
    (storage / "result-is-a-folder" / "result.json").mkdir(parents=True)
    found = {entry.name: entry for entry in listing(storage)}
    damaged = {name for name, entry in found.items() if entry.state == "damaged"}
    # Of a finished run the result says everything.
    assert damaged == {"broken-result.json", "study-broken", "only-a-ledger", "result-is-a-folder"}
    assert all("cannot be read" in found[name].note for name in damaged)
    assert len(found) == 11
    assert [row["name"] for row in json.loads(BY_RUN.text(list(found.values()), "json"))] == list(found)


def test_for_programs_and_for_a_terminal(storage):
    finished_run(storage, "[red]odd, name")
    found = listing(storage)
    rows = json.loads(BY_RUN.text(found, "json"))
    table = list(csv.DictReader(io.StringIO(BY_RUN.text(found, "csv"))))
    assert [row["name"] for row in table] == [row["name"] for row in rows] == [entry.name for entry in found]
    assert {row["changed_at"][10:11] for row in rows} == {"T"}
    text = terminal_text([BY_RUN.table(found)], 160)
    for part in ("[red]odd, name", "no memory left", "(F1 80.0)", "mrpc", "10%"):
        assert part in text


def test_one_run_is_listed_by_its_folder(storage):
    (entry,) = listing(storage / "done")
    assert entry == next(one for one in listing(storage) if one.name == "done")


def test_a_storage_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="storage: "):
        listing(tmp_path / "nowhere")


def test_a_thousand_runs_are_listed_within_three_seconds(tmp_path):
    result = run_result("maxidisc").model_dump_json()
    for number in range(1000):
        folder = run_folder(tmp_path, f"run-{number:04d}")
        if number % 4:
            (folder / "result.json").write_text(result)
        else:
            Ledger(LOCAL, folder / "ledger.jsonl").start("stage", "sandwich", "main", 1.0, "cpu-core")
        progress(folder, "finished" if number % 4 else "interrupted")
        for depth in ("stages/sandwich", "student", "tensorboard/main/student"):
            (folder / depth).mkdir(parents=True)
            (folder / depth / "file").write_bytes(b"x")
    # Of this process alone, so that a busy machine is no slow program.
    begun = time.process_time()
    found = listing(tmp_path)
    BY_RUN.text(found, "json")
    took = time.process_time() - begun
    assert len(found) == 1000
    assert took < 3.0


def test_a_narrow_terminal_keeps_what_matters_and_names_the_rest():
    entry = StorageEntry(
        "mrpc-minidisc-10pc-seed0-0a1b2c3d", "run", "failed", "minidisc", "mrpc", 10, 0, "accuracy", 0.8, "selection",
        12.3, 4.5, "core-hours", time.time() - 7200.0, None, 2**30, "a worker ran out of memory " * 9,
    )  # fmt: skip
    short = replace(entry, name="mrpc-conventional-10pc-seed0-1b2c3d4e", note="is a link; remove it")
    for width, left_out in (
        (220, ""),
        (100, "Scale, Seed, Incl. teacher, Size; csv and json have them."),
    ):
        text = terminal_text([BY_RUN.table([entry, short])], width)
        assert max(map(len, text.splitlines())) <= width
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        for shown in ("mrpc-minidisc-10pc-seed0-0a1b2c3d", "failed", "(Accuracy 80.0)", "12.3", "2 h ago", "memory"):
            assert shown in text
        assert ("Left out at this width: " in text) == bool(left_out)
        assert left_out in text
        # A row of the table is a line of the screen, and a long reason stands below.
        lines = text.splitlines()
        rows = [line for line in lines if line.startswith("mrpc-")]
        assert [line.split()[0].rstrip(":") for line in rows] == [entry.name, short.name, entry.name]
        assert rows[0].endswith("see below")
        assert rows[1].endswith("is a link; remove it")
        assert rows[2].startswith(f"{entry.name}: a worker ran out of memory ")
        assert lines.index(rows[1]) == lines.index(rows[0]) + 1
