"""What is written again and again is sent to a bucket now and then, by a thread that nothing waits for."""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from minidisc_ray.log import logger

SECONDS_BETWEEN_UPLOADS = 5.0

_all: "weakref.WeakSet[Uploads]" = weakref.WeakSet()


class Uploads:
    """Sends what was added some seconds ago, the latest content of each; what fails is sent again.

    Args:
        send: sends a file; raises OSError where that fails.
        at_exit: called when this process ends, before what is left is sent.
    """

    def __init__(self, send: Callable[[Path], None], at_exit: Callable[[], None]) -> None:
        self._send_file, self._at_exit = send, at_exit
        self._is_over = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: dict[Path, None] = {}
        self._known: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._has_warned = self._is_registered = False

    def add(self, path: Path) -> None:
        """Send within some seconds."""
        if self._process != os.getpid():
            # A forked process has no thread, and nothing of its own to send.
            self._begin()
        with self._lock:
            self._waiting[path] = None
            self._known.add(path)
            if not self._is_registered:
                # Imported before: what is registered last is called first, and its client ends with its own call.
                import pyarrow.fs  # noqa: F401

                self._is_registered = True
                atexit.register(self.end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="minidisc-uploads", daemon=True)
                self._thread.start()

    @contextmanager
    def instead(self, path: Path) -> Iterator[None]:
        """The caller sends or removes it in the context: what was read of it before must not arrive after that."""
        with self._lock:
            self._waiting.pop(path, None)
            is_known = path in self._known
        with self._sending if is_known else nullcontext():
            yield

    def flush(self) -> None:
        """Send now what waits."""
        with self._lock:
            paths, self._waiting = list(self._waiting), {}
        for path in paths:
            with self._sending:
                if not self._is_over:
                    self._send(path)

    def end(self) -> None:
        """Send what is left, once, and nothing after that: the store's client is about to end."""
        self._at_exit()
        self.flush()
        with self._sending:
            self._is_over = True

    def _send(self, path: Path) -> None:
        try:
            self._send_file(path)
        except OSError as error:
            with self._lock:
                self._waiting[path] = None
            if not self._has_warned:
                self._has_warned = True
                logger.warning("%s: not sent for now (%s)", path, error)

    def _run(self) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_UPLOADS)
            self.flush()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return


def flush_uploads() -> None:
    """Send now what waits in this process, of every storage."""
    for uploads in list(_all):
        uploads.flush()
