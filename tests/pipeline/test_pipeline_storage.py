"""Who waits for a storage that is away, and for how long that holds."""

import errno
import os
import pickle
import shutil
import threading
import time
from contextlib import ExitStack

import pytest
from bucket_kit import lose_the_store
from estimate_kit import estimate_in_process
from pipeline_kit import prepared_run
from storage_kit import full, read_only

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.lease import leased
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, probe_storage
from minidisc_ray.run_files.records import read_record

WAITS = ("compute.storage_patience_seconds=20",)


def away():
    raise OSError(errno.ESTALE, "stale")


def seconds_waited(prepared):
    started = time.monotonic()
    with pytest.raises(StorageError):
        prepared.storage.retry(away, "somewhere")
    return time.monotonic() - started


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(open_run, id="open"),
        pytest.param(run_in_process, id="run"),
        pytest.param(lambda prepared: estimate_in_process(prepared, 0.2), id="estimate"),
    ],
)
def test_one_runs_patience_is_its_own(tmp_path, use):
    use(prepared_run(tmp_path / "runs", "conventional", WAITS))
    again = prepared_run(tmp_path / "runs", "conventional", WAITS)
    assert seconds_waited(again) < 0.4
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    again.storage.write_json(tmp_path / "runs" / "mine.json", {})


def test_a_worker_waits_for_the_storage_that_its_run_had(tmp_path):
    root, aside = tmp_path / "runs", tmp_path / "aside"
    prepared = prepared_run(root, "conventional", WAITS)
    run_in_process(prepared)
    worker = pickle.loads(pickle.dumps(prepared))
    root.rename(aside)
    root.mkdir()  # as a mount point is whose storage was taken away

    def back():
        root.rmdir()
        aside.rename(root)

    timer = threading.Timer(0.7, back)
    started = time.monotonic()
    timer.start()
    assert read_record(worker.storage, worker.teacher_folder) is not None
    timer.join()
    assert 0.6 < time.monotonic() - started < 10
    root.rename(aside)
    worker.storage.wait_up_to(0.2)
    with pytest.raises(UserError, match=r"^storage: .*could not be used for 0\.2 s .*runs is gone or empty") as caught:
        open_run(worker)
    assert "\n" not in str(caught.value)


def test_a_worker_waits_for_a_bucket(bucket, monkeypatch):
    prepared = prepared_run(bucket, "conventional", ("compute.storage_patience_seconds=1",))
    prepared.wait_for_storage()
    worker = pickle.loads(pickle.dumps(prepared))
    worker.storage.wait_until_available()  # a copy without anything in it is not away
    lose_the_store(monkeypatch)
    with pytest.raises(StorageError, match=r"could not be used for 1 s"):
        worker.storage.fetch(worker.run_folder)
    with pytest.raises(UserError, match=r"^storage: .*could not be used for 1 s"):
        open_run(worker)


def test_a_fresh_command_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    started = time.monotonic()
    for storage in ("/proc/runs", tmp_path / "file", "s3://"):
        with pytest.raises(UserError, match=r"^storage: ") as caught:
            open_run(prepared_run(storage, "conventional", ("compute.storage_patience_seconds=600",)))
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fails", [full, read_only])
def test_what_goes_on_waits_for_its_storage_and_what_begins_does_not(disk, fails):
    root = disk("1m")
    begun = prepared_run(root, "conventional", ("name=begun", *WAITS))
    fresh = prepared_run(root, "conventional", ("name=fresh", *WAITS))
    open_run(begun)
    with ExitStack() as outage:
        outage.enter_context(fails(root))
        configure_storage_retries([fresh])
        with pytest.raises(UserError, match=r"^storage: .* cannot be written \((No space left|Read-only file)"):
            probe_storage(fresh)
        started, is_back = time.monotonic(), threading.Timer(1.0, outage.close)
        is_back.start()
        again = prepared_run(root, "conventional", ("name=begun", *WAITS))
        configure_storage_retries([again, fresh])
        probe_storage(again)
        with leased(again.storage, again.run_folder):
            open_run(again)
        is_back.join()
    assert 0.9 < time.monotonic() - started < 15
    assert [path for path in root.rglob("*") if ".tmp" in path.name] == []


def test_every_file_of_a_run_has_the_mode_of_its_siblings(tmp_path):
    """Others of the group read a shared storage; safetensors makes its files readable by their owner alone."""
    before = os.umask(0o022)
    try:
        prepared = prepared_run(tmp_path, "minidisc")
        run_in_process(prepared)
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert len([path for path in modes if path.suffix == ".safetensors"]) > 5
    assert (prepared.run_folder / "student" / "model.safetensors") in modes
    assert {path.relative_to(tmp_path).as_posix(): oct(mode) for path, mode in modes.items() if mode != 0o644} == {}
