"""Objects of a bucket, s3:// or gs://, through pyarrow's file systems; each appears whole or not at all.

A folder does not: its files come one by one. What has a seal gets one that fits nothing first, and its own last.
"""

import errno
import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from minidisc_ray.files.places import check_uri, endpoint_of
from minidisc_ray.files.waiting import StorageError, Waiting

SEAL, RECORD = "seal.json", "record.json"
_UNFINISHED = b"{}\n"
_CHUNK_BYTES = 8 * 2**20
_CONNECT_SECONDS, _REQUEST_SECONDS = 5.0, 60.0
# Google's client tries again by itself for so long; after that the patience with storages begins, which is ours.
_RETRY_SECONDS = 2.0
# The same rules as for a file system: what may pass is waited for, what is refused is an error.
_MAY_PASS = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|THROTTLING|curlCode"
    r"|HTTP status 5\d\d|HTTP status 429|UNAVAILABLE|DEADLINE_EXCEEDED|Retry policy exhausted",
    re.IGNORECASE,
)
_IS_MISSING = re.compile(r"does not exist|not[ _]found", re.IGNORECASE)
_REASONS = (
    (
        # Google's client says no more than that nothing is there: what is written needs nothing but a bucket.
        re.compile(
            r"NO_SUCH_BUCKET|[Bb]ucket.{0,40}(does not exist|not found)"
            r"|NOT_FOUND.*retry\.function=(CreateResumableUpload|UploadChunk|InsertObject)"
        ),
        "there is no such bucket; make it",
    ),
    (
        re.compile(r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|INVALID_CLIENT_TOKEN_ID"),
        "the credentials are not accepted; set those of the environment again (AWS_*, GOOGLE_*)",
    ),
    (
        re.compile(r"ACCESS_DENIED|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED"),
        "permission is denied; set credentials in the environment (AWS_*, GOOGLE_*) that may read, write and delete",
    ),
)

_Found = TypeVar("_Found")


class _MissingError(Exception):
    """There is no such object."""


@dataclass(frozen=True)
class Entry:
    """An object's size, and when it was written, in seconds since the epoch by the store's clock."""

    bytes: int
    modified_at: float


class Bucket:
    """Objects below a URI; names are relative to it.

    Args:
        uri: of a bucket, or of a folder in one.
        waiting: how errors that may pass are waited for.

    Raises:
        PlaceError: if the URI is not one of a bucket.
    """

    def __init__(self, uri: str, waiting: Waiting) -> None:
        scheme, bucket, prefix = check_uri(uri)
        self._waiting = waiting
        self.uri = joined(f"{scheme}://{bucket}", prefix)
        self._scheme, self._root = scheme, joined(bucket, prefix)

    def entries(self, relative: str = "") -> dict[str, Entry]:
        """Every object below a folder, by its name relative to that folder; none where there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        base = self._key(relative)
        selector = FileSelector(base, allow_not_found=True, recursive=True)
        found = self._call(lambda fs: fs.get_file_info(selector), relative)
        return {
            info.path[len(base) + 1 :]: Entry(int(info.size or 0), (info.mtime_ns or 0) / 1e9)
            for info in found
            if info.type == FileType.File and not info.path.endswith("/")
        }

    def read(self, relative: str) -> bytes | None:
        """A small object's content; None where there is none."""

        def get(fs: Any) -> bytes:
            with fs.open_input_stream(self._key(relative)) as stream:
                return bytes(stream.read())

        try:
            return self._call(get, relative)
        except _MissingError:
            return None

    def write(self, relative: str, content: bytes) -> None:
        """Replace a small object."""

        def put(fs: Any) -> None:
            with fs.open_output_stream(self._key(relative)) as stream:
                stream.write(content)

        self._call(put, relative)

    def pull_file(self, relative: str, path: Path) -> bool:
        """Replace a local file by an object, at once; False, and nothing is done, where there is none."""
        temporary = path.with_name(f".{path.name}.tmp{os.getpid()}-{os.urandom(3).hex()}")

        def get(fs: Any) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fs.open_input_stream(self._key(relative)) as stream, temporary.open("wb") as file:
                shutil.copyfileobj(stream, file, _CHUNK_BYTES)

        try:
            self._call(get, relative)
            temporary.replace(path)
        except _MissingError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def push(self, path: Path, relative: str) -> None:
        """Replace an object, or all objects below a folder, by a local file or folder.

        A folder's seals and record come last, and fit nothing until then: half of a folder never counts as whole.
        """
        if not path.is_dir():
            self._push_file(path, relative)
            return
        local = {
            found.relative_to(path).as_posix(): found
            for found in path.rglob("*")
            if found.is_file() and not any(is_temporary(part) for part in found.relative_to(path).parts)
        }
        there = self.entries(relative)
        self._open_up(relative, there)
        # A seal that was not there is set first too: a folder without any would pass for an unsealed one.
        for name in local.keys() - there.keys():
            if _base(name) == SEAL:
                self.write(joined(relative, name), _UNFINISHED)
        for name in there.keys() - local.keys():
            self._delete(joined(relative, name))
        for name in sorted(local, key=_turn):
            self._push_file(local[name], joined(relative, name))

    def remove(self, relative: str) -> None:
        """Remove an object, or all below a folder; what is not there is removed already."""
        there = self.entries(relative)
        if not there:
            self._delete(relative)
            return
        self._open_up(relative, there)
        for name in sorted(there, key=_turn):
            self._delete(joined(relative, name))

    def probe(self) -> None:
        """Write, read and remove an object.

        Raises:
            StorageError: in one sentence, if any of it fails.
        """
        name = f".probe.tmp{os.getpid()}-{os.urandom(4).hex()}"
        self.write(name, b"probe\n")
        self.read(name)
        self._delete(name)

    def _open_up(self, relative: str, there: dict[str, Entry]) -> None:
        """From here on nothing below a folder counts as whole."""
        for name in sorted(there):
            if _base(name) == RECORD:
                self._delete(joined(relative, name))
            elif _base(name) == SEAL:
                self.write(joined(relative, name), _UNFINISHED)

    def _push_file(self, path: Path, relative: str) -> None:
        if path.stat().st_size <= _CHUNK_BYTES:
            # Read before anything is opened there: closing would make an object of half a file.
            self.write(relative, path.read_bytes())
            return

        def put(fs: Any) -> None:
            with path.open("rb") as file, fs.open_output_stream(self._key(relative)) as stream:
                shutil.copyfileobj(file, stream, _CHUNK_BYTES)

        self._call(put, relative)

    def _delete(self, relative: str) -> None:
        with suppress(_MissingError):
            self._call(lambda fs: fs.delete_file(self._key(relative)), relative)

    def _key(self, relative: str) -> str:
        return joined(self._root, relative)

    def _call(self, action: Callable[[Any], _Found], relative: str) -> _Found:
        where = joined(self.uri, relative)

        def attempt() -> _Found:
            try:
                return action(_file_system(self._scheme, endpoint_of(self._scheme), os.getpid()))
            except OSError as error:
                raise _known_error(error, where) from error

        return self._waiting.retry(attempt, where)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of that name is not yet, or no more, what it will be called."""
    return name.startswith(".") and ".tmp" in name


def is_whole(content: bytes | None) -> bool:
    """Whether a seal was set, and the folder not opened up since."""
    try:
        return isinstance(json.loads(content or b"")["files"], dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _known_error(error: OSError, where: str) -> Exception:
    """An error of the store as one that the rest of this package knows."""
    text = " ".join(str(error).split())
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return StorageError(errno.EACCES, f"{where}: {reason}")
    if isinstance(error, FileNotFoundError):
        return _MissingError(text) if _IS_MISSING.search(text) else error
    if _MAY_PASS.search(text):
        return OSError(errno.EHOSTDOWN, text[:300])
    if error.errno not in (None, 0, errno.EIO):
        return error
    return StorageError(errno.EIO, f"{where}: {text[:300]}")


@functools.lru_cache(maxsize=8)
def _file_system(scheme: str, endpoint: str | None, pid: int) -> Any:  # noqa: ARG001 - a forked process opens its own
    # Here and not above: only who keeps runs in a bucket should pay for importing it.
    from pyarrow import fs

    address: dict[str, Any] = {}
    if endpoint is not None:
        found = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        address = {"endpoint_override": found.netloc, "scheme": found.scheme}
    if scheme == "gs":
        from datetime import timedelta

        return fs.GcsFileSystem(
            anonymous=endpoint is not None, retry_time_limit=timedelta(seconds=_RETRY_SECONDS), **address
        )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        region=region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
        **address,
    )


def _turn(name: str) -> tuple[int, str]:
    """Content first, what says that it is whole after it, and a stage's record at the end."""
    return (RECORD, SEAL).index(_base(name)) * -1 + 2 if _base(name) in (RECORD, SEAL) else 0, name


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def joined(*parts: str) -> str:
    """Parts of a name, those that are empty left out."""
    return "/".join(part for part in parts if part)
