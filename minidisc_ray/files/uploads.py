"""Sends files that are rewritten often to a bucket every few seconds, from a thread."""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from minidisc_ray.log import logger

SECONDS_BETWEEN_UPLOADS = 5.0


class Uploads:
    """Sends added files within some seconds, each with its latest content; one that fails is sent again.

    Args:
        send: sends a file; raises OSError where that fails.
        at_exit: called when this process ends, before the remaining files are sent.
    """

    def __init__(self, send: Callable[[Path], None], at_exit: Callable[[], None]) -> None:
        self._send_file, self._at_exit = send, at_exit
        self._is_over = False
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._waiting: dict[Path, None] = {}
        self._known: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._has_warned = self._is_registered = False

    def add(self, path: Path) -> None:
        """Send a file within some seconds."""
        if self._process != os.getpid():
            # A forked process has no thread, and no files of its own to send.
            self._reset()
        with self._lock:
            self._waiting[path] = None
            self._known.add(path)
            if not self._is_registered:
                # Imported first, so that our exit handler runs before pyarrow's, which shuts its client down.
                import pyarrow.fs  # noqa: F401

                self._is_registered = True
                atexit.register(self.end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="minidisc-uploads", daemon=True)
                self._thread.start()

    @contextmanager
    def sent_directly(self, path: Path) -> Iterator[None]:
        """Within the context the caller sends or deletes a file itself; no older content can arrive after that."""
        with self._lock:
            self._waiting.pop(path, None)
            is_known = path in self._known
        with self._sending if is_known else nullcontext():
            yield

    def flush(self) -> None:
        """Send all waiting files now."""
        with self._lock:
            paths, self._waiting = list(self._waiting), {}
        for path in paths:
            with self._sending:
                if not self._is_over:
                    self._send(path)

    def end(self) -> None:
        """Send the waiting files once more, and nothing after that: pyarrow's client is about to shut down."""
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
                logger.warning("%s: could not be sent (%s); trying again", path, error)

    def _run(self) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_UPLOADS)
            self.flush()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
