"""Files and folders appear whole or not at all; lines stand on lines of their own."""

import errno
import json
import os
import re
import time
from pathlib import Path

import pytest
from storage_kit import LOCAL

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.digests import check_seal, open_document, sealed_document
from minidisc_ray.files.sealing import seal, write_folder
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.files.writing import append_line, read_json, remove, write_file, write_json, write_text
from minidisc_ray.run_files.records import copy_model


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_a_failed_write_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "first")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_file(path, fail)
    assert path.read_text() == "first"
    assert names_in(path.parent) == ["a.txt"]
    write_json(path, {"b": 1, "a": "ä"})
    assert read_json(path) == {"a": "ä", "b": 1}
    path.write_bytes(b"\xff{")
    assert read_json(path) is None
    assert read_json(tmp_path / "missing") is None


def test_files_are_on_the_disk_before_they_get_their_names_and_folders_after(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    rename, replace = os.rename, os.replace
    monkeypatch.setattr(os, "rename", lambda *pair: (done.append("named"), rename(*pair)))
    monkeypatch.setattr(os, "replace", lambda *pair: (done.append("named"), replace(*pair)))
    write_text(tmp_path / "a.json", "{}")
    assert [path if path == "named" else path.name.split(".tmp")[0] for path in done] == [
        ".a.json",
        "named",
        tmp_path.name,
    ]
    done.clear()
    write_folder(tmp_path / "model", lambda place: (place / "weights").write_text("w"))
    assert [path if path == "named" else path.name.split(".tmp")[0] for path in done] == [
        "weights",
        "seal.json",
        ".model",
        "named",
        tmp_path.name,
    ]


def test_a_folder_is_replaced_whole_and_a_failed_write_leaves_the_old_one_and_nothing_else(tmp_path):
    folder = tmp_path / "model"
    write_folder(folder, lambda place: (place / "old").write_text("old"))

    def fail(temporary):
        (temporary / "new").write_text("new")
        raise OSError(errno.ENOSPC, "full", str(temporary))

    with pytest.raises(StorageError, match=r"model: the storage could not be used: No space left") as error:
        LOCAL.write_folder(folder, fail)
    assert str(error.value).endswith("; free space or make it available, and give the command again")
    assert names_in(tmp_path) == ["model"]
    assert names_in(folder) == ["old", "seal.json"]
    write_folder(folder, lambda place: (place / "new").write_text("new"))
    assert names_in(tmp_path) == ["model"]
    assert names_in(folder) == ["new", "seal.json"]
    remove(folder)
    remove(folder)
    assert names_in(tmp_path) == []


def test_a_line_cut_by_a_kill_spoils_no_later_one(tmp_path):
    path = tmp_path / "run" / "ledger.jsonl"
    append_line(path, "first")
    with path.open("a") as file:
        file.write('{"cut')
    append_line(path, "second")
    append_line(path, "third")
    assert path.read_text() == 'first\n{"cut\nsecond\nthird\n'


DAMAGES = {
    "flipped": (lambda folder: flip(folder / "sub" / "b"), "the content of b is not what was written"),
    "cut": (lambda folder: (folder / "a").write_bytes(b"aa"), "a has 2 bytes instead of 4"),
    "gone": (lambda folder: (folder / "a").unlink(), "a is missing"),
    "replaced by a folder": (
        lambda folder: [(folder / "a").unlink(), (folder / "a").mkdir()],
        r"a has \d+ bytes|a cannot be read",
    ),
    "seal cut": (lambda folder: (folder / "seal.json").write_text('{"files"'), "seal.json cannot be read"),
    "no seal": (lambda folder: (folder / "seal.json").write_text("[]"), "seal.json cannot be read"),
    "not text": (lambda folder: (folder / "seal.json").write_bytes(b"\xff\xfe"), "seal.json cannot be read"),
}


def flip(path):
    """One bit, the size as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_a_sealed_folder_is_reported_and_never_copied(tmp_path, damage):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"aaaa")
    (folder / "sub" / "b").write_bytes(b"b" * 1000)
    assert check_seal(folder) is None, "what was never sealed is not checked"
    seal(folder)
    assert check_seal(folder) is None
    copy_model(LOCAL, folder, tmp_path / "copy")
    assert check_seal(tmp_path / "copy") is None
    (folder / "stray").write_text("left by someone")
    assert check_seal(folder) is None
    change, words = DAMAGES[damage]
    change(folder)
    flaw = check_seal(folder)
    assert flaw is not None
    assert re.search(words, flaw)
    assert "\n" not in flaw
    if damage != "replaced by a folder":
        with pytest.raises(UserError, match="the model is damaged"):
            copy_model(LOCAL, folder, tmp_path / "copy")
        assert check_seal(tmp_path / "copy") is None
    assert names_in(tmp_path) == ["copy", "folder"]


def test_damage_is_found_in_a_file_that_has_the_modification_time_of_the_whole_one(tmp_path):
    sealed, hour_ago = tmp_path / "weights", time.time() - 3600
    sealed.write_text("whole")
    os.utime(sealed, (hour_ago, hour_ago))
    seal(tmp_path)
    assert check_seal(tmp_path) is None
    # As a file of a bucket is, that is fetched again into the same inode.
    sealed.write_text("wrong")
    os.utime(sealed, (hour_ago, hour_ago))
    assert check_seal(tmp_path) == "the content of weights is not what was written"


def test_a_document_tells_whether_its_values_are_those_that_were_written():
    value = {"b": [1, 2.5, None], "a": {"x": "ä", "y": 1e-9}}
    document = json.loads(json.dumps(sealed_document(value)))
    assert open_document(document) == (value, None)
    assert open_document(value) == (value, None), "a document of before there were digests"
    changed, flaw = open_document({**document, "b": [1, 2.6, None]})
    assert changed["b"][1] == 2.6
    assert flaw is not None


def test_a_line_is_not_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    link = tmp_path / "run" / "ledger.jsonl"
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        append_line(link, "more")
    assert elsewhere.read_text() == "mine\n"
