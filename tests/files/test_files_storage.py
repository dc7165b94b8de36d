"""A storage that is full, read-only or gone for a while is waited for; for too long is one sentence."""

import errno
import logging
import resource
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from storage_kit import filled, remount

from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import StorageError

TENSORS = {"weights": torch.arange(50_000, dtype=torch.float32)}


def fill_folder(folder):
    save_file(TENSORS, folder / "model.safetensors")


def later(seconds, action):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_a_full_disk_is_waited_for_and_reported_when_it_stays_full(disk, caplog):
    root = disk("2m")
    storage = Storage(root)
    storage.write_json(root / "identity.json", {"run": 1})
    storage.wait_up_to(20.0)
    with filled(root) as filler, caplog.at_level(logging.WARNING, "minidisc_ray"):
        timer = later(0.7, filler.unlink)
        storage.write_folder(root / "newest", fill_folder)
        timer.join()
    assert torch.equal(load_file(root / "newest" / "model.safetensors")["weights"], TENSORS["weights"])
    assert storage.check_seal(root / "newest") is None
    first, second = caplog.messages
    assert "No space left on device; waiting up to 20 s" in first
    assert "the storage is back" in second

    storage.wait_up_to(0.3)
    with filled(root):
        before = sorted(root.rglob("*"))
        for write in (
            lambda: storage.write_folder(root / "before", fill_folder),
            lambda: storage.write_folder(root / "newest", fill_folder),
            lambda: storage.append_line(root / "ledger.jsonl", lambda: "x" * 50_000),
        ):
            with pytest.raises(StorageError, match=r"could not be used for 0\.3 s .*No space left") as caught:
                write()
            assert "\n" not in str(caught.value)
        assert [path for path in sorted(root.rglob("*")) if path.name != "ledger.jsonl"] == before
    assert storage.check_seal(root / "newest") is None, "what was there stays"
    storage.append_line(root / "ledger.jsonl", lambda: "whole")
    assert (root / "ledger.jsonl").read_text().splitlines()[-1] == "whole"


def test_a_storage_that_is_read_only_for_two_seconds_only_costs_them(disk):
    root = disk("2m")
    storage = Storage(root)
    storage.write_json(root / "identity.json", {"run": 1})
    storage.wait_up_to(20.0)
    remount(root, "ro")
    timer = later(2.0, lambda: remount(root, "rw"))
    started = time.monotonic()
    storage.write_folder(root / "newest", fill_folder)
    timer.join()
    assert 1.9 < time.monotonic() - started < 10
    assert storage.check_seal(root / "newest") is None


def test_a_root_that_is_gone_is_waited_for_and_never_made_again(tmp_path):
    root, away = tmp_path / "runs", tmp_path / "away"
    storage = Storage(root)
    storage.write_json(root / "run" / "identity.json", {"run": 1})
    storage.wait_up_to(20.0)
    root.rename(away)
    timer = later(0.7, lambda: away.rename(root))
    assert storage.exists(root / "run" / "identity.json")
    timer.join()
    for name in ("moved", "emptied"):
        root.rename(away)
        if name == "emptied":  # as a mount point is whose storage was taken away
            root.mkdir()
        storage.wait_up_to(0.2)
        with pytest.raises(StorageError, match="runs is gone or empty"):
            storage.write_json(root / "run" / "record.json", {})
        assert not list(root.iterdir() if root.exists() else [])
        assert storage.read_json(root / "run" / "identity.json") is None
        if name == "emptied":
            root.rmdir()
        away.rename(root)
    assert storage.read_json(root / "run" / "identity.json") == {"run": 1}


def test_what_is_no_fault_of_the_storage_is_raised_at_once(tmp_path):
    storage = Storage(tmp_path, 60.0, has_files=True)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        storage.write_json(tmp_path / "file" / "below" / "it", {})
    with pytest.raises(FileNotFoundError):
        storage.retry(lambda: (tmp_path / "missing").read_text(), tmp_path / "missing")
    with pytest.raises(ZeroDivisionError):
        storage.retry(lambda: 1 / 0, tmp_path)


def test_after_a_wait_in_vain_the_next_call_tries_once_until_one_succeeds(tmp_path):
    storage = Storage(tmp_path)
    storage.write_json(tmp_path / "there.json", {})
    storage.wait_up_to(0.4)
    calls = []

    def away():
        calls.append(time.monotonic())
        raise OSError(errno.ESTALE, "stale")

    with pytest.raises(StorageError):
        storage.retry(away, tmp_path)
    assert len(calls) == 2
    with pytest.raises(StorageError):
        storage.retry(away, tmp_path)
    assert len(calls) == 3
    storage.write_json(tmp_path / "back.json", {})
    with pytest.raises(StorageError):
        storage.retry(away, tmp_path)
    assert len(calls) == 5


WRITES = {
    "text": lambda storage: storage.write_text(storage.root / "text", "x" * 100_000),
    "tensors": lambda storage: storage.write_folder(storage.root / "newest", fill_folder),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_limit_on_the_size_of_files_is_one_sentence_at_once(tmp_path, write):
    storage = Storage(tmp_path)
    storage.write_json(tmp_path / "there.json", {})
    storage.wait_up_to(20.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match=r"File too large; raise the limit on the size of files \(ulimit -f\)$"):
            WRITES[write](storage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
