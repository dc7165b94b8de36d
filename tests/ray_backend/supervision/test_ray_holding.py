"""What a process holds is in the ledger from its first moment, wherever its storage is then."""

import os
import threading

import pytest
from ray_kit import RAY, TRIAL_TITLES, attempts_of, prepared_run, processes_below, run_on_ray
from storage_kit import full, mount, unmount
from wait_kit import wait_until

from minidisc_ray.files.waiting import StorageError
from minidisc_ray.ray_backend.run import run_many
from minidisc_ray.run_files.progress import read_progress

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]

OUTAGE_SECONDS = 2.0


def trial_processes() -> set[int]:
    return {pid for pid, command in processes_below(os.getpid()).items() if command.startswith(TRIAL_TITLES)}


@pytest.mark.parametrize("is_study", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_trial_that_starts_without_its_storage_waits_for_it(tmp_path, is_study):
    mount(disk := tmp_path / "disk", "64m")
    try:
        run = prepared_run(disk, "conventional", "compute.max_failures=0")
        home = disk / "study" if is_study else run.run_folder
        had_begun: list[str] = []

        others = trial_processes()

        def take_the_storage_away() -> None:
            wait_until((home / "ray").exists, 120, "the driver's folder for Ray")
            with full(disk):
                wait_until(lambda: trial_processes() - others, 120, "the trial's process")
                threading.Event().wait(OUTAGE_SECONDS)
                had_begun.extend(progress.trial for progress in read_progress(run.run_folder))

        thief = threading.Thread(target=take_the_storage_away)
        thief.start()
        if is_study:
            run_many([run], home, lambda prepared, result: None)
        else:
            run_on_ray(run)
        thief.join()
        assert not had_begun
        holds = attempts_of(run, "hold")
        assert {hold.status for hold in holds} == {"finished"}
        assert holds[0].seconds > OUTAGE_SECONDS, "the wait is held too"
    finally:
        unmount(disk)


@pytest.mark.slow
def test_a_study_whose_storage_stays_away_ends_with_its_sentence_and_goes_on_later(tmp_path):
    mount(disk := tmp_path / "disk", "64m")
    try:
        run = prepared_run(
            disk, "conventional", "compute.max_failures=0", "compute.storage_patience_seconds=1", "name=short"
        )
        results: list[str] = []
        is_over = threading.Event()

        def take_the_storage_away() -> None:
            wait_until((disk / "study" / "ray").exists, 120, "the study's folder for Ray")
            with full(disk):
                is_over.wait(120)

        thief = threading.Thread(target=take_the_storage_away)
        thief.start()
        try:
            with pytest.raises(StorageError, match=r"short.*: the storage could not be used for 1 s.*No space left"):
                run_many([run], disk / "study", lambda prepared, result: None)
        finally:
            is_over.set()
            thief.join()
        run_many([run], disk / "study", lambda prepared, result: results.append(prepared.name))
        assert results == ["short"]
    finally:
        unmount(disk)
