"""A storage that is full, read-only or gone for a while is waited for; for too long is told in one sentence."""

import errno
import logging
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from storage_kit import filled, remount

from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.patience import StorageError, retry_storage, use_storage
from minidisc_ray.files.sealing import write_folder
from minidisc_ray.files.writing import append_line, is_there, read_json, write_json

TENSORS = {"weights": torch.arange(50_000, dtype=torch.float32)}


def fill_folder(folder):
    save_file(TENSORS, folder / "model.safetensors")


def later(seconds, action):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_a_full_disk_is_waited_for_and_told_when_it_stays_full(disk, caplog):
    root = disk("2m")
    write_json(root / "identity.json", {"run": 1})
    use_storage(root, 20.0)
    with filled(root) as filler, caplog.at_level(logging.WARNING, "minidisc_ray"):
        timer = later(0.7, filler.unlink)
        write_folder(root / "newest", fill_folder)
        timer.join()
    assert torch.equal(load_file(root / "newest" / "model.safetensors")["weights"], TENSORS["weights"])
    assert check_seal(root / "newest") is None
    first, second = caplog.messages
    assert "No space left on device; waiting up to 20 s" in first
    assert "the storage is back" in second

    use_storage(root, 0.3)
    with filled(root):
        before = sorted(root.rglob("*"))
        for write in (
            lambda: write_folder(root / "before", fill_folder),
            lambda: write_folder(root / "newest", fill_folder),
            lambda: append_line(root / "ledger.jsonl", "x" * 50_000),
        ):
            with pytest.raises(StorageError, match=r"could not be used for 0\.3 s .*No space left") as caught:
                write()
            assert "\n" not in str(caught.value)
        assert [path for path in sorted(root.rglob("*")) if path.name != "ledger.jsonl"] == before
    assert check_seal(root / "newest") is None, "what was there stays"
    append_line(root / "ledger.jsonl", "whole")
    assert (root / "ledger.jsonl").read_text().splitlines()[-1] == "whole"


def test_a_storage_that_is_read_only_for_two_seconds_only_costs_them(disk):
    root = disk("2m")
    write_json(root / "identity.json", {"run": 1})
    use_storage(root, 20.0)
    remount(root, "ro")
    timer = later(2.0, lambda: remount(root, "rw"))
    started = time.monotonic()
    write_folder(root / "newest", fill_folder)
    timer.join()
    assert 1.9 < time.monotonic() - started < 10
    assert check_seal(root / "newest") is None


def test_a_root_that_is_gone_is_waited_for_and_never_made_again(tmp_path):
    root, away = tmp_path / "runs", tmp_path / "away"
    write_json(root / "run" / "identity.json", {"run": 1})
    use_storage(root, 20.0)
    root.rename(away)
    timer = later(0.7, lambda: away.rename(root))
    assert is_there(root / "run" / "identity.json")
    timer.join()
    for name in ("moved", "emptied"):
        root.rename(away)
        if name == "emptied":  # as a mount point is whose storage was taken away
            root.mkdir()
        use_storage(root, 0.2)
        with pytest.raises(StorageError, match="runs is gone or empty"):
            write_json(root / "run" / "record.json", {})
        assert not list(root.iterdir() if root.exists() else [])
        assert read_json(root / "run" / "identity.json") is None
        if name == "emptied":
            root.rmdir()
        away.rename(root)
    assert read_json(root / "run" / "identity.json") == {"run": 1}


def test_what_is_no_fault_of_the_storage_is_raised_at_once(tmp_path):
    use_storage(tmp_path, 60.0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        write_json(tmp_path / "file" / "below" / "it", {})
    with pytest.raises(FileNotFoundError):
        retry_storage(lambda: (tmp_path / "missing").read_text(), tmp_path / "missing")
    with pytest.raises(ZeroDivisionError):
        retry_storage(lambda: 1 / 0, tmp_path)


def test_after_a_wait_in_vain_the_next_call_tries_once_until_one_succeeds(tmp_path):
    write_json(tmp_path / "there.json", {})
    use_storage(tmp_path, 0.4)
    calls = []

    def away():
        calls.append(time.monotonic())
        raise OSError(errno.ESTALE, "stale")

    with pytest.raises(StorageError):
        retry_storage(away, tmp_path)
    assert len(calls) == 2
    with pytest.raises(StorageError):
        retry_storage(away, tmp_path)
    assert len(calls) == 3
    write_json(tmp_path / "back.json", {})
    with pytest.raises(StorageError):
        retry_storage(away, tmp_path)
    assert len(calls) == 5
