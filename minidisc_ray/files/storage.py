"""Where runs are kept: a folder, or a bucket of which each node has a copy. Whatever a run writes goes through here.

All paths are local ones below :attr:`Storage.root`. Of a bucket they are this node's copy: what is written there is
sent at once, or within seconds where nothing waits for it; nothing is fetched unless it is asked for.
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
    """A storage root, how long to wait for it, and its bucket where it has one.

    Sent to another process it is opened there again, with the same patience.

    Args:
        place: a folder, or the URI of a bucket.
        patience_seconds: how long to wait while it is away, full or read-only; 0 gives up at once.
        is_watched: whether there is something in the root already, so that an empty one counts as away.

    Raises:
        PlaceError: if it is a URI of nothing that runs can be kept in.
    """

    def __init__(self, place: str | Path, patience_seconds: float = 0.0, is_watched: bool = False) -> None:
        self.place = place
        self.root = local_path(place)
        self._waiting = Waiting(self.root)
        uri = uri_of(self.root)
        self._bucket = None if uri is None else Bucket(uri, self._waiting)
        self._uploads = Uploads(self._send, at_exit=lambda: self.wait_up_to(0.0))
        self._fetched_at: dict[Path, float] = {}
        self.wait_up_to(patience_seconds, is_watched)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.place, self._waiting.seconds, self._waiting.is_watched)

    @property
    def is_bucket(self) -> bool:
        """Whether the files here are copies of a bucket's objects."""
        return self._bucket is not None

    def wait_up_to(self, seconds: float, is_watched: bool = True) -> None:
        """From here on wait for a storage that is away, full or read-only.

        Args:
            seconds: the longest wait.
            is_watched: whether the root holds something already; a bucket's copy may be empty at any time.
        """
        self._waiting.seconds, self._waiting.was_in_vain = seconds, False
        self._waiting.is_watched = is_watched and not self.is_bucket

    def retry(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        """What an action returns, tried again while the storage is away; see :meth:`Waiting.retry`."""
        return self._waiting.retry(action, place)

    def unwritable(self, error: OSError) -> str:
        """One sentence on a storage that could not be written; see :meth:`Waiting.unwritable`."""
        return self._waiting.unwritable(error)

    def wait_until_there(self) -> None:
        """Return once a storage that holds something already is there and can be written.

        Raises:
            StorageError: if it does not come back in time; so do all methods below.
        """
        if self._waiting.is_watched:
            self.retry(self._refuse_unwritable, self.root)

    def refuse_links(self, path: Path) -> None:
        """Refuse a path that leads through a link, or is one; every method that is given a path does.

        Raises:
            LinkError: naming it.
        """
        refuse_links(self.root, path)

    # Reading.

    def is_there(self, path: Path) -> bool:
        """Whether a path exists, on a storage that is there to answer."""
        self.refuse_links(path)
        return self.retry(path.exists, path)

    def read_json(self, path: Path) -> Any | None:
        """A small JSON file's value; None if it is missing or damaged, or no file."""
        try:
            return writing.json_value(self.retry(lambda: read_regular(path), path))
        except OSError:
            return None

    def check_seal(self, folder: Path) -> str | None:
        """What is wrong with a sealed folder, in words; None if it is whole or has no seal."""
        self.refuse_links(folder)
        return self.retry(lambda: digests.check_seal(folder), folder)

    # Writing: whole or not at all, and on the disk before it returns.

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, unless the storage is away."""
        self.refuse_links(folder)
        self._waiting.check_is_there()
        folder.mkdir(parents=True, exist_ok=True)

    def write_file(self, path: Path, fill: Callable[[Path], object]) -> None:
        """Replace a file at once by what a function writes to the path that it is given."""
        self.refuse_links(path)
        self.retry(lambda: writing.write_file(path, fill), path)
        self.upload(path)

    def write_text(self, path: Path, text: str) -> None:
        """Replace a file at once."""
        self.write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def write_json(self, path: Path, value: Any) -> None:
        """Replace a JSON file at once."""
        self.write_text(path, writing.json_text(value))

    def append_line(self, path: Path, line: Callable[[], str], makes_file: bool = True) -> None:
        """Add a line to a file, as :func:`minidisc_ray.files.writing.append_line` does.

        Args:
            path: of the file.
            line: makes the line, without its end; called at each try.
            makes_file: whether it may be the first one.
        """
        self.refuse_links(path)
        self.retry(lambda: writing.append_line(path, line(), makes_file), path)
        self.upload(path)

    def write_folder(self, folder: Path, fill: Callable[[Path], object], keep_as: str | None = None) -> None:
        """Replace a folder by a sealed one, whole or not at all.

        Args:
            folder: its real name.
            fill: writes files into the empty folder that it is given; called again where the storage was away.
            keep_as: a name beside it for what is there now, which is removed otherwise.
        """

        def place(temporary: Path, folder: Path) -> None:
            if keep_as is not None and os.path.lexists(folder):
                self.move(folder, folder.with_name(keep_as))
            self.move(temporary, folder)

        self.refuse_links(folder)
        self.retry(lambda: sealing.write_folder(folder, fill, place), folder)

    def move(self, folder: Path, to: Path) -> None:
        """Give a folder another name; what had that name is put aside before and removed after."""
        self.refuse_links(folder)
        self.refuse_links(to.parent)
        writing.put_in_place(folder, to)
        # The old name goes last: a bucket copies, it does not rename.
        self.upload(to)
        self.delete_upload(folder)

    def remove(self, path: Path) -> None:
        """Remove a file or folder as far as that is possible; what is not there is removed already."""
        self.refuse_links(path.parent)
        was_there = os.path.lexists(path)
        writing.remove(path)
        if was_there:
            self.delete_upload(path)

    # A bucket's copy: nothing of this happens in a folder.

    def upload(self, path: Path) -> None:
        """Send a file or folder now."""
        self._with_object(path, lambda bucket, name: bucket.push(path, name))

    def delete_upload(self, path: Path) -> None:
        """Remove there what was removed here."""
        self._with_object(path, lambda bucket, name: bucket.remove(name))

    def upload_later(self, path: Path) -> None:
        """Send a file within some seconds; for what is written again and again."""
        if self._bucket is not None:
            self._uploads.add(path)

    def flush(self) -> None:
        """Send now what waits to be sent."""
        self._uploads.flush()

    def fetch_file(self, path: Path) -> None:
        """Fetch one file as it is there, or remove it here where it is not there."""
        if self._bucket is not None and not self._bucket.pull_file(self._name(path), path):
            path.unlink(missing_ok=True)

    def fetch(self, folder: Path, wanted: Callable[[str], bool] = lambda _: True, is_exclusive: bool = False) -> None:
        """Fetch what lies below a folder and differs here; see :func:`minidisc_ray.files.fetching.fetch_below`."""
        if self._bucket is not None:
            fetch_below(self._bucket, self._name(folder), folder, wanted, is_exclusive)

    def is_kept(self, path: Path) -> bool:
        """Whether a small file is kept, in the bucket where there is one, whatever was fetched of it."""
        return path.is_file() if self._bucket is None else self._bucket.read(self._name(path)) is not None

    def fetch_sealed(self, folder: Path) -> None:
        """Fetch a sealed folder that is to be loaded now; what is damaged here goes."""
        if self._bucket is None:
            return
        if folder.is_dir() and digests.check_seal(folder) is not None:
            for path in [path for path in folder.rglob("*") if path.is_file()]:
                path.unlink(missing_ok=True)
        self.fetch(folder)

    def fetch_if_due(self, path: Path, fetch: Callable[[Path], None]) -> None:
        """Fetch a file or a folder, at most every few seconds, and not at all while the bucket is away."""
        now = time.monotonic()
        if self._bucket is not None and now - self._fetched_at.get(path, -math.inf) >= SECONDS_BETWEEN_FETCHES:
            self._fetched_at[path] = now
            with suppress(OSError):
                fetch(path)

    def probe(self) -> None:
        """Write, read and remove an object of the bucket.

        Raises:
            StorageError: in one sentence, if any of it fails.
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
        with self._uploads.instead(path):
            action(self._bucket, self._name(path))

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.root).as_posix()
        return "" if name == "." else name
