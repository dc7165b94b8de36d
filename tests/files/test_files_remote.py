"""Storage in a bucket, against a real S3 server on loopback."""

import pytest
import torch
from bucket_kit import another_node, lose_the_store, names, no_such
from safetensors.torch import save_file

from minidisc_ray.accounting.ledger import _OWN as OWN
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.mirroring import download_folder, download_sealed_folder, local_path, place_of
from minidisc_ray.files.patience import StorageError, use_storage
from minidisc_ray.files.remote import Remote
from minidisc_ray.files.sealing import write_folder
from minidisc_ray.files.uris import PlaceError
from minidisc_ray.files.writing import put_in_place, remove, write_json
from minidisc_ray.training.checkpoints import Checkpoints
from minidisc_ray.training.state import TrainingState
from minidisc_ray.training.workers import Workers


def test_what_is_written_under_a_mirror_lies_in_the_bucket(bucket, tmp_path, monkeypatch):
    root = local_path(bucket)
    assert place_of(root / "run") == f"{bucket}/run"
    write_json(root / "run" / "record.json", {"a": 1})
    write_folder(root / "run" / "model", lambda folder: save_file({"w": torch.arange(9.0)}, folder / "w.safetensors"))
    write_folder(root / "run" / "model", lambda folder: (folder / "other").write_text("second"))
    assert names(bucket) == ["run/model/other", "run/model/seal.json", "run/record.json"]
    put_in_place(root / "run" / "model", root / "run" / "before")
    assert names(f"{bucket}/run/model") == []
    remove(root / "run" / "record.json")
    remove(root / "run" / "never")

    another_node(tmp_path, monkeypatch)
    there = local_path(bucket)
    assert there != root
    download_folder(there)
    assert sorted(path.name for path in there.rglob("*") if path.is_file()) == ["other", "seal.json"]
    assert check_seal(there / "run" / "before") is None
    stale = there / "run" / "stale.json"
    stale.write_text("never sent")
    download_folder(there / "run")
    assert stale.exists()
    download_folder(there / "run", is_exclusive=True)
    assert not stale.exists()


def test_half_of_a_folder_never_counts_and_the_checkpoint_before_it_is_used(bucket, tmp_path, monkeypatch):
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    stage = local_path(bucket) / "run" / "stages" / "student"
    checkpoints = Checkpoints(stage, Workers())

    def save(step):
        with torch.no_grad():
            parameter.fill_(float(step))
        optimizer.step()
        state = TrainingState(steps_done=step, step_in_epoch=step, partial_losses=({"loss": (1.0, 1.0)},))
        checkpoints.save({"w": parameter}, optimizer, state, is_best=False)

    save(1)
    save(2)
    sent = []
    send = Remote._push_file

    def killed(self, path, relative):
        if "/newest/" in relative and len(sent) == 1:
            raise KeyboardInterrupt
        sent.extend([relative] if "/newest/" in relative else [])
        send(self, path, relative)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_push_file", killed)
        with pytest.raises(KeyboardInterrupt):
            save(3)
    assert len(sent) == 1
    assert Remote(bucket).read("run/stages/student/newest/seal.json") == b"{}\n"

    another_node(tmp_path, monkeypatch)
    stage = local_path(bucket) / "run" / "stages" / "student"
    download_folder(stage, is_exclusive=True)
    assert sorted(path.name for path in stage.iterdir()) == ["before"]
    state, _ = Checkpoints(stage, Workers()).resume({"w": parameter}, optimizer)
    assert state.steps_done == 2


def test_segments_of_a_ledger_are_one_ledger(bucket, tmp_path, monkeypatch):
    ledger = Ledger(local_path(bucket) / "run" / "ledger.jsonl")
    first = ledger.start("stage", "teacher", "main", 2.0, "cpu-core", node="a")
    ledger.beat(first)
    assert not ledger.path.exists()

    another_node(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("minidisc_ray.accounting.ledger._OWN", "ffffff")
        other = Ledger(local_path(bucket) / "run" / "ledger.jsonl")
        other.download()
        assert [one.status for one in other.attempts()] == ["open"]
        second = other.start("stage", "student", "main", 1.0, "cpu-core")
        other.end(second, "finished")
        assert other.close_open("main", "failed") == [first]
    assert len(names(f"{bucket}/run/ledger")) == 2
    assert sorted(OWN in name for name in names(f"{bucket}/run/ledger")) == [False, True]
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    ledger.download()
    assert {one.name: one.status for one in ledger.attempts()} == {"teacher": "failed", "student": "finished"}


@pytest.mark.parametrize(
    ("uri", "told"),
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
def test_a_uri_that_is_no_storage_is_told(uri, told):
    with pytest.raises(PlaceError, match=told) as caught:
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
def test_an_endpoint_that_is_no_servers_is_told(monkeypatch, name, address):
    monkeypatch.setenv(name, address)
    with pytest.raises(PlaceError, match=rf"^{name}: .* is no server's address; give http://HOST:PORT") as caught:
        local_path("gs://bucket/runs" if name.startswith("STORAGE") else "s3://bucket/runs")
    assert "me:" not in str(caught.value)
    monkeypatch.setenv(name, "localhost:9000")
    local_path("gs://bucket/runs" if name.startswith("STORAGE") else "s3://bucket/runs")


def test_a_bucket_that_is_missing_and_a_store_that_is_away_are_told(bucket, tmp_path, monkeypatch):
    Remote(bucket).probe()
    assert names(bucket) == []
    with pytest.raises(StorageError, match="there is no such bucket"):
        Remote(no_such(bucket)).probe()
    use_storage(local_path(bucket), 1.0)
    lose_the_store(monkeypatch)
    with pytest.raises(StorageError, match=r"could not be used for 1 s"):
        Remote(bucket).probe()


def test_what_comes_damaged_is_fetched_again_once_and_then_is_missing(bucket, tmp_path, monkeypatch, caplog):
    write_folder(local_path(bucket) / "model", lambda folder: (folder / "weights").write_text("whole"))
    another_node(tmp_path, monkeypatch)
    folder = local_path(bucket) / "model"
    pull, flaws = Remote.pull_file, ["wrong"]

    def damaging(self, relative, path):
        is_there = pull(self, relative, path)
        if path.name == "weights" and flaws:
            path.write_text(flaws.pop())
        return is_there

    monkeypatch.setattr(Remote, "pull_file", damaging)
    download_folder(folder)
    assert (folder / "weights").read_text() == "whole"
    assert caplog.text.count("is fetched again") == 1
    (folder / "weights").write_text("wrong")
    download_sealed_folder(folder)
    assert (folder / "weights").read_text() == "whole"
    flaws += ["wrong", "wrong"]
    (folder / "weights").unlink()
    download_folder(folder)
    assert not (folder / "weights").exists()
    assert not (folder / "seal.json").exists()
