"""The storage of runs: a folder, or a bucket of which each node has a copy. A run writes all its files through it.

All paths are local ones below :attr:`Storage.root`. For a bucket they are paths in this node's copy: a file is sent
when it is written (with ``upload_later`` within seconds), and fetched only by the ``fetch`` methods.
"""

import errno
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from minidisc_ray.files import digests, sealing, writing
from minidisc_ray.files.bucket import Bucket, is_temporary
from minidisc_ray.files.fetching import fetch_below
from minidisc_ray.files.links import refuse_links
from minidisc_ray.files.places import local_path, uri_of
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.uploads import Uploads
from minidisc_ray.files.waiting import Waiting

SECONDS_BETWEEN_FETCHES = 5.0

_Found = TypeVar("_Found")


class Storage:
    """A storage root, its bucket where it has one, and how long to wait while it is away.

    Pickled, it is opened again in the other process, with the same settings.

    Args:
        place: a folder, or the URI of a bucket.
        patience_seconds: how long to wait while it is away, full or read-only; 0 gives up at once.
        has_files: whether the root is known to hold files, so that an empty one counts as away.

    Raises:
        PlaceError: if it is a URI that is not supported.
    """

    def __init__(self, place: str | Path, patience_seconds: float = 0.0, has_files: bool = False) -> None:
        self.place = place
        self.root = local_path(place)
        self._waiting = Waiting(self.root)
        uri = uri_of(self.root)
        self._bucket = None if uri is None else Bucket(uri, self._waiting)
        self._uploads = Uploads(self._send, at_exit=lambda: self.wait_up_to(0.0))
        self._fetched_at: dict[Path, float] = {}
        self.wait_up_to(patience_seconds, has_files)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.place, self._waiting.seconds, self._waiting.has_files)

    @property
    def is_bucket(self) -> bool:
        """Whether the storage is a bucket, so that local files are copies of its objects."""
        return self._bucket is not None

    def wait_up_to(self, seconds: float, has_files: bool = True) -> None:
        """Set how long to wait while the storage is away, full or read-only.

        Args:
            seconds: the longest wait.
            has_files: whether the root is known to hold files; ignored for a bucket, whose copy may be empty.
        """
        self._waiting.seconds, self._waiting.has_given_up = seconds, False
        self._waiting.has_files = has_files and not self.is_bucket

    def retry(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        """Call a function again while the storage is away; see :meth:`Waiting.retry`."""
        return self._waiting.retry(action, place)

    def unwritable(self, error: OSError) -> str:
        """The sentence for a storage that could not be written; see :meth:`Waiting.unwritable`."""
        return self._waiting.unwritable(error)

    def wait_until_available(self) -> None:
        """Wait until a root that is known to hold files is there and can be written.

        Raises:
            StorageError: if it is not back in time; so do all methods below.
        """
        if self._waiting.has_files:
            self.retry(self._refuse_unwritable, self.root)

    def refuse_links(self, path: Path) -> None:
        """Refuse a path that is a link or leads through one; all methods that take a path do.

        Raises:
            LinkError: naming the link.
        """
        refuse_links(self.root, path)

    # Reading.

    def exists(self, path: Path) -> bool:
        """Whether a path exists; waits while the storage is away, instead of returning False."""
        self.refuse_links(path)
        return self.retry(path.exists, path)

    def read_json(self, path: Path) -> Any | None:
        """Read a small JSON file; None if it is missing, damaged, or not a file."""
        try:
            return writing.json_value(self.retry(lambda: read_regular(path), path))
        except OSError:
            return None

    def check_seal(self, folder: Path) -> str | None:
        """What is wrong with a sealed folder, in words; None if it is whole or has no seal."""
        self.refuse_links(folder)
        return self.retry(lambda: digests.check_seal(folder), folder)

    # Writing: whole or not at all, and synced to disk before it returns.

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its parents.

        Raises:
            FileNotFoundError: if the storage is away.
        """
        self.refuse_links(folder)
        self._waiting.check_root()
        folder.mkdir(parents=True, exist_ok=True)

    def write_file(self, path: Path, fill: Callable[[Path], object]) -> None:
        """Write a file atomically; ``fill`` writes the content to a temporary path."""
        self.refuse_links(path)
        self.retry(lambda: writing.write_file(path, fill), path)
        self.upload(path)

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file atomically."""
        self.write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def write_json(self, path: Path, value: Any) -> None:
        """Write a JSON file atomically."""
        self.write_text(path, writing.json_text(value))

    def append_line(self, path: Path, line: Callable[[], str], create: bool = True) -> None:
        """Add a line to a file, as :func:`minidisc_ray.files.writing.append_line` does.

        Args:
            path: of the file.
            line: returns the line, without a newline; called at each try.
            create: whether to create a missing file.
        """
        self.refuse_links(path)
        self.retry(lambda: writing.append_line(path, line(), create), path)
        self.upload(path)

    def write_folder(self, folder: Path, fill: Callable[[Path], object], keep_as: str | None = None) -> None:
        """Write a sealed folder, whole or not at all; replaces one of the same name.

        Args:
            folder: to write.
            fill: writes the files into an empty temporary folder; called again where the storage was away.
            keep_as: new name for the folder that is replaced; None removes it.
        """

        def place(temporary: Path, folder: Path) -> None:
            if keep_as is not None and os.path.lexists(folder):
                self.move(folder, folder.with_name(keep_as))
            self.move(temporary, folder)

        self.refuse_links(folder)
        self.retry(lambda: sealing.write_folder(folder, fill, place), folder)

    def move(self, folder: Path, to: Path) -> None:
        """Rename a folder, replacing one of the new name."""
        self.refuse_links(folder)
        self.refuse_links(to.parent)
        writing.replace_folder(folder, to)
        # The old name is deleted last: a bucket cannot rename.
        self.upload(to)
        self.delete_upload(folder)

    def remove(self, path: Path) -> None:
        """Remove a file or folder as far as possible; a missing one is no error."""
        self.refuse_links(path.parent)
        was_there = os.path.lexists(path)
        writing.remove(path)
        if was_there:
            self.delete_upload(path)

    # For buckets; these do nothing where the storage is a folder.

    def upload(self, path: Path) -> None:
        """Send a file or folder now."""
        self._with_object(path, lambda bucket, name: bucket.push(path, name))

    def delete_upload(self, path: Path) -> None:
        """Delete from the bucket a file or folder that was removed here."""
        self._with_object(path, lambda bucket, name: bucket.remove(name))

    def upload_later(self, path: Path) -> None:
        """Send a file within some seconds; for files that are rewritten often."""
        if self._bucket is not None:
            self._uploads.add(path)

    def fetch_file(self, path: Path) -> None:
        """Fetch one file, or remove it here where the bucket lacks it."""
        if self._bucket is not None and not self._bucket.pull_file(self._name(path), path):
            path.unlink(missing_ok=True)

    def fetch(self, folder: Path, wanted: Callable[[str], bool] = lambda _: True, is_exclusive: bool = False) -> None:
        """Fetch the files below a folder that differ here; see :func:`minidisc_ray.files.fetching.fetch_below`."""
        if self._bucket is not None:
            fetch_below(self._bucket, self._name(folder), folder, wanted, is_exclusive)

    def is_stored(self, path: Path) -> bool:
        """Whether the storage has a small file: the bucket itself where there is one, not this node's copy."""
        return path.is_file() if self._bucket is None else self._bucket.read(self._name(path)) is not None

    def fetch_sealed(self, folder: Path) -> None:
        """Fetch a sealed folder; a damaged copy is removed first."""
        if self._bucket is None:
            return
        if folder.is_dir() and digests.check_seal(folder) is not None:
            for path in [path for path in folder.rglob("*") if path.is_file()]:
                path.unlink(missing_ok=True)
        self.fetch(folder)

    def fetch_if_due(self, path: Path, fetch: Callable[[Path], None]) -> None:
        """Fetch a file or a folder, at most every few seconds; does nothing while the bucket is away."""
        now = time.monotonic()
        if self._bucket is not None and now - self._fetched_at.get(path, -math.inf) >= SECONDS_BETWEEN_FETCHES:
            self._fetched_at[path] = now
            with suppress(OSError):
                fetch(path)

    def probe(self) -> None:
        """Write, read and remove an object of the bucket.

        Raises:
            StorageError: in one sentence, if any of these fails.
        """
        if self._bucket is not None:
            self._bucket.probe()

    def _refuse_unwritable(self) -> None:
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.root))

    def _send(self, path: Path) -> None:
        if path.exists() and self._bucket is not None:
            self._bucket.push(path, self._name(path))

    def _with_object(self, path: Path, action: Callable[[Bucket, str], None]) -> None:
        if self._bucket is None or any(is_temporary(part) for part in path.relative_to(self.root).parts):
            return
        with self._uploads.sent_directly(path):
            action(self._bucket, self._name(path))

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.root).as_posix()
        return "" if name == "." else name
