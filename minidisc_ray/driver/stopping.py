"""Asks the driver of a run or a study to stop, through a file in its folder, and waits for it to end."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, Driver, driver_of, fetch_driver, this_driver, unreadable_driver
from minidisc_ray.driver.lease import STOP_FILE
from minidisc_ray.driver.names import names_meant, no_such_run
from minidisc_ray.files.places import place_of
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import reason_of

_SECONDS_BETWEEN_CHECKS = 0.2


@dataclass(frozen=True)
class StopResult:
    """The outcome of a request to stop.

    Attributes:
        folder: of the run or the study.
        outcome: ``finished`` where the run wrote its result before it stopped.
        driver: the driver that was asked to stop; None where there was none.
        seemed_alive: False where the driver is still there, but did not renew its file meanwhile.
    """

    folder: Path
    outcome: Literal["stopped", "finished", "not running", "still running"]
    driver: Driver | None = None
    seemed_alive: bool = True


def stop(storage: Storage, name: str, wait_seconds: float) -> StopResult:
    """Ask the driver of a run or a study to stop, as Ctrl-C does, and wait until it has.

    Args:
        storage: that the run is kept in.
        name: of the run; or of the study, with or without ``study-``; or the beginning of one.
        wait_seconds: how long to wait.

    Raises:
        UserError: if there is no such run, or several; if a running study owns it; or if its folder cannot be read or
            written.
    """
    folder = _find_folder(storage.root, name)
    fetch_driver(storage, folder)
    driver = driver_of(folder)
    if driver is None:
        if (flaw := unreadable_driver(folder)) is not None:
            raise UserError(
                f"{name}: {DRIVER_FILE} in {place_of(folder)} cannot be read ({flaw}), so it may be running; ask its "
                "owner to stop it, or make the file readable"
            )
        # A request that is left over was for a driver that is gone.
        with suppress(OSError):
            (folder / STOP_FILE).unlink(missing_ok=True)
        return StopResult(folder, "not running")
    if driver.beats_in is not None:
        raise UserError(
            f"{name}: it is run as part of {driver.beats_in} by {driver.title}; `minidisc stop {driver.beats_in} "
            f"--storage {place_of(storage.root)}` stops the whole study"
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
        time.sleep(_SECONDS_BETWEEN_CHECKS)
        fetch_driver(storage, folder)
        found = driver_of(folder)
        if found is None or found.token != driver.token:
            return StopResult(folder, "stopped" if _result_time(folder) == result_before else "finished", driver)
    return StopResult(folder, "still running", driver, found is not None and found.beat_at != driver.beat_at)


def _find_folder(root: Path, name: str) -> Path:
    # The request is written below the root: a name does not lead out of it, and no link is followed.
    found = [root / one for one in names_meant(root, name)]
    if not found:
        raise no_such_run(root, name)
    live = [folder for folder in found if driver_of(folder) is not None]
    if len(live) > 1:
        raise UserError(
            f"{name}: both a run and a study of that name are running; give study-{name}, or stop it by Ctrl-C"
        )
    return (live or found)[0]


def _result_time(folder: Path) -> int | None:
    try:
        return (folder / "result.json").stat().st_mtime_ns
    except OSError:
        return None
