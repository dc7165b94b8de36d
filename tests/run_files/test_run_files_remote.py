"""Whole runs that are kept in a bucket of a real S3 server on loopback."""

import shutil

import pytest
from bucket_kit import another_node, flush_uploads, names, no_such
from pipeline_kit import numbers, prepared_run
from slow_kit import mostly_slow

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.lease import leased
from minidisc_ray.driver.stopping import stop
from minidisc_ray.files.places import local_path
from minidisc_ray.files.storage import Storage
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.reports.storage.status import status
from minidisc_ray.run_files.fetching import fetch_summaries


class Interrupted(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


# What a store is asked for, the tests of files ask of each kind.
@pytest.mark.parametrize("store", mostly_slow(("s3", "gs"), ("gs",)), indirect=True)
def test_a_run_in_a_bucket_goes_on_from_another_node_to_the_same_numbers(bucket, tmp_path, monkeypatch):
    local = run_in_process(prepared_run(tmp_path / "local", "minidisc"))
    prepared = prepared_run(bucket, "minidisc")
    on_epoch = StageObserver.on_epoch

    def interrupted(self, record, checkpoint):
        on_epoch(self, record, checkpoint)
        if self.stage == "sandwich":
            self.close()
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(StageObserver, "on_epoch", interrupted)
        with pytest.raises(Interrupted):
            run_in_process(prepared)
    shutil.rmtree(local_path(bucket))
    another_node(tmp_path, monkeypatch)
    assert not local_path(bucket).exists()
    [entry] = status(fetch_summaries(bucket))
    assert (entry.status, entry.stage) == ("failed", "3/5 sandwich")
    again = prepared_run(bucket, "minidisc")
    assert again.name == prepared.name
    result = run_in_process(again)
    assert numbers(result) == numbers(local)
    made = [one for one in again.ledger.attempts() if one.kind == "stage"]
    assert [(one.name, one.status) for one in made if one.name in ("teacher", "sandwich")] == [
        ("teacher", "finished"),
        ("sandwich", "failed"),
        ("sandwich", "finished"),
    ]
    flush_uploads()
    there = names(f"{bucket}/{again.name}")
    assert {"result.json", "student/seal.json", "student/model.safetensors", "identity.json"} <= set(there)
    assert not [name for name in there if ".tmp" in name or "/newest/" in name]
    shutil.rmtree(local_path(bucket))
    assert numbers(run_in_process(prepared_run(bucket, "minidisc"))) == numbers(result), "its result is there"


def test_a_bucket_that_is_missing_is_reported_before_anything_starts(bucket):
    with pytest.raises(UserError, match=rf"storage: {no_such(bucket)}/.*there is no such bucket") as caught:
        run_in_process(prepared_run(no_such(bucket), "conventional"))
    assert "\n" not in str(caught.value)
    for uri in ("ftp://host/runs", "s3://me:word@bucket/runs"):
        with pytest.raises(UserError, match=r"^storage: ") as caught:
            prepared_run(uri, "conventional")
        assert "word" not in str(caught.value)


def test_drivers_on_two_nodes_see_each_other_and_requests_to_stop(bucket, tmp_path, monkeypatch):
    storage = Storage(bucket)
    with leased(storage, storage.root / "run", seconds_between_beats=0.2) as lease:
        with monkeypatch.context() as patch:
            patch.setenv("MINIDISC_CACHE", str(tmp_path / "other-cache"))
            with (
                pytest.raises(UserError, match="run is being run by"),
                leased(there := Storage(bucket), there.root / "run"),
            ):
                pass
            assert stop(there, "run", 0.0).outcome == "still running"
        with pytest.raises(KeyboardInterrupt):
            lease.check()
    assert names(bucket) == []
