"""Asking the driver of a run or a study to stop, through a file in its folder, and seeing what comes of it."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, Driver, driver_of, fetch_driver, this_driver, unreadable_driver
from minidisc_ray.driver.lease import STOP_FILE
from minidisc_ray.files.places import place_of
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import reason_of

_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Stopped:
    """What came of a request to stop.

    Attributes:
        folder: of the run or the study.
        outcome: ``finished`` where the run had its result before it heeded the request.
        driver: whom it was addressed to; None where there was none.
        seemed_alive: whether a driver that still runs renewed its file meanwhile.
    """

    folder: Path
    outcome: Literal["stopped", "finished", "not running", "still running"]
    driver: Driver | None = None
    seemed_alive: bool = True


def stop(storage: Storage, name: str, wait_seconds: float) -> Stopped:
    """Ask the driver of a run or a study to end as by Ctrl-C, and wait for that.

    Args:
        storage: that it is kept in.
        name: the run's, or the study's with or without ``study-``.
        wait_seconds: how long to wait.

    Raises:
        UserError: if there is no such run, it is a part of a study that runs, or its folder cannot be read or written.
    """
    folder = _find(storage.root, name)
    fetch_driver(storage, folder)
    driver = driver_of(folder)
    if driver is None:
        if (flaw := unreadable_driver(folder)) is not None:
            raise UserError(
                f"{name}: {DRIVER_FILE} in {place_of(folder)} cannot be read ({flaw}), so it may be running; ask its "
                "owner to stop it, or make the file readable"
            )
        # What is left there is an older request, and addressed to one that is gone.
        with suppress(OSError):
            (folder / STOP_FILE).unlink(missing_ok=True)
        return Stopped(folder, "not running")
    if driver.beats_in is not None:
        raise UserError(
            f"{name}: it is run as part of {driver.beats_in} by {driver.title}; `minidisc stop {driver.beats_in} "
            f"--storage {place_of(storage.root)}` stops all of that"
        )
    me = this_driver(time.time())
    try:
        storage.write_json(
            folder / STOP_FILE,
            {"token": driver.token, "asked_by": f"{me.user} on {me.host}", "asked_at": me.started_at},
        )
    except OSError as error:
        raise UserError(
            f"{name}: {place_of(folder)} cannot be written ({reason_of(error)}), so nothing was asked to stop; "
            f"Ctrl-C, or SIGTERM to {driver.title}, stops it"
        ) from error
    result_before = _result_time(folder)
    deadline = time.monotonic() + wait_seconds
    found: Driver | None = driver
    while time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        fetch_driver(storage, folder)
        found = driver_of(folder)
        if found is None or found.token != driver.token:
            return Stopped(folder, "stopped" if _result_time(folder) == result_before else "finished", driver)
    return Stopped(folder, "still running", driver, found is not None and found.beat_at != driver.beat_at)


def _find(root: Path, name: str) -> Path:
    # Whatever is written is written inside the root: no name leads out of it, and no link is followed.
    is_name = Path(name).name == name and not name.startswith((".", "_"))
    names = [name, f"study-{name}"] if is_name and name else []
    there = [folder for folder in (root / one for one in names) if _is_own_folder(folder)]
    if not there:
        raise UserError(
            f"{name}: no run or study of that name in {place_of(root)}; `minidisc ls --storage {place_of(root)}` "
            "lists them"
        )
    live = [folder for folder in there if driver_of(folder) is not None]
    if len(live) > 1:
        raise UserError(
            f"{name}: both a run and a study of that name are running; give study-{name}, or stop it by Ctrl-C"
        )
    return (live or there)[0]


def _is_own_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and not folder.is_symlink()
    except OSError:
        # A name that is too long, for instance.
        return False


def _result_time(folder: Path) -> int | None:
    try:
        return (folder / "result.json").stat().st_mtime_ns
    except OSError:
        return None
