"""Fetches the files below a folder of a bucket that differ from this node's copy; sealed folders only if whole."""

import os
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path

from minidisc_ray.files.bucket import Bucket, Entry, is_temporary, is_whole, join_key
from minidisc_ray.files.digests import SEAL, check_seal
from minidisc_ray.files.reading import read_regular
from minidisc_ray.log import logger

# S3 lists times in whole seconds: an object may be replaced by another of the same size and time.
_RECENT_SECONDS = 2.0


def fetch_below(bucket: Bucket, base: str, folder: Path, wanted: Callable[[str], bool], is_exclusive: bool) -> None:
    """Fetch the files below a folder of a bucket that differ here; a sealed folder that is not whole is left out.

    Args:
        bucket: that has the folder.
        base: the folder's name in the bucket.
        folder: this node's copy.
        wanted: whether to fetch a file, by its name relative to the folder.
        is_exclusive: no other process works on the folder, so local files that the bucket lacks are removed.

    Raises:
        StorageError: if it cannot be fetched in time.
    """
    remote = {name: entry for name, entry in bucket.entries(base).items() if wanted(name)}
    seals = {name[: -len(SEAL)]: bucket.read(join_key(base, name)) for name in remote if Path(name).name == SEAL}
    remote = {
        name: entry
        for name, entry in remote.items()
        if not any(name.startswith(prefix) and not is_whole(content) for prefix, content in seals.items())
    }
    unchanged = [prefix for prefix, content in seals.items() if content == _content(folder / prefix / SEAL)]
    fetched = [name for name, entry in remote.items() if not _is_current(folder, name, entry, unchanged)]
    for name in fetched:
        _fetch(bucket, base, folder, name, remote[name])
    for prefix in seals:
        sealed = [name for name in remote if name.startswith(prefix)]
        if any(name.startswith(prefix) for name in fetched) and check_seal(folder / prefix) is not None:
            logger.warning("%s: arrived damaged, fetching it again", join_key(bucket.uri, base, prefix.rstrip("/")))
            for name in sealed:
                _fetch(bucket, base, folder, name, remote[name])
            if check_seal(folder / prefix) is not None:
                for name in sealed:
                    (folder / name).unlink(missing_ok=True)
    if is_exclusive and folder.is_dir():
        _remove_others(folder, wanted, remote)


def _is_as_sent(path: Path, entry: Entry) -> bool:
    """Whether a file outside sealed folders equals the bucket's, or is newer progress that was not sent yet."""
    try:
        found = path.stat()
    except OSError:
        return False
    if path.parent.name == "progress" and found.st_mtime > entry.modified_at + 1:
        return True
    return found.st_size == entry.bytes and abs(found.st_mtime - entry.modified_at) < 1e-3


def _is_current(folder: Path, name: str, entry: Entry, unchanged: Sequence[str]) -> bool:
    path = folder / name
    if any(name.startswith(prefix) for prefix in unchanged):
        return _size(path) == entry.bytes
    # These files only grow: a longer one is newer than what was sent.
    if path.suffix == ".jsonl" and _size(path) >= entry.bytes:
        return True
    return path.name != SEAL and _is_as_sent(path, entry)


def _fetch(bucket: Bucket, base: str, folder: Path, name: str, entry: Entry) -> None:
    is_recent = abs(time.time() - entry.modified_at) < _RECENT_SECONDS
    if bucket.pull_file(join_key(base, name), folder / name):
        # A recent file gets a time that makes it differ, so that the next fetch takes it again.
        modified_at = entry.modified_at - 1.0 if is_recent else entry.modified_at
        os.utime(folder / name, (modified_at, modified_at))


def _remove_others(folder: Path, wanted: Callable[[str], bool], kept: Container[str]) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        name = path.relative_to(folder).as_posix()
        if wanted(name) and name not in kept and not any(is_temporary(part) for part in Path(name).parts):
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
