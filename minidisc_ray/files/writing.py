"""Files and folders that appear whole or not at all, and stay after a power cut."""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidisc_ray.files.reading import read_regular


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder, another one at each call, to write to before the real one is replaced."""
    return path.with_name(f".{path.name}.tmp{os.getpid()}-{secrets.token_hex(8)}")


def is_leftover_of(entry: Path, name: str) -> bool:
    """Whether a path is what some process wrote to before a file or folder of this name was replaced."""
    return entry.name.startswith((f".{name}.tmp", f".{name}.old.tmp"))


def sync(path: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk; a storage that knows no such thing is left alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Replace a file at once by what a function writes to the path that it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        # Made here, so that there is no link to write through.
        temporary.touch(exist_ok=False)
        fill(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Replace a file at once."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file at once."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON files here have it."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def read_json(path: Path) -> Any | None:
    """A small JSON file's value; None if it is missing or damaged, or no file."""
    try:
        return json_value(read_regular(path))
    except OSError:
        return None


def json_value(content: bytes) -> Any | None:
    """What a JSON file holds; None if it is damaged."""
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def append_line(path: Path, line: str, makes_file: bool = True, is_synced: bool = True) -> None:
    """Add a line to a file, on a line of its own even where a kill or a full disk cut the one before.

    Concurrent writers do not mix, since one short write in append mode is atomic.

    Args:
        path: of the file.
        line: without its end.
        makes_file: whether it may be the first one.
        is_synced: whether it is on the disk before this returns.

    Raises:
        FileNotFoundError: if there is no such file and none may be made.
        OSError: if the storage refuses, or there is a link.
    """
    if makes_file:
        path.parent.mkdir(parents=True, exist_ok=True)
    # A link would have the line written wherever it points.
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | (os.O_CREAT if makes_file else 0)
    descriptor = os.open(path, flags, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        content = b"\n" * is_cut + line.encode() + b"\n"
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if is_synced:
            _sync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a folder to its real name; what had that name is put aside before and removed after."""
    aside = temporary_beside(folder.with_name(f"{folder.name}.old"))
    remove(aside)
    if os.path.lexists(folder):
        folder.rename(aside)
    try:
        temporary.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    sync(folder.parent)
    remove(aside)


def remove(path: Path) -> None:
    """Remove a file or folder as far as that is possible; what is not there is removed already."""
    with suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        doomed = path
        if not path.name.startswith("."):
            # Renamed first: a kill must not leave half of a folder under its real name.
            doomed = temporary_beside(path)
            shutil.rmtree(doomed, ignore_errors=True)
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
