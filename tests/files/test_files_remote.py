"""Storage in a bucket, against a real S3 server on loopback."""

import shutil

import pytest
import torch
from bucket_kit import another_node, bucket_at, lose_the_store, names, no_such
from safetensors.torch import save_file

from minidisc_ray.accounting.ledger import _PROCESS_TAG as PROCESS_TAG
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.files.bucket import Bucket
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.places import PlaceError, local_path, place_of
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.training.checkpoints import Checkpoints
from minidisc_ray.training.state import TrainingState
from minidisc_ray.training.workers import Workers


def test_what_is_written_lies_in_the_bucket(bucket, tmp_path, monkeypatch):
    storage = Storage(bucket)
    run = storage.root / "run"
    assert place_of(run) == f"{bucket}/run"
    storage.write_json(run / "record.json", {"a": 1})
    storage.write_folder(run / "model", lambda folder: save_file({"w": torch.arange(9.0)}, folder / "w.safetensors"))
    storage.write_folder(run / "model", lambda folder: (folder / "other").write_text("second"))
    assert names(bucket) == ["run/model/other", "run/model/seal.json", "run/record.json"]
    storage.move(run / "model", run / "before")
    assert names(f"{bucket}/run/model") == []
    storage.remove(run / "record.json")
    storage.remove(run / "never")

    another_node(tmp_path, monkeypatch)
    there = Storage(bucket)
    assert there.root != storage.root
    there.fetch(there.root)
    assert sorted(path.name for path in there.root.rglob("*") if path.is_file()) == ["other", "seal.json"]
    assert check_seal(there.root / "run" / "before") is None
    stale = there.root / "run" / "stale.json"
    stale.write_text("never sent")
    there.fetch(there.root / "run")
    assert stale.exists()
    there.fetch(there.root / "run", is_exclusive=True)
    assert not stale.exists()


def test_half_of_a_folder_never_counts_and_the_checkpoint_before_it_is_used(bucket, tmp_path, monkeypatch):
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    storage = Storage(bucket)
    checkpoints = Checkpoints(storage, storage.root / "run" / "stages" / "student", Workers())

    def save(step):
        with torch.no_grad():
            parameter.fill_(float(step))
        optimizer.step()
        state = TrainingState(steps_done=step, step_in_epoch=step, partial_losses=({"loss": (1.0, 1.0)},))
        checkpoints.save({"w": parameter}, optimizer, state, is_best=False)

    save(1)
    save(2)
    sent = []
    send = Bucket._push_file

    def killed(self, path, relative):
        if "/newest/" in relative and len(sent) == 1:
            raise KeyboardInterrupt
        sent.extend([relative] if "/newest/" in relative else [])
        send(self, path, relative)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "_push_file", killed)
        with pytest.raises(KeyboardInterrupt):
            save(3)
    assert len(sent) == 1
    assert bucket_at(bucket).read("run/stages/student/newest/seal.json") == b"{}\n"

    another_node(tmp_path, monkeypatch)
    there = Storage(bucket)
    stage = there.root / "run" / "stages" / "student"
    there.fetch(stage, is_exclusive=True)
    assert sorted(path.name for path in stage.iterdir()) == ["before"]
    state, _ = Checkpoints(there, stage, Workers()).resume({"w": parameter}, optimizer)
    assert state.steps_done == 2


def test_a_run_copied_between_a_folder_and_a_bucket_keeps_its_ledger(bucket, tmp_path):
    folder, remote = Storage(tmp_path / "runs"), Storage(bucket)
    Ledger(folder, folder.root / "there" / "ledger.jsonl").start("stage", "teacher", "main", 1.0, "cpu-core")
    shutil.copytree(folder.root / "there", remote.root / "there")
    Ledger(remote, remote.root / "back" / "ledger.jsonl").start("stage", "teacher", "main", 1.0, "cpu-core")
    shutil.copytree(remote.root / "back", folder.root / "back")
    for storage, run in ((remote, "there"), (folder, "back")):
        ledger = Ledger(storage, storage.root / run / "ledger.jsonl")
        ledger.close_abandoned()
        assert [attempt.status for attempt in ledger.attempts()] == ["interrupted"]


