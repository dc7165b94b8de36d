"""Node-local copies of what lies in a bucket: ``${MINIDISC_CACHE}/mirrors/s3/BUCKET/PREFIX/...`` for each s3:// URI.

All other code works on paths. A path below the mirrors tells its URI by itself, so any process may be given it; between
nodes the URI is handed on (:func:`place_of`), since homes differ. What the writers of :mod:`minidisc_ray.files.writing`
put under a mirror is published by them; nothing is downloaded unless it is asked for.
"""

import math
import os
import re
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from minidisc_ray.files.cache import cache_folder
from minidisc_ray.files.digests import check_seal
from minidisc_ray.files.pushing import Pusher
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.remote import SEAL, Entry, Remote, is_temporary, is_whole, joined
from minidisc_ray.files.uris import PlaceError, check_uri, endpoint_of
from minidisc_ray.log import logger

SECONDS_BETWEEN_LOOKS = 5.0


def is_uri(place: str | Path) -> bool:
    """Whether a storage is given by its URI; one that was made a path has a slash less."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/" if isinstance(place, Path) else r"[^/]*://", str(place)))


def local_path(place: str | Path) -> Path:
    """Where a folder's, or a URI's, files lie on this node; a plain path is itself.

    Raises:
        PlaceError: if it is a URI of nothing that runs can be kept in.
    """
    if isinstance(place, str) and (found := re.match(r"(s3|gs|file):/(?!/)", place)):
        raise PlaceError(f"{place[:80]}: a URI begins with {found[1]}://")
    if not is_uri(place):
        return Path(place).expanduser().resolve()
    uri = re.sub(r":/+", "://", str(place), count=1) if isinstance(place, Path) else place
    if uri.startswith("file://"):
        rest = urlsplit(re.sub("^file:/+", "file:///", uri) if isinstance(place, Path) else uri)
        if rest.netloc not in ("", "localhost"):
            raise PlaceError(f"{uri[:80]}: a file is on this machine; give file:///FOLDER")
        return Path(unquote(rest.path)).resolve()
    scheme, bucket, prefix = check_uri(uri)
    endpoint = endpoint_of(scheme)
    site = scheme if endpoint is None else f"{scheme}@{urlsplit(endpoint).netloc or endpoint}"
    return _mirrors() / site / bucket / prefix


def place_of(path: Path) -> str:
    """What to tell another node in place of a path: the URI of a mirrored one, else the path."""
    found = _remote_of(path)
    return str(path) if found is None else joined(found[0].uri, found[1])


def is_mirrored(path: Path) -> bool:
    """Whether what lies there is the copy of something in a bucket."""
    return path.is_relative_to(_mirrors()) and len(path.relative_to(_mirrors()).parts) >= 2


def upload(path: Path) -> None:
    """Send a file or folder to where it belongs; nothing happens to a local one.

    Raises:
        StorageError: if it cannot be sent in time.
    """
    if (found := _remote_of(path)) is not None:
        with _pusher.instead(path):
            found[0].push(path, found[1])


def upload_later(path: Path) -> None:
    """Upload by a thread of its own within some seconds; for what is written again and again."""
    if is_mirrored(path):
        _pusher.add(path)


def delete_upload(path: Path) -> None:
    """Remove there what was removed here."""
    if (found := _remote_of(path)) is not None:
        with _pusher.instead(path):
            found[0].remove(found[1])


def download_file(path: Path) -> None:
    """Bring one file as it is there, or remove it here where it is not there."""
    found = _remote_of(path)
    if found is not None and not found[0].pull_file(found[1], path):
        path.unlink(missing_ok=True)


def download_folder(folder: Path, wanted: Callable[[str], bool] = lambda _: True, is_exclusive: bool = False) -> None:
    """Bring what lies below a folder and differs here; a sealed folder that is not whole there is left out.

    Args:
        folder: of a mirror; nothing happens to another one.
        wanted: whether to bring a file, by its name relative to the folder.
        is_exclusive: no other process works on it, so what is here and not there goes.
    """
    if (found := _remote_of(folder)) is None:
        return
    remote, base = found
    there = {name: entry for name, entry in remote.entries(base).items() if wanted(name)}
    seals = {name[: -len(SEAL)]: remote.read(joined(base, name)) for name in there if Path(name).name == SEAL}
    there = {
        name: entry
        for name, entry in there.items()
        if not any(name.startswith(prefix) and not is_whole(content) for prefix, content in seals.items())
    }
    same = [prefix for prefix, content in seals.items() if content == _content(folder / prefix / SEAL)]
    downloaded = [name for name, entry in there.items() if not _is_here(folder, name, entry, same)]
    for name in downloaded:
        _download(remote, base, folder, name, there[name])
    for prefix in seals:
        sealed = [name for name in there if name.startswith(prefix)]
        if any(name.startswith(prefix) for name in downloaded) and check_seal(folder / prefix) is not None:
            logger.warning("%s: came damaged and is fetched again", place_of(folder / prefix))
            for name in sealed:
                _download(remote, base, folder, name, there[name])
            if check_seal(folder / prefix) is not None:
                for name in sealed:
                    (folder / name).unlink(missing_ok=True)
    if is_exclusive and folder.is_dir():
        _forget_others(folder, wanted, there)


def download_sealed_folder(folder: Path) -> None:
    """Bring a sealed folder for who loads it now; what is damaged here goes."""
    if not is_mirrored(folder):
        return
    if folder.is_dir() and check_seal(folder) is not None:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.unlink(missing_ok=True)
    download_folder(folder)


def download_if_due(path: Path, download: Callable[[Path], None]) -> None:
    """Bring a file or a folder, at most every few seconds, and not at all while the store is away."""
    if is_mirrored(path) and time.monotonic() - _looked_at.get(path, -math.inf) >= SECONDS_BETWEEN_LOOKS:
        _looked_at[path] = time.monotonic()
        with suppress(OSError):
            download(path)


def _send(path: Path) -> None:
    if path.exists() and (found := _remote_of(path)) is not None:
        found[0].push(path, found[1])


_pusher = Pusher(_send)
_looked_at: dict[Path, float] = {}


def _reset_after_fork() -> None:
    """A forked process has no thread, and nothing of its own to send."""
    global _pusher
    _pusher = Pusher(_send)


os.register_at_fork(after_in_child=_reset_after_fork)


def _mirrors() -> Path:
    return cache_folder() / "mirrors"


def _remote_of(path: Path) -> tuple[Remote, str] | None:
    if not is_mirrored(path):
        return None
    site, bucket, *rest = path.relative_to(_mirrors()).parts
    if any(is_temporary(part) for part in rest):
        return None
    return Remote(f"{site.partition('@')[0]}://{bucket}"), "/".join(rest)


def _is_as_sent(path: Path, entry: Entry) -> bool:
    """Whether a file without a seal was downloaded as it is there now, or is progress that was not sent yet."""
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


def _download(remote: Remote, base: str, folder: Path, name: str, entry: Entry) -> None:
    if remote.pull_file(joined(base, name), folder / name):
        os.utime(folder / name, (entry.modified_at, entry.modified_at))


def _forget_others(folder: Path, wanted: Callable[[str], bool], there: Container[str]) -> None:
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
