"""A notice that this process must soon leave; training heeds it at its next step."""

import threading

_asked = threading.Event()


def ask_to_stop() -> None:
    """Ask."""
    _asked.set()
