"""What is written again and again is sent now and then, by a thread that nothing waits for."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from minidisc_ray.files.patience import use_storage
from minidisc_ray.log import logger

SECONDS_BETWEEN_PUSHES = 5.0


class Pusher:
    """Sends what was added some seconds ago, the latest content of each; a send that fails comes again."""

    def __init__(self, push: Callable[[Path], None]) -> None:
        self._push = push
        self._waiting: dict[Path, None] = {}
        self._known: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._is_told = self._is_over = self._is_registered = False

    def add(self, path: Path) -> None:
        """Send within some seconds."""
        with self._lock:
            self._waiting[path] = None
            self._known.add(path)
            if not self._is_registered:
                # Imported before: what is registered last is called first, and its client ends with its own call.
                import pyarrow.fs  # noqa: F401

                self._is_registered = True
                atexit.register(self.end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="minidisc-mirror", daemon=True)
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
        use_storage(None, 0.0)
        self.flush()
        with self._sending:
            self._is_over = True

    def _send(self, path: Path) -> None:
        try:
            self._push(path)
        except OSError as error:
            with self._lock:
                self._waiting[path] = None
            if not self._is_told:
                self._is_told = True
                logger.warning("%s: not sent for now (%s)", path, error)

    def _run(self) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_PUSHES)
            self.flush()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
