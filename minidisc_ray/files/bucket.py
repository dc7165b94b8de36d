"""Objects of a bucket, s3:// or gs://, through pyarrow's file systems; each appears whole or not at all.

A folder's objects are sent one by one, so its seal is replaced by an invalid one first, and the real seal is sent last.
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

from minidisc_ray.files.digests import SEAL
from minidisc_ray.files.places import check_uri, endpoint_of
from minidisc_ray.files.waiting import StorageError, Waiting
from minidisc_ray.files.writing import temporary_beside

# A folder's content is sent first, then its seals, and the stage's record last.
_RECORD = "record.json"
_SENT_LAST = {SEAL: 1, _RECORD: 2}
_INVALID_SEAL = b"{}\n"
_CHUNK_BYTES = 8 * 2**20
_CONNECT_SECONDS, _REQUEST_SECONDS = 5.0, 60.0
# Google's client retries by itself; after this time `Waiting` does.
_RETRY_SECONDS = 2.0
# As for a file system: transient errors are retried, refusals are raised.
_TRANSIENT = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|THROTTLING|curlCode"
    r"|HTTP status 5\d\d|HTTP status 429|UNAVAILABLE|DEADLINE_EXCEEDED|Retry policy exhausted",
    re.IGNORECASE,
)
_IS_MISSING = re.compile(r"does not exist|not[ _]found", re.IGNORECASE)
_REASONS = (
    (
        # Google's client only says "not found"; a write can miss nothing but its bucket.
        re.compile(
            r"NO_SUCH_BUCKET|[Bb]ucket.{0,40}(does not exist|not found)"
            r"|NOT_FOUND.*retry\.function=(CreateResumableUpload|UploadChunk|InsertObject)"
        ),
        "there is no such bucket; create it",
    ),
    (
        re.compile(r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|INVALID_CLIENT_TOKEN_ID"),
        "the credentials are not accepted; set valid ones in the environment (AWS_*, GOOGLE_*)",
    ),
    (
        re.compile(r"ACCESS_DENIED|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED"),
        "permission is denied; set credentials in the environment (AWS_*, GOOGLE_*) that may read, write and delete",
    ),
)

_Found = TypeVar("_Found")


class _MissingError(Exception):
    """The bucket has no such object."""


@dataclass(frozen=True)
class Entry:
    """An object's size, and when it was written: seconds since the epoch, by the store's clock."""

    bytes: int
    modified_at: float


class Bucket:
    """Reads and writes objects below a URI; names are relative to it.

    Args:
        uri: of a bucket, or of a folder in one.
        waiting: retries transient errors.

    Raises:
        PlaceError: if the URI does not name a bucket.
    """

    def __init__(self, uri: str, waiting: Waiting) -> None:
        scheme, bucket, prefix = check_uri(uri)
        self._waiting = waiting
        self.uri = join_key(f"{scheme}://{bucket}", prefix)
        self._scheme, self._root = scheme, join_key(bucket, prefix)

    def entries(self, relative: str = "") -> dict[str, Entry]:
        """Every object below a folder, by its name relative to that folder; empty where there is no such folder."""
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
        """Read a small object; None where there is none."""

        def get(fs: Any) -> bytes:
            with fs.open_input_stream(self._key(relative)) as stream:
                return bytes(stream.read())

        try:
            return self._call(get, relative)
        except _MissingError:
            return None

    def write(self, relative: str, content: bytes) -> None:
        """Write or replace a small object."""

        def put(fs: Any) -> None:
            with fs.open_output_stream(self._key(relative)) as stream:
                stream.write(content)

        self._call(put, relative)

    def pull_file(self, relative: str, path: Path) -> bool:
        """Replace a local file by an object, atomically; returns False, and does nothing, where there is none."""
        temporary = temporary_beside(path)

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

        A folder's seals and record are invalid until all of it was sent: half of a folder never counts as whole.
        """
        if not path.is_dir():
            self._push_file(path, relative)
            return
        local = {
            found.relative_to(path).as_posix(): found
            for found in path.rglob("*")
            if found.is_file() and not any(is_temporary(part) for part in found.relative_to(path).parts)
        }
        remote = self.entries(relative)
        self._unseal(relative, remote)
        # A new folder gets its invalid seal first too: without any, half of it would pass for an unsealed folder.
        for name in local.keys() - remote.keys():
            if _base(name) == SEAL:
                self.write(join_key(relative, name), _INVALID_SEAL)
        for name in remote.keys() - local.keys():
            self._delete(join_key(relative, name))
        for name in sorted(local, key=_send_order):
            self._push_file(local[name], join_key(relative, name))

    def remove(self, relative: str) -> None:
        """Remove an object, or all objects below a folder; one that does not exist is no error."""
        remote = self.entries(relative)
        if not remote:
            self._delete(relative)
            return
        self._unseal(relative, remote)
        for name in sorted(remote, key=_send_order):
            self._delete(join_key(relative, name))

    def probe(self) -> None:
        """Write, read and remove an object.

        Raises:
            StorageError: in one sentence, if any of these fails.
        """
        name = temporary_beside(Path("probe")).name
        self.write(name, b"probe\n")
        self.read(name)
        self._delete(name)

    def _unseal(self, relative: str, remote: dict[str, Entry]) -> None:
        """Delete records and overwrite seals below a folder, so that nothing in it counts as whole."""
        for name in sorted(remote):
            if _base(name) == _RECORD:
                self._delete(join_key(relative, name))
            elif _base(name) == SEAL:
                self.write(join_key(relative, name), _INVALID_SEAL)

    def _push_file(self, path: Path, relative: str) -> None:
        if path.stat().st_size <= _CHUNK_BYTES:
            # Read before the object is opened: closing it after a failed read would leave half a file there.
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
        return join_key(self._root, relative)

    def _call(self, action: Callable[[Any], _Found], relative: str) -> _Found:
        where = join_key(self.uri, relative)

        def attempt() -> _Found:
            try:
                return action(_file_system(self._scheme, endpoint_of(self._scheme), os.getpid()))
            except OSError as error:
                raise _known_error(error, where) from error

        return self._waiting.retry(attempt, where)


def is_temporary(name: str) -> bool:
    """Whether a name is a temporary one, of a file or folder that is being written or removed."""
    return name.startswith(".") and ".tmp" in name


def is_whole(content: bytes | None) -> bool:
    """Whether a seal's content is that of a folder that was sent whole."""
    try:
        return isinstance(json.loads(content or b"")["files"], dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _known_error(error: OSError, where: str) -> Exception:
    """Translate an error of pyarrow to one that :class:`Waiting` retries, or to a sentence for the user."""
    text = " ".join(str(error).split())
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return StorageError(errno.EACCES, f"{where}: {reason}")
    if isinstance(error, FileNotFoundError):
        return _MissingError(text) if _IS_MISSING.search(text) else error
    if _TRANSIENT.search(text):
        return OSError(errno.EHOSTDOWN, text[:300])
    if error.errno not in (None, 0, errno.EIO):
        return error
    return StorageError(errno.EIO, f"{where}: {text[:300]}")


@functools.lru_cache(maxsize=8)
def _file_system(scheme: str, endpoint: str | None, pid: int) -> Any:  # noqa: ARG001 - a forked process opens its own
    # Imported here, since it is slow and only buckets need it.
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


def _send_order(name: str) -> tuple[int, str]:
    return _SENT_LAST.get(_base(name), 0), name


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def join_key(*parts: str) -> str:
    """Join parts of an object's name by slashes; empty parts are left out."""
    return "/".join(part for part in parts if part)
