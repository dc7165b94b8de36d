"""A storage that another user can write to: no link is followed, and no name in a file is a path."""

import json
import os
import shutil

import pytest
from pipeline_kit import prepared_run

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.links import LinkError
from minidisc_ray.files.storage import Storage
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run, probe_storage
from minidisc_ray.reports.storage.listing import listing
from minidisc_ray.reports.storage.status import status
from minidisc_ray.run_files.progress import mark_stopped, read_progress
from minidisc_ray.tracking.tensorboard import EventFile

CALLS = {
    "write_text": lambda storage, path: storage.write_text(path / "file", "ours"),
    "append_line": lambda storage, path: storage.append_line(path / "file", lambda: "ours"),
    "write_folder": lambda storage, path: storage.write_folder(path / "file", lambda folder: None),
    "make_folder": lambda storage, path: storage.make_folder(path / "file"),
    "move": lambda storage, path: storage.move(storage.root / "run" / "ours", path / "file"),
    "remove": lambda storage, path: storage.remove(path / "file"),
    "exists": lambda storage, path: storage.exists(path / "file"),
    "check_seal": lambda storage, path: storage.check_seal(path / "file"),
}


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    (folder / "file").mkdir(parents=True)
    (folder / "file" / "precious").write_text("theirs")
    return folder


@pytest.mark.parametrize("call", CALLS)
def test_no_call_goes_through_a_link(tmp_path, outside, call):
    storage = Storage(tmp_path / "runs")
    storage.write_folder(storage.root / "run" / "ours", lambda folder: (folder / "a").write_text("a"))
    link = storage.root / "run" / "stages"
    link.symlink_to(outside)
    with pytest.raises(LinkError, match=f"^{link} is a link, and what a run writes to holds none; remove it$"):
        CALLS[call](storage, link)
    assert [path.name for path in sorted(outside.rglob("*"))] == ["file", "precious"]
    assert (outside / "file" / "precious").read_text() == "theirs"


def test_a_link_itself_is_replaced_or_removed_and_never_what_it_leads_to(tmp_path, outside):
    storage = Storage(tmp_path / "runs")
    storage.make_folder(storage.root / "run")
    link = storage.root / "run" / "record.json"
    link.symlink_to(outside / "file" / "precious")
    with pytest.raises(LinkError):
        storage.write_json(link, {})
    with pytest.raises(LinkError):
        storage.append_line(link, lambda: "ours")
    assert storage.read_json(link) is None
    storage.remove(link)
    assert not link.is_symlink()
    assert (outside / "file" / "precious").read_text() == "theirs"


@pytest.mark.parametrize(
    "name", ["stages", "progress", "predictions", "figures", "tensorboard", "student", "ledger.jsonl"]
)
def test_a_run_with_a_link_in_it_is_refused(tmp_path, outside, name):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    open_run(prepared)
    link = prepared.run_folder / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    with pytest.raises(
        UserError, match=f"^storage: {link} is a link, and a run's folder must not contain links; remove it$"
    ):
        run_in_process(prepared)
    assert [path.name for path in sorted(outside.rglob("*"))] == ["file", "precious"]


@pytest.mark.parametrize("name", ["run", "_shared"])
def test_a_folder_of_the_runs_own_that_is_a_link_is_refused(tmp_path, outside, name):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    folder = prepared.run_folder if name == "run" else prepared.shared_folder
    folder.parent.mkdir()
    folder.symlink_to(outside)
    with pytest.raises(UserError, match=f"^storage: {folder} is a link, where a run needs a real folder"):
        prepared_run(tmp_path / "runs", "conventional")
    with pytest.raises(UserError, match="is a link"):
        run_in_process(prepared)
    assert [path.name for path in sorted(outside.rglob("*"))] == ["file", "precious"]


def test_a_listing_shows_links_as_such(tmp_path, outside):
    runs = tmp_path / "runs"
    (runs / "with-a-link" / "progress").mkdir(parents=True)
    (runs / "with-a-link" / "stages").symlink_to(outside)
    (runs / "is-a-link").symlink_to(runs / "with-a-link")
    notes = {entry.name: (entry.state, entry.note) for entry in listing(runs)}
    assert notes == {
        "is-a-link": ("damaged", "is a link; remove it"),
        "with-a-link": ("damaged", "stages is a link; remove it"),
    }
    assert {entry.run: entry.stage for entry in status(runs)}["is-a-link"] == "is a link"


@pytest.mark.parametrize("trial", ["/etc/x", "../../x", "other"])
def test_what_progress_says_of_itself_is_no_path(tmp_path, trial):
    storage = Storage(tmp_path / "runs")
    victim = tmp_path / "victim.json"
    victim.write_text("theirs")
    forged = {"trial": trial if trial != "/etc/x" else str(victim.with_suffix("")), "status": "running", "stage": "s"}
    forged |= {"stage_index": 1, "num_stages": 1, "started_at": 0.0, "updated_at": 0.0}
    path = storage.root / "run" / "progress" / "main.json"
    storage.write_json(path, forged)
    before = path.read_text()
    assert read_progress(storage.root / "run") == []
    mark_stopped(storage, storage.root / "run")
    assert victim.read_text() == "theirs"
    assert path.read_text() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs", "victim.json"]
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["run"]


def test_the_probe_of_a_storage_follows_no_link_at_a_name_that_can_be_guessed(tmp_path):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    prepared.storage.root.mkdir()
    for name in (f".probe.tmp{os.getpid()}", ".probe.tmp"):
        (prepared.storage.root / name).symlink_to(victim)
    probe_storage(prepared)
    assert victim.read_text() == "theirs"


def test_events_are_not_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / "events").symlink_to(victim)
    events = EventFile(tmp_path / "events")
    events.write(b"ours")
    events.flush()
    assert victim.read_bytes() == b"theirs"


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "", "x\0"])
def test_a_seal_lists_files_of_its_folder_alone(tmp_path, name):
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "seal.json").write_text(json.dumps({"files": {name: {"bytes": 1, "sha256": "0"}}}))
    flaw = check_seal(folder)
    assert flaw is not None
    assert "no file of the folder" in flaw
    assert "bytes instead of" not in flaw


@pytest.mark.parametrize("name", ["x" * 5000, "loop"])
def test_a_seal_of_files_that_cannot_be_is_a_flaw(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "seal.json").write_text(json.dumps({"files": {name: {"bytes": 1, "sha256": "0"}}}))
    flaw = check_seal(tmp_path)
    assert flaw is not None
    assert len(flaw) < 200
