"""One live driver for a run or a study: a file in its folder that the driver renews while it lives.

A second driver is refused while the first one lives. One that was killed is followed at once on its own machine, where
its process is known to be gone; from another machine once nothing was renewed for a minute. Clocks of two machines are
never compared: what counts is whether the file changes while it is watched.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import (
    DRIVER_FILE,
    EXPIRY_SECONDS,
    SECONDS_BETWEEN_BEATS,
    Driver,
    driver_of,
    fetch_driver,
    life_of,
    this_driver,
    unreadable_driver,
    written_driver,
)
from minidisc_ray.files.reading import NotAFileError, read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json, temporary_beside
from minidisc_ray.log import logger

STOP_FILE = ".stop.json"
_SECONDS_BETWEEN_CHECKS = 1.0
_LONGEST_NAME = 200


class LeaseLostError(RuntimeError):
    """Another driver took a run over, because this one did not renew its file for too long."""


class Lease:
    """A driver's right to a run, or to a study and the runs that it works on.

    Attributes:
        own: what the folders say of this process.
        folder: whose file is renewed, and to which a request to stop is addressed.
        storage: that all of them lie in.
        others: further folders, which only name that one: a thousand runs cost no more beats than one.
    """

    def __init__(self, storage: Storage, folder: Path, others: Sequence[Path], seconds_between_beats: float) -> None:
        self.storage = storage
        self.folder = folder
        self.others = tuple(others)
        self.own = this_driver(time.time())
        self._seconds_between_beats = seconds_between_beats
        self._lost_to: tuple[Path, Driver] | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="minidisc-lease", daemon=True)

    def acquire(self, wait_seconds: float) -> None:
        """Write this process into every folder, or none.

        Raises:
            UserError: if another driver lives, or the folders cannot be written.
        """
        judged = _judge(self.storage, (self.folder, *self.others), wait_seconds)
        taken: list[Path] = []
        try:
            for folder in (self.folder, *self.others):
                beats_in = None if folder == self.folder else self.folder.name
                own = self.own.model_copy(update={"beats_in": beats_in})
                self.storage.retry(partial(_claim, self.storage, folder, own, judged.get(folder)), folder)
                taken.append(folder)
        except UserError:
            self._release(taken)
            raise
        except OSError as error:
            self._release(taken)
            raise UserError(f"storage: {self.storage.unwritable(error)}") from error
        self.storage.fetch_file(self.folder / STOP_FILE)
        # The driver that an older one was meant for is gone.
        self._own_request()
        self._thread.start()

    def check(self) -> None:
        """See whether this driver is to go on.

        Raises:
            KeyboardInterrupt: if it was asked to stop, as Ctrl-C does; with the name of who asked.
            LeaseLostError: if another driver works on the run by now.
        """
        if self._lost_to is not None:
            folder, driver = self._lost_to
            raise LeaseLostError(
                f"{folder.name} was taken over by {driver.title}, since this process gave no sign of life for "
                f"{EXPIRY_SECONDS:g} s; it goes on there"
            )
        request = self.folder / STOP_FILE
        self.storage.fetch_if_due(request, self.storage.fetch_file)
        asked = self._own_request()
        if asked is not None:
            self.storage.remove(request)
            who = asked.get("asked_by")
            raise KeyboardInterrupt(" ".join(who.split())[:_LONGEST_NAME] if isinstance(who, str) else "")

    def release(self) -> None:
        """Let the next driver in."""
        self._is_over.set()
        self._thread.join()
        self._release((*self.others, self.folder))

    def _own_request(self) -> dict[str, Any] | None:
        """The request to stop that is addressed to this driver; any other is removed."""
        request = self.folder / STOP_FILE
        if not request.exists():
            return None
        asked = read_json(request)
        # One to this driver may come as soon as its claim can be seen.
        if isinstance(asked, dict) and asked.get("token") == self.own.token:
            return asked
        self.storage.remove(request)
        return None

    def _release(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            with suppress(OSError):
                self.storage.fetch_file(folder / DRIVER_FILE)
            found = written_driver(folder)
            if found is None or found.token != self.own.token:
                continue
            with suppress(OSError):
                self.storage.remove(folder / DRIVER_FILE)
                # A request that came too late has no driver to stop.
                self.storage.remove(folder / STOP_FILE)
                # What was refused before it began leaves nothing.
                folder.rmdir()

    def _beat(self) -> None:
        beat_at = time.time()
        # Of two that took over at the same moment the file soon shows one: the last.
        wait = min(1.0, self._seconds_between_beats)
        while not self._is_over.wait(wait):
            wait = self._seconds_between_beats
            now = time.time()
            # After a sleep, of the machine for instance, any of the folders may be another driver's.
            was_away = now - beat_at > EXPIRY_SECONDS / 2
            try:
                for folder in (self.folder, *(self.others if was_away else ())):
                    found = _owner(self.storage, folder)
                    if found is not None and found.token != self.own.token:
                        self._lost_to = (folder, found)
                        return
                _write(self.folder, self.own.model_copy(update={"beat_at": now})).replace(self.folder / DRIVER_FILE)
                self.storage.upload(self.folder / DRIVER_FILE)
                beat_at = now
            except OSError:
                # The storage is away for a moment.
                continue


@contextmanager
def leased(
    storage: Storage,
    folder: Path,
    others: Sequence[Path] = (),
    wait_seconds: float = EXPIRY_SECONDS,
    seconds_between_beats: float = SECONDS_BETWEEN_BEATS,
) -> Iterator[Lease]:
    """Be the one driver of a run, or of a study and its runs, for the length of the context.

    Args:
        storage: that the folders lie in.
        folder: of the run, or of the study.
        others: folders of the study's runs.
        wait_seconds: how long a driver on another machine is watched before it counts as gone.
        seconds_between_beats: between renewals.

    Raises:
        UserError: if another driver lives.
    """
    lease = Lease(storage, folder, others, seconds_between_beats)
    lease.acquire(wait_seconds)
    try:
        yield lease
    finally:
        lease.release()


def _judge(storage: Storage, folders: Sequence[Path], wait_seconds: float) -> dict[Path, Driver]:
    """The drivers that may be followed, by folder: those that did not renew their file while it was watched.

    Raises:
        UserError: for the first one that is alive, or may be.
    """
    for folder in folders:
        fetch_driver(storage, folder)
        if (flaw := unreadable_driver(folder)) is not None:
            raise UserError(
                f"name: {DRIVER_FILE} in {folder} cannot be read ({flaw}), so {folder.name} may be being run; ask its "
                "owner, or choose another name"
            )
    found = {folder: driver for folder in folders if (driver := driver_of(folder)) is not None}
    for folder, driver in found.items():
        if life_of(driver) == "alive":
            _refuse(folder, driver)
    if not found:
        return {}
    folder, driver = next(iter(found.items()))
    logger.warning(
        "%s was last driven by %s; waiting up to %g s to see whether that still lives",
        folder.name,
        driver.title,
        wait_seconds,
    )
    return _watch(storage, found, wait_seconds, time.monotonic, time.sleep)


def _watch(
    storage: Storage,
    found: dict[Path, Driver],
    wait_seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> dict[Path, Driver]:
    deadline = clock() + wait_seconds
    silent = dict(found)
    while silent and (left := deadline - clock()) > 0:
        sleep(min(left, _SECONDS_BETWEEN_CHECKS))
        for folder, before in list(silent.items()):
            fetch_driver(storage, folder)
            now = driver_of(folder)
            if now is None:
                del silent[folder]
            elif (now.token, now.beat_at) != (before.token, before.beat_at):
                _refuse(folder, now)
    return silent


def _refuse(folder: Path, driver: Driver) -> None:
    name = folder.name if driver.beats_in is None else driver.beats_in
    study = "" if driver.beats_in is None else f", as part of {driver.beats_in},"
    raise UserError(
        f"name: {folder.name} is being run{study} by {driver.title}; wait for it, or stop it with "
        f"`minidisc stop {name} --storage {folder.parent}`"
    )


def _claim(storage: Storage, folder: Path, own: Driver, judged: Driver | None) -> None:
    """Write this process into a folder, unless another one was faster."""
    storage.make_folder(folder)
    path, temporary = folder / DRIVER_FILE, _write(folder, own)
    try:
        os.link(temporary, path)
    except FileExistsError:
        fetch_driver(storage, folder)
        found = driver_of(folder)
        if found is not None and (judged is None or found.token != judged.token):
            _refuse(folder, found)
        temporary.replace(path)
    except OSError:
        # A file system without hard links; of two at the same moment the first beat tells which one stays.
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    storage.upload(path)


def _write(folder: Path, own: Driver) -> Path:
    temporary = temporary_beside(folder / DRIVER_FILE.lstrip("."))
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(own.model_dump_json(indent=2) + "\n")
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return temporary


def _owner(storage: Storage, folder: Path) -> Driver | None:
    """As :func:`written_driver`, but a storage that is away is no missing file."""
    storage.fetch_file(folder / DRIVER_FILE)
    try:
        return Driver.model_validate_json(read_regular(folder / DRIVER_FILE))
    except (FileNotFoundError, NotAFileError, ValueError):
        return None
