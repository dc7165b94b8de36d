"""``.driver.json`` in a folder of a run or a study: which process is at work on it, and whether it still lives."""

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
# Twelve beats: a file server that is slow for a while ends no run.
EXPIRY_SECONDS = 60.0
# What a date can be made of in every time zone: the year 9892 is the last one.
_Time = Annotated[float, Field(ge=0.0, lt=2.5e11)]


class Driver(Config):
    """The process that drives a run or a study."""

    token: str = Field(description="Tells this one from every other.")
    user: str
    host: str
    pid: int = Field(gt=0, lt=2**31, description="0 and less are groups of processes.")
    started_at: _Time = Field(description="Seconds since the epoch, as all times here.")
    beat_at: _Time
    machine: str = Field(description="The boot and the process namespace in which the pid means something.")
    process_start: str = Field(description="Tells the process from a later one of the same pid.")
    beats_in: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The folder beside this one whose file is renewed; None is this.",
    )

    @property
    def title(self) -> str:
        """Who, where, and since when, for a sentence."""
        since = datetime.fromtimestamp(self.started_at).strftime("%Y-%m-%d %H:%M")
        return f"{self.user} on {self.host} (process {self.pid}) since {since}"


def this_driver(now: float, beats_in: str | None = None) -> Driver:
    """What this process says of itself.

    Args:
        now: seconds since the epoch.
        beats_in: see :class:`Driver`.
    """
    return Driver(
        token=uuid.uuid4().hex,
        user=user_name(),
        host=platform.node(),
        pid=os.getpid(),
        started_at=now,
        beat_at=now,
        machine=this_machine(),
        process_start=process_start(os.getpid()),
        beats_in=beats_in,
    )


def user_name() -> str:
    """Who runs this process; containers may have a user without a name."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return f"user {os.getuid()}"


def this_machine() -> str:
    """Equal where a pid means the same process: containers of one host have names, and process tables, of their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()}/{uuid.getnode():x}"


def written_driver(folder: Path) -> Driver | None:
    """What a folder's own file says; None if there is none, or it is damaged."""
    try:
        return Driver.model_validate(read_json(folder / DRIVER_FILE))
    except ValidationError:
        return None


def unreadable_driver(folder: Path) -> str | None:
    """Why a folder's own file is there and cannot be read, so that its driver is unknown; None where that is not so.

    A damaged file, or none, is no driver's: no driver wrote it.
    """
    try:
        read_regular(folder / DRIVER_FILE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotAFileError):
        return None
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def driver_of(folder: Path) -> Driver | None:
    """The driver that a folder may have; None if it has none, or one that is certainly gone.

    The runs of a study name the study's file, the only one that is renewed; it says when they last seemed alive.
    """
    found = written_driver(folder)
    if found is not None and found.beats_in is not None:
        renewed = written_driver(folder.parent / found.beats_in)
        if renewed is None or renewed.token != found.token:
            return None
        found = found.model_copy(update={"beat_at": renewed.beat_at})
    return None if found is None or life_of(found) == "dead" else found


def fetch_driver(storage: Storage, folder: Path) -> None:
    """Fetch what a bucket says by now of a folder's driver; nothing where the storage is a folder."""
    storage.fetch_file(folder / DRIVER_FILE)
    found = written_driver(folder)
    if found is not None and found.beats_in is not None:
        storage.fetch_file(folder.parent / found.beats_in / DRIVER_FILE)


def life_of(driver: Driver) -> Literal["alive", "dead", "unknown"]:
    """Whether a driver lives; unknown where only its beats can tell: its process is another machine's."""
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
        # Any process may have the number; one that renews its file is alive.
        return "unknown"
    is_other = bool(start) and start != driver.process_start
    return "dead" if is_other or start == _ZOMBIE else "alive"


def seems_alive(driver: Driver, now: float) -> bool:
    """Whether a driver seems to live, at one look: by its process, else by this machine's clock beside its beat."""
    life = life_of(driver)
    return life == "alive" or (life == "unknown" and now - driver.beat_at < EXPIRY_SECONDS)


_ZOMBIE = "zombie"


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where that cannot be read."""
    try:
        # The name in brackets may hold anything, brackets too.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return _ZOMBIE if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
