"""Copies on this node of what lies below a folder of a bucket: whole where it is sealed, and only what differs."""

import os
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path

from minidisc_ray.files.bucket import SEAL, Bucket, Entry, is_temporary, is_whole, joined
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.reading import read_regular
from minidisc_ray.log import logger


def fetch_below(bucket: Bucket, base: str, folder: Path, wanted: Callable[[str], bool], is_exclusive: bool) -> None:
    """Fetch what lies below a folder of a bucket and differs here; a sealed folder that is not whole is left out.

    Args:
        bucket: what the folder lies in.
        base: its name there.
        folder: this node's copy.
        wanted: whether to fetch a file, by its name relative to the folder.
        is_exclusive: no other process works on it, so what is here and not there goes.

    Raises:
        StorageError: if it cannot be fetched in time.
    """
    there = {name: entry for name, entry in bucket.entries(base).items() if wanted(name)}
    seals = {name[: -len(SEAL)]: bucket.read(joined(base, name)) for name in there if Path(name).name == SEAL}
    there = {
        name: entry
        for name, entry in there.items()
        if not any(name.startswith(prefix) and not is_whole(content) for prefix, content in seals.items())
    }
    same = [prefix for prefix, content in seals.items() if content == _content(folder / prefix / SEAL)]
    fetched = [name for name, entry in there.items() if not _is_here(folder, name, entry, same)]
    for name in fetched:
        _fetch(bucket, base, folder, name, there[name])
    for prefix in seals:
        sealed = [name for name in there if name.startswith(prefix)]
        if any(name.startswith(prefix) for name in fetched) and check_seal(folder / prefix) is not None:
            logger.warning("%s: came damaged and is fetched again", joined(bucket.uri, base, prefix.rstrip("/")))
            for name in sealed:
                _fetch(bucket, base, folder, name, there[name])
            if check_seal(folder / prefix) is not None:
                for name in sealed:
                    (folder / name).unlink(missing_ok=True)
    if is_exclusive and folder.is_dir():
        _remove_others(folder, wanted, there)


def _is_as_sent(path: Path, entry: Entry) -> bool:
    """Whether a file without a seal was fetched as it is there now, or is progress that was not sent yet."""
    try:
        found = path.stat()
    except OSError:
        return False
    if path.parent.name == "progress" and found.st_mtime > entry.modified_at + 1:
        return True
    return found.st_size == entry.bytes and abs(found.st_mtime - entry.modified_at) < 1e-3


def _is_here(folder: Path, name: str, entry: Entry, same: Sequence[str]) -> bool:
    path = folder / name
    if any(name.startswith(prefix) for prefix in same):
        return _size(path) == entry.bytes
    # What grows here is newer than what was sent of it.
    if path.suffix == ".jsonl" and _size(path) >= entry.bytes:
        return True
    return path.name != SEAL and _is_as_sent(path, entry)


def _fetch(bucket: Bucket, base: str, folder: Path, name: str, entry: Entry) -> None:
    if bucket.pull_file(joined(base, name), folder / name):
        os.utime(folder / name, (entry.modified_at, entry.modified_at))


def _remove_others(folder: Path, wanted: Callable[[str], bool], there: Container[str]) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        name = path.relative_to(folder).as_posix()
        if wanted(name) and name not in there and not any(is_temporary(part) for part in Path(name).parts):
            path.unlink(missing_ok=True)
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            path.rmdir()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None
