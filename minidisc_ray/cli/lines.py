"""Print what a command does as lines with the time, for logs and job output, so that none is silent for long."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console

from minidisc_ray.cli.options import print_line
from minidisc_ray.log import logger

# At the latest, whatever the command does. The watch of a run, which has more to print, does not wait as long.
_MAX_SILENCE = 30.0
_WATCH_SILENCE = 25.0


class Lines:
    """Prints lines with the time; any thread may.

    Args:
        console: to print on.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.Lock()
        self._printed_at = self._began_at = time.monotonic()
        self._doing = ""
        self._known: set[str] = set()

    def say(self, text: str) -> None:
        """Print a line of news."""
        with self._lock:
            self._print(text)
            self._doing = ""

    def say_once(self, text: str, news: str) -> None:
        """Print a line of news, unless the same news was printed before, from whichever source."""
        if news not in self._known:
            self._known.add(news)
            self.say(text)

    def begin(self, text: str) -> None:
        """Print what begins now; it is printed again while it goes on."""
        with self._lock:
            self._known.add(text)
            self._print(text)
            self._doing, self._began_at = text, self._printed_at

    def is_silent(self) -> bool:
        """Whether nothing was printed for so long that the watch of a run should print how far it is."""
        return time.monotonic() - self._printed_at >= _WATCH_SILENCE

    def break_silence(self) -> None:
        """Print what goes on, if nothing was printed for long."""
        with self._lock:
            if time.monotonic() - self._printed_at >= _MAX_SILENCE - 1.0:
                seconds = time.monotonic() - self._began_at
                self._print(f"still {self._doing} ({seconds:.0f} s)" if self._doing else "still running")

    def _print(self, text: str) -> None:
        print_line(self.console, f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}")
        self._printed_at = time.monotonic()


class _LogLines(logging.Handler):
    """Prints what the package logs at level INFO; warnings go to stderr as ever."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(logging.INFO)
        self.lines = lines
        self.addFilter(lambda record: record.levelno < logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.begin(record.getMessage())


@contextmanager
def log_lines(console: Console) -> Iterator[Lines]:
    """Print what the package logs within the context, and without a terminal a line at least every 30 s."""
    lines, level, propagates, is_over = Lines(console), logger.level, logger.propagate, threading.Event()
    handlers: list[logging.Handler] = [_LogLines(lines)]
    if not logger.hasHandlers() and logging.lastResort is not None:
        # Python prints warnings by this one only where a logger has no other.
        handlers.append(logging.lastResort)
        # A library that is imported later may give the root logger a handler, which would print each line again.
        logger.propagate = False

    def break_silence() -> None:
        while not is_over.wait(1.0):
            lines.break_silence()

    thread = threading.Thread(target=break_silence, name="minidisc-lines", daemon=True)
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    if not console.is_terminal:
        thread.start()
    try:
        yield lines
    finally:
        is_over.set()
        logger.setLevel(level)
        logger.propagate = propagates
        for handler in handlers:
            logger.removeHandler(handler)
