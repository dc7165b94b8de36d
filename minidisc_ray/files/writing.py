"""Writes files and folders atomically, and syncs them to disk so that they survive a power cut."""

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
    """A new hidden name in the same folder, to write to before it is renamed to the real one."""
    return path.with_name(f".{path.name}.tmp{os.getpid()}-{secrets.token_hex(8)}")


def is_leftover_of(entry: Path, name: str) -> bool:
    """Whether a path is a temporary name of a file or folder, left over by a process that was killed."""
    return entry.name.startswith((f".{name}.tmp", f".{name}.old.tmp"))


def sync(path: Path) -> None:
    """Sync a file's content, or a folder's entries, to disk, where the file system supports that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file atomically; ``fill`` writes the content to a temporary path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        # Created here, so that `fill` cannot write through a link of that name.
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode & 0o777
        fill(temporary)
        # safetensors replaces the file by one that only its owner can read; some mounted buckets have no modes.
        with suppress(OSError):
            temporary.chmod(mode)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON text, indented and with sorted keys."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def read_json(path: Path) -> Any | None:
    """Read a small JSON file; None if it is missing, damaged, or not a file."""
    try:
        return json_value(read_regular(path))
    except OSError:
        return None


def json_value(content: bytes) -> Any | None:
    """Parse a JSON file's content; None if it is damaged."""
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def append_line(path: Path, line: str, create: bool = True, is_synced: bool = True) -> None:
    """Append a line to a file; where a kill or a full disk cut the last line, the new one still starts on its own.

    Lines of concurrent writers do not mix, since one short write in append mode is atomic.

    Args:
        path: of the file.
        line: without a newline.
        create: whether to create a missing file.
        is_synced: whether to sync the file to disk before returning.

    Raises:
        FileNotFoundError: if the file is missing and is not to be created.
        OSError: if the line cannot be written whole, or the path is a link.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
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


def replace_folder(temporary: Path, folder: Path) -> None:
    """Rename a temporary folder to its real name; a folder of that name is moved aside first, and removed after."""
    aside = temporary_beside(folder.with_name(f"{folder.name}.old"))
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
    """Remove a file or folder as far as possible; a missing one is no error."""
    with suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        # Renamed first, so that a kill does not leave half of a folder under its real name.
        hidden = path if path.name.startswith(".") else path.rename(temporary_beside(path))
        shutil.rmtree(hidden, ignore_errors=True)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
