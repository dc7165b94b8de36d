"""Detects damaged files by their sizes and SHA-256 digests.

A sealed folder holds ``seal.json``, with the size and digest of every other file. A sealed document is JSON that ends
with the digest of its own values. Folders and documents without a seal, as earlier releases wrote, are not checked.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidisc_ray.files.reading import open_regular, read_regular
from minidisc_ray.files.waiting import TRANSIENT

SEAL = "seal.json"
_DIGEST = "sha256"
# A file that was changed this recently may change again at the same time of its clock.
_CTIME_DOUBT_SECONDS = 2.0

# Digests computed by this process, by device, inode, size and time of the last change: unlike the modification time,
# that of a file fetched from a bucket is not set to the object's.
_digests: dict[tuple[int, int, int, int], str] = {}


class DamageError(ValueError):
    """A file is not what was written; the message is one sentence, without the path."""


def check_seal(folder: Path) -> str | None:
    """What is wrong with a sealed folder, in words; None if it is whole or has no seal.

    A file that this process has checked before is not read again unless it changed.

    Raises:
        OSError: if the storage is away.
    """
    try:
        text = read_regular(folder / SEAL, follow_link=True).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        return f"{SEAL} cannot be read"
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        return f"{SEAL} cannot be read"
    try:
        entries = json.loads(text)["files"]
        if (outside := next((name for name in entries if not _is_inside(name)), None)) is not None:
            return f"{SEAL} lists {outside[:80]!r}, which is no file of the folder"
        flaws = (entry_flaw(folder / name, entry) for name, entry in entries.items())
        return next((flaw for flaw in flaws if flaw is not None), None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{SEAL} cannot be read"


def _is_inside(name: str) -> bool:
    """Whether a name in a seal is that of a file below its folder; a damaged seal may name any other."""
    return bool(name) and "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts


def entry_of(path: Path) -> dict[str, Any]:
    """A file's size and digest, as a seal lists them."""
    return {"bytes": path.stat().st_size, _DIGEST: _digest_of(path)}


def entry_flaw(path: Path, entry: Mapping[str, Any]) -> str | None:
    """How a file differs from its entry in a seal, in words; None if it does not.

    Raises:
        OSError: if the storage is away.
    """
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"{path.name} has {size} bytes instead of {entry['bytes']}"
        if _digest_of(path) != entry[_DIGEST]:
            return f"the content of {path.name} is not what was written"
    except (FileNotFoundError, NotADirectoryError):
        return f"{path.name} is missing"
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        return f"{path.name[:80]} cannot be read ({error.strerror})"
    return None


def sealed_document(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add the digest of its values to a JSON document."""
    return {**value, _DIGEST: _digest_of_values(value)}


def open_document(raw: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Split a document from its digest.

    Returns:
        Its values; and what is wrong with them, None if nothing is or it has no digest.
    """
    value = {key: found for key, found in raw.items() if key != _DIGEST}
    if _DIGEST in raw and raw[_DIGEST] != _digest_of_values(value):
        return value, "its values are not those that were written"
    return value, None


def _digest_of_values(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(path: Path) -> str:
    found = path.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
    if key not in _digests or time.time() - found.st_ctime < _CTIME_DOUBT_SECONDS:
        with open_regular(path, follow_link=True) as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]
