"""Who waits for a storage that is away, and for how long that holds."""

import errno
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
from minidisc_ray.files.patience import StorageError, retry_storage, use_storage
from minidisc_ray.files.remote import Remote
from minidisc_ray.files.writing import write_json
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, probe_storage
from minidisc_ray.run_files.mirrored import set_storage_timeout

WAITS = ("compute.storage_patience_seconds=20",)


def away():
    raise OSError(errno.ESTALE, "stale")


def seconds_waited():
    started = time.monotonic()
    with pytest.raises(StorageError):
        retry_storage(away, "somewhere")
    return time.monotonic() - started


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(open_run, id="open"),
        pytest.param(run_in_process, id="run"),
        pytest.param(lambda prepared: estimate_in_process(prepared, 0.2), id="estimate"),
    ],
)
def test_after_a_run_nobody_waits_for_its_storage(tmp_path, end):
    prepared = prepared_run(tmp_path / "runs", "conventional", WAITS)
    end(prepared)
    assert seconds_waited() < 0.4
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    write_json(tmp_path / "runs" / "mine.json", {})


def test_a_run_within_what_has_a_storage_gives_it_back_even_when_it_fails(tmp_path):
    write_json(tmp_path / "mine" / "there.json", {})
    use_storage(tmp_path / "mine", 0.6)
    run_in_process(prepared_run(tmp_path / "runs", "conventional", ("compute.storage_patience_seconds=0",)))
    assert 0.5 < seconds_waited() < 5
    use_storage(tmp_path / "mine", 0.6)
    broken = prepared_run(tmp_path / "runs", "conventional", ("name=broken", "compute.storage_patience_seconds=0"))
    write_json(broken.run_folder / "identity.json", {"another": "config"})
    with pytest.raises(UserError, match="made by another config"):
        run_in_process(broken)
    assert 0.5 < seconds_waited() < 5


def test_a_worker_that_starts_again_waits_for_the_storage_that_its_run_had(tmp_path):
    root, aside = tmp_path / "runs", tmp_path / "aside"
    prepared = prepared_run(root, "conventional", WAITS)
    open_run(prepared)
    set_storage_timeout(str(root), prepared.config.compute.storage_patience_seconds)
    root.rename(aside)
    root.mkdir()  # as a mount point is whose storage was taken away

    def back():
        root.rmdir()
        aside.rename(root)

    timer = threading.Timer(0.7, back)
    started = time.monotonic()
    timer.start()
    assert prepared_run(root, "conventional", WAITS).name == prepared.name
    timer.join()
    assert 0.6 < time.monotonic() - started < 10
    root.rename(aside)
    soon = ("compute.storage_patience_seconds=0.2",)
    set_storage_timeout(str(root), 0.2)
    with pytest.raises(UserError, match=r"^storage: .*could not be used for 0\.2 s .*runs is gone or empty") as caught:
        prepared_run(root, "conventional", soon)
    assert "\n" not in str(caught.value)


def test_a_worker_that_starts_again_waits_for_a_bucket(bucket, monkeypatch):
    set_storage_timeout(bucket, 1.0)
    assert prepared_run(bucket, "conventional").config.storage == bucket, "a copy without anything in it is not away"
    lose_the_store(monkeypatch)
    with pytest.raises(StorageError, match=r"could not be used for 1 s"):
        Remote(bucket).entries("x")
    with pytest.raises(UserError, match=r"^storage: .*could not be used for 1 s"):
        prepared_run(bucket, "conventional")


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
        with leased(again.run_folder):
            open_run(again)
        is_back.join()
    assert 0.9 < time.monotonic() - started < 15
    assert [path for path in root.rglob("*") if ".tmp" in path.name] == []
