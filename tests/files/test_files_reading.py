"""Pipes, devices and giants in the places of our files: damage at once, never waited for."""

import json
import os
import re
import socket

import pytest

from minidisc_ray.configs import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, driver_of, unreadable_driver
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.reading import NotAFileError, read_regular
from minidisc_ray.files.sealing import seal
from minidisc_ray.files.writing import read_json, write_json
from minidisc_ray.reports.storage.listing import listing
from minidisc_ray.reports.storage.status import status
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.result import load_result

# What waits for a pipe waits for ever.
pytestmark = pytest.mark.timeout(20)


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def zeros(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/zero")


def giant(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(2**36)


def bound_socket(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))


KINDS = [pipe, zeros, giant, bound_socket]


def test_a_file_is_read_and_a_link_only_where_that_is_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", limit_bytes=5, follow_link=True) == b"12345"
    with pytest.raises(OSError, match="a link, which is not followed"):
        read_regular(tmp_path / "link")
    with pytest.raises(NotAFileError, match="larger than"):
        read_regular(tmp_path / "file", limit_bytes=4)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_of_ours_is_damage(tmp_path, kind):
    run = tmp_path / "run"
    for name in ("result.json", "identity.json", "failure.json", DRIVER_FILE, "progress/main.json"):
        kind(run / name)
    with pytest.raises(UserError, match="cannot be read as a result"):
        load_result(run)
    assert read_json(run / "identity.json") is None
    assert (driver_of(run), read_failure(run, "main")) == (None, None)
    # A link says neither that there is a driver nor that there is none.
    assert unreadable_driver(run) == ("a link, which is not followed" if kind is zeros else None)
    assert read_progress(run) == []
    assert [entry.state for entry in listing(tmp_path)] == ["damaged"]
    assert [entry.status for entry in status(tmp_path)] == ["failed"]


@pytest.mark.parametrize("kind", [pipe, zeros])
def test_a_ledger_that_is_no_file_hides_nothing(tmp_path, kind):
    kind(tmp_path / "run" / "ledger.jsonl")
    (found,) = listing(tmp_path)
    assert found.state == "damaged"
    assert re.search("not a regular file|ledger.jsonl is a link", found.note)


def test_a_driver_that_cannot_be_read_is_reported(tmp_path):
    write_json(tmp_path / "run" / "identity.json", {})
    (tmp_path / "run" / DRIVER_FILE).symlink_to(DRIVER_FILE)
    assert listing(tmp_path)[0].note == f"{DRIVER_FILE} is a link; remove it"


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_sealed_folder_it_is_a_flaw(tmp_path, kind):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"")
    seal(tmp_path)
    weights.unlink()
    kind(weights)
    # What has a size that is listed is opened.
    text = json.loads((tmp_path / "seal.json").read_text())
    text["files"]["model.safetensors"]["bytes"] = 0
    (tmp_path / "seal.json").write_text(json.dumps(text))
    assert check_seal(tmp_path).startswith("model.safetensors ")
    (tmp_path / "seal.json").unlink()
    kind(tmp_path / "seal.json")
    assert check_seal(tmp_path) == "seal.json cannot be read"
