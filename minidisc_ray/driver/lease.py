"""One live driver for each run or study: it renews a file in the folder as long as it lives.

A second driver is refused while the first one lives. A killed driver can be replaced at once on its own machine, where
its process is known to be dead, and from another machine once its file was not renewed for a minute. Clocks of two
machines are never compared: what counts is whether the file changes while this process watches it.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
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
    liveness,
    read_driver,
    this_driver,
    unreadable_driver,
)
from minidisc_ray.files.reading import NotAFileError, read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json, temporary_beside
from minidisc_ray.log import logger

STOP_FILE = ".stop.json"
_SECONDS_BETWEEN_CHECKS = 1.0
_MAX_NAME_LENGTH = 200


class LeaseLostError(RuntimeError):
    """Another driver took over a run, because this one did not renew its file for too long."""


class Lease:
    """A driver's claim to a run, or to a study and the runs that it works on.

    Attributes:
        storage: that the folders lie in.
        folder: of the run or the study; its file is renewed, and requests to stop are written to it.
        others: folders of the study's runs. Their files only name ``folder``, so that a thousand runs need no more
            beats than one.
        own: this process, as written to the folders.
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
        """Write this driver's file to every folder, or to none.

        Args:
            wait_seconds: how long to watch a driver that may be alive on another machine.

        Raises:
            UserError: if another driver is alive, or the folders cannot be written.
        """
        replaceable = _replaceable_drivers(self.storage, (self.folder, *self.others), wait_seconds)
        taken: list[Path] = []
        try:
            for folder in (self.folder, *self.others):
                beats_in = None if folder == self.folder else self.folder.name
                own = self.own.model_copy(update={"beats_in": beats_in})
                self.storage.retry(partial(_claim, self.storage, folder, own, replaceable.get(folder)), folder)
                taken.append(folder)
        except UserError:
            self._release(taken)
            raise
        except OSError as error:
            self._release(taken)
            raise UserError(f"storage: {self.storage.unwritable(error)}") from error
        self.storage.fetch_file(self.folder / STOP_FILE)
        # Removes a request to an earlier driver.
        self._read_stop_request()
        self._thread.start()

    def check(self) -> None:
        """Return if this driver may go on.

        Raises:
            KeyboardInterrupt: if it was asked to stop, as by Ctrl-C; the message names the user who asked.
            LeaseLostError: if another driver has taken over a run.
        """
        if self._lost_to is not None:
            folder, driver = self._lost_to
            raise LeaseLostError(
                f"{folder.name} was taken over by {driver.title}, since this process gave no sign of life for "
                f"{EXPIRY_SECONDS:g} s; it goes on there"
            )
        request = self.folder / STOP_FILE
        self.storage.fetch_if_due(request, self.storage.fetch_file)
        asked = self._read_stop_request()
        if asked is not None:
            self.storage.remove(request)
            who = asked.get("asked_by")
            raise KeyboardInterrupt(" ".join(who.split())[:_MAX_NAME_LENGTH] if isinstance(who, str) else "")

    def release(self) -> None:
        """Remove this driver's files, so that another driver may begin."""
        self._is_over.set()
        self._thread.join()
        self._release((*self.others, self.folder))

    def _read_stop_request(self) -> dict[str, Any] | None:
        """The request to stop this driver; None if there is none. A request to another driver is removed."""
        request = self.folder / STOP_FILE
        if not request.exists():
            return None
        asked = read_json(request)
        # A request may come as soon as others can see this driver's file.
        if isinstance(asked, dict) and asked.get("token") == self.own.token:
            return asked
        self.storage.remove(request)
        return None

    def _release(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            with suppress(OSError):
                self.storage.fetch_file(folder / DRIVER_FILE)
            found = read_driver(folder)
            if found is None or found.token != self.own.token:
                continue
            with suppress(OSError):
                self.storage.remove(folder / DRIVER_FILE)
                # A request that came too late must not stop the next driver.
                self.storage.remove(folder / STOP_FILE)
                # Only an empty folder goes: a run that was refused before it began leaves none.
                folder.rmdir()

    def _beat(self) -> None:
        beat_at = time.time()
        # The first check comes soon: of two drivers that took over at the same moment, the file shows the last one.
        wait = min(1.0, self._seconds_between_beats)
        while not self._is_over.wait(wait):
            wait = self._seconds_between_beats
            now = time.time()
            # While this machine was suspended, another driver may have taken any of the folders.
            was_away = now - beat_at > EXPIRY_SECONDS / 2
            try:
                for folder in (self.folder, *(self.others if was_away else ())):
                    found = _read_owner(self.storage, folder)
                    if found is not None and found.token != self.own.token:
                        self._lost_to = (folder, found)
                        return
                _write(self.folder, self.own.model_copy(update={"beat_at": now})).replace(self.folder / DRIVER_FILE)
                self.storage.upload(self.folder / DRIVER_FILE)
                beat_at = now
            except OSError:
                # The storage is away; the next beat tries again.
                continue


@contextmanager
def leased(
    storage: Storage,
    folder: Path,
    others: Sequence[Path] = (),
    wait_seconds: float = EXPIRY_SECONDS,
    seconds_between_beats: float = SECONDS_BETWEEN_BEATS,
) -> Iterator[Lease]:
    """Make this process the one driver of a run, or of a study and its runs, within the context; yields its lease.

    Args:
        storage: that the folders lie in.
        folder: of the run, or of the study.
        others: folders of the study's runs.
        wait_seconds: how long to watch a driver on another machine before it counts as dead.
        seconds_between_beats: between two renewals of the file.

    Raises:
        UserError: if another driver is alive, or the folders cannot be written.
    """
    lease = Lease(storage, folder, others, seconds_between_beats)
    lease.acquire(wait_seconds)
    try:
        yield lease
    finally:
        lease.release()


def _replaceable_drivers(storage: Storage, folders: Sequence[Path], wait_seconds: float) -> dict[Path, Driver]:
    """The drivers that may be replaced, by folder: those that did not renew their file while it was watched.

    Raises:
        UserError: if one of them is alive, or its file cannot be read.
    """
    for folder in folders:
        fetch_driver(storage, folder)
        if (flaw := unreadable_driver(folder)) is not None:
            raise UserError(
                f"name: {DRIVER_FILE} in {folder} cannot be read ({flaw}), so {folder.name} may be running; ask its "
                "owner, or choose another name"
            )
    found = {folder: driver for folder in folders if (driver := driver_of(folder)) is not None}
    for folder, driver in found.items():
        if liveness(driver) == "alive":
            _refuse(folder, driver)
    if not found:
        return {}
    folder, driver = next(iter(found.items()))
    logger.warning(
        "%s was last driven by %s; waiting up to %g s to see whether that process is alive",
        folder.name,
        driver.title,
        wait_seconds,
    )
    return _silent_drivers(storage, found, wait_seconds)


def _silent_drivers(storage: Storage, found: dict[Path, Driver], wait_seconds: float) -> dict[Path, Driver]:
    """Watch drivers' files; returns the drivers that renewed none, and refuses the first one that did."""
    deadline = time.monotonic() + wait_seconds
    silent = dict(found)
    while silent and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _SECONDS_BETWEEN_CHECKS))
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


def _claim(storage: Storage, folder: Path, own: Driver, replaceable: Driver | None) -> None:
    """Write this driver's file to a folder.

    Raises:
        UserError: if another driver than the replaceable one has claimed it meanwhile.
    """
    storage.make_folder(folder)
    path, temporary = folder / DRIVER_FILE, _write(folder, own)
    try:
        os.link(temporary, path)
    except FileExistsError:
        fetch_driver(storage, folder)
        found = driver_of(folder)
        if found is not None and (replaceable is None or found.token != replaceable.token):
            _refuse(folder, found)
        temporary.replace(path)
    except OSError:
        # A file system without hard links. Of two drivers at the same moment, the one that was overwritten sees that
        # at its first beat.
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


def _read_owner(storage: Storage, folder: Path) -> Driver | None:
    """As :func:`read_driver`, but raises OSError where the storage is away."""
    storage.fetch_file(folder / DRIVER_FILE)
    try:
        return Driver.model_validate_json(read_regular(folder / DRIVER_FILE))
    except (FileNotFoundError, NotAFileError, ValueError):
        return None
