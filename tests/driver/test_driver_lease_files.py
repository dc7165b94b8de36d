"""Files and names in a storage that no driver of ours left: stopping and driving keep to what is certain."""

import json
import os
import time

import pytest
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.driver.driver import DRIVER_FILE, driver_of, liveness, seems_alive, this_driver
from minidisc_ray.driver.lease import STOP_FILE, leased
from minidisc_ray.driver.stopping import stop
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import write_json


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "storage" / "mine"
    folder.mkdir(parents=True)
    return folder


def drive_elsewhere(folder):
    driver = this_driver(time.time()).model_copy(update={"machine": "another boot"})
    write_json(folder / DRIVER_FILE, driver.model_dump(mode="json"))


def test_no_name_stops_anything_outside_of_the_storage(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (run.parent / "link").symlink_to(other)
    (run.parent / "study-link").symlink_to(other)
    for folder in (tmp_path, other, run.parent):
        drive_elsewhere(folder)
    (tmp_path / STOP_FILE).write_text("{}")
    for name in ("..", ".", "link", "study-link", "mine/..", "_shared", "a" * 300, "a\0b", "\ud800"):
        with pytest.raises(UserError, match="no run or study of that name"):
            stop(Storage(run.parent), name, 0.1)
    assert (tmp_path / STOP_FILE).read_text() == "{}"
    assert [path for path in tmp_path.rglob(STOP_FILE) if path.parent != tmp_path] == []


def test_where_it_is_unknown_who_drives_nothing_is_stopped_and_nothing_driven(run):
    # Not even root can read what links to itself.
    (run / DRIVER_FILE).symlink_to(DRIVER_FILE)
    with pytest.raises(UserError, match=r"^mine: \.driver\.json in .* cannot be read .* so it may be running"):
        stop(Storage(run.parent), "mine", 0.1)
    with pytest.raises(UserError, match=r"^name: \.driver\.json in .* cannot be read"), leased(LOCAL, run):
        pytest.fail("perhaps two drivers")


def test_a_request_that_is_no_file_is_no_reason_to_fail(run):
    (run / STOP_FILE).mkdir()
    assert stop(Storage(run.parent), "mine", 0.1).outcome == "not running"
    drive_elsewhere(run)
    with pytest.raises(UserError, match="so nothing was asked to stop"):
        stop(Storage(run.parent), "mine", 0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**31},
        {"pid": 10**400},
        {"pid": 0},
        {"pid": -1},
        {"started_at": 1e300},
        {"started_at": -1e300},
        {"started_at": 10**400},
        {"beat_at": 1e300},
        {"beats_in": ".."},
        {"beats_in": "../other/mine"},
    ],
    ids=str,
)
def test_a_driver_of_numbers_that_cannot_be_is_damage(run, changes):
    own = this_driver(time.time()).model_dump(mode="json")
    (run / DRIVER_FILE).write_text(json.dumps({**own, **changes}))
    assert driver_of(run) is None
    with leased(LOCAL, run, wait_seconds=0.0):
        pass


def test_a_driver_that_does_not_say_when_its_process_started_lives_by_its_beats(run):
    now = time.time()
    nameless = this_driver(now).model_copy(update={"process_start": "", "pid": os.getppid()})
    assert liveness(nameless) == "unknown"
    assert not seems_alive(nameless, now + 3600)
    assert "since" in this_driver(2.49e11).title