def test_segments_of_a_ledger_are_one_ledger(bucket, tmp_path, monkeypatch):
    storage = Storage(bucket)
    ledger = Ledger(storage, storage.root / "run" / "ledger.jsonl")
    first = ledger.start("stage", "teacher", "main", 2.0, "cpu-core", node="a")
    ledger.beat(first)
    assert not ledger.path.exists()

    another_node(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("minidisc_ray.accounting.ledger._PROCESS_TAG", "ffffff")
        there = Storage(bucket)
        other = Ledger(there, there.root / "run" / "ledger.jsonl")
        other.fetch()
        assert [one.status for one in other.attempts()] == ["open"]
        second = other.start("stage", "student", "main", 1.0, "cpu-core")
        other.end(second, "finished")
        assert other.close_open("main", "failed") == [first]
    assert len(names(f"{bucket}/run/ledger")) == 2
    assert sorted(PROCESS_TAG in name for name in names(f"{bucket}/run/ledger")) == [False, True]
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    ledger.fetch()
    assert {one.name: one.status for one in ledger.attempts()} == {"teacher": "failed", "student": "finished"}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://key:word@bucket/runs", "a URI may hold no credentials"),
        ("ftp://host/runs", "ftp:// is not supported; give a folder"),
        ("s3://bucket/runs?endpoint_override=x", "AWS_ENDPOINT_URL"),
        ("s3://bucket/../runs", "not a bucket and a prefix"),
        ("s3:///runs", "not a bucket and a prefix"),
        ("gs://bucket/a\nb", "not a bucket and a prefix"),
        ("s3:/bucket/runs", "a URI begins with s3://"),
        ("file://host/runs", "on this machine"),
    ],
)
def test_a_uri_that_is_no_storage_is_reported(uri, message):
    with pytest.raises(PlaceError, match=message) as caught:
        local_path(uri)
    assert "word" not in str(caught.value)
    assert local_path("file:///tmp/my%20runs").name == "my runs"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"])
@pytest.mark.parametrize(
    "address",
    [
        "http://me:word@127.0.0.1:9",
        "http://127.0.0.1:99999",
        "http://[::1",
        "ftp://host",
        "http://host/word",
        "://",
        "http://",
    ],
)
def test_an_endpoint_that_is_no_servers_is_reported(monkeypatch, name, address):
    monkeypatch.setenv(name, address)
    with pytest.raises(PlaceError, match=rf"^{name}: .* is no server's address; give http://HOST:PORT") as caught:
        local_path("gs://bucket/runs" if name.startswith("STORAGE") else "s3://bucket/runs")
    assert "me:" not in str(caught.value)
    monkeypatch.setenv(name, "localhost:9000")
    local_path("gs://bucket/runs" if name.startswith("STORAGE") else "s3://bucket/runs")


def test_a_bucket_that_is_missing_and_a_store_that_is_away_are_reported(bucket, tmp_path, monkeypatch):
    storage = Storage(bucket, 1.0)
    storage.probe()
    assert names(bucket) == []
    with pytest.raises(StorageError, match="there is no such bucket"):
        Storage(no_such(bucket)).probe()
    lose_the_store(monkeypatch)
    with pytest.raises(StorageError, match=r"could not be used for 1 s"):
        storage.probe()


def test_what_comes_damaged_is_fetched_again_once_and_then_is_missing(bucket, tmp_path, monkeypatch, caplog):
    first = Storage(bucket)
    first.write_folder(first.root / "model", lambda folder: (folder / "weights").write_text("whole"))
    another_node(tmp_path, monkeypatch)
    storage = Storage(bucket)
    folder = storage.root / "model"
    pull, flaws = Bucket.pull_file, ["wrong"]

    def damaging(self, relative, path):
        is_there = pull(self, relative, path)
        if path.name == "weights" and flaws:
            path.write_text(flaws.pop())
        return is_there

    monkeypatch.setattr(Bucket, "pull_file", damaging)
    storage.fetch(folder)
    assert (folder / "weights").read_text() == "whole"
    assert caplog.text.count("arrived damaged, fetching it again") == 1
    (folder / "weights").write_text("wrong")
    storage.fetch_sealed(folder)
    assert (folder / "weights").read_text() == "whole"
    flaws += ["wrong", "wrong"]
    (folder / "weights").unlink()
    storage.fetch(folder)
    assert not (folder / "weights").exists()
    assert not (folder / "seal.json").exists()
