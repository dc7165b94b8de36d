"""``.driver.json`` in a folder of a run or a study: which process works on it, and whether that process is alive."""

import getpass
import os
import platform
import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config
from minidisc_ray.files.reading import NotAFileError, read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json

DRIVER_FILE = ".driver.json"
SECONDS_BETWEEN_BEATS = 5.0
# Twelve beats, so that a slow file server ends no run.
EXPIRY_SECONDS = 60.0
# `datetime` has a date for these in every time zone: the last year is 9892.
_Time = Annotated[float, Field(ge=0.0, lt=2.5e11)]


class Driver(Config):
    """The process that drives a run or a study."""

    token: str = Field(description="Random; identifies this driver.")
    user: str
    host: str
    pid: int = Field(gt=0, lt=2**31, description="Positive: os.kill takes 0 and less for process groups.")
    started_at: _Time = Field(description="Seconds since the epoch, as every time here.")
    beat_at: _Time
    machine: str = Field(description="The boot and the process namespace that the pid belongs to.")
    process_start: str = Field(description="Distinguishes the process from a later one of the same pid.")
    beats_in: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The folder beside this one whose file is renewed; None: this one.",
    )

    @property
    def title(self) -> str:
        """User, host, process and start, for messages."""
        since = datetime.fromtimestamp(self.started_at).strftime("%Y-%m-%d %H:%M")
        return f"{self.user} on {self.host} (process {self.pid}) since {since}"


def this_driver(now: float) -> Driver:
    """Describe this process as a driver, with a new token, at a time in seconds since the epoch."""
    return Driver(
        token=uuid.uuid4().hex,
        user=user_name(),
        host=platform.node(),
        pid=os.getpid(),
        started_at=now,
        beat_at=now,
        machine=this_machine(),
        process_start=process_start(os.getpid()),
    )


def user_name() -> str:
    """The name of this process's user; ``user UID`` where it has none, as in some containers."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return f"user {os.getuid()}"


def this_machine() -> str:
    """An id that is equal where a pid means the same process: the boot, and the process namespace (containers)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()}/{uuid.getnode():x}"


def read_driver(folder: Path) -> Driver | None:
    """Read a folder's own driver file; None if there is none, or it is damaged."""
    try:
        return Driver.model_validate(read_json(folder / DRIVER_FILE))
    except ValidationError:
        return None


def unreadable_driver(folder: Path) -> str | None:
    """Why a folder's driver file cannot be read, so that its driver is unknown; None if it can be, or is missing.

    A damaged file counts as missing: drivers write theirs whole.
    """
    try:
        read_regular(folder / DRIVER_FILE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotAFileError):
        return None
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def driver_of(folder: Path) -> Driver | None:
    """The driver of a folder, unless it is certainly dead; None if there is none.

    A run of a study names the study's folder, whose file alone is renewed: ``beat_at`` comes from there.
    """
    found = read_driver(folder)
    if found is not None and found.beats_in is not None:
        renewed = read_driver(folder.parent / found.beats_in)
        if renewed is None or renewed.token != found.token:
            return None
        found = found.model_copy(update={"beat_at": renewed.beat_at})
    return None if found is None or liveness(found) == "dead" else found


def fetch_driver(storage: Storage, folder: Path) -> None:
    """Fetch a folder's driver file from a bucket; does nothing where the storage is a folder."""
    storage.fetch_file(folder / DRIVER_FILE)
    found = read_driver(folder)
    if found is not None and found.beats_in is not None:
        storage.fetch_file(folder.parent / found.beats_in / DRIVER_FILE)


def liveness(driver: Driver) -> Literal["alive", "dead", "unknown"]:
    """Whether a driver's process is alive; unknown if it is on another machine, where only its beats show that."""
    if driver.machine != this_machine():
        return "unknown"
    try:
        os.kill(driver.pid, 0)
    except ProcessLookupError:
        return "dead"
    except OSError:
        pass  # another user's
    start = process_start(driver.pid)
    if start and not driver.process_start:
        # The pid may be another process's by now; only beats show whether the driver is alive.
        return "unknown"
    is_other = bool(start) and start != driver.process_start
    return "dead" if is_other or start == _ZOMBIE else "alive"


def seems_alive(driver: Driver, now: float) -> bool:
    """Whether a driver seems alive, without waiting: by its process, else by the age of its last beat."""
    life = liveness(driver)
    return life == "alive" or (life == "unknown" and now - driver.beat_at < EXPIRY_SECONDS)


_ZOMBIE = "zombie"


def process_start(pid: int) -> str:
    """When a process started, in clock ticks since boot; ``zombie`` for a dead one, empty where it cannot be read."""
    try:
        # The process name in parentheses may contain anything, parentheses too.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return _ZOMBIE if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
