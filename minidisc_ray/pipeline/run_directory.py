"""Checks that a run directory can be written, opens it, and reads its result."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import redacted
from minidisc_ray.files.places import place_of
from minidisc_ray.files.writing import temporary_beside
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.storage_check import check_storage, has_begun
from minidisc_ray.run_files.fetching import probe_bucket
from minidisc_ray.run_files.progress import mark_stopped
from minidisc_ray.run_files.result import RunResult, load_result

ENCODINGS = "encodings"


def configure_storage_retries(runs: Sequence[PreparedRun]) -> None:
    """Let runs that resume wait for an unreachable or full storage; a first start fails at once instead."""
    has_any_begun = any(has_begun(run.run_folder) for run in runs)
    for run in runs:
        if has_any_begun:
            run.wait_for_storage()
        else:
            # Before the first run an empty storage root is new, not an unmounted one to wait for.
            run.storage.wait_up_to(0.0, has_files=False)


def open_run(prepared: PreparedRun) -> Path:
    """Create the run directory, or reopen one that the same config made, and return it; the caller holds its lease.

    Raises:
        UserError: if the directory cannot be written, or another config made it.
    """
    check_storage(prepared.storage, prepared.config.storage, prepared.name, prepared.identity)
    folder, storage = prepared.run_folder, prepared.storage
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (prepared.shared_folder / ENCODINGS).mkdir(parents=True, exist_ok=True)
        # config.yaml is never read back and identities are compared without secrets, so neither file needs them.
        storage.write_json(folder / "identity.json", redacted(prepared.identity))
        resolved = redacted(prepared.config.model_dump(mode="json"))
        storage.write_text(folder / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
        uses = [f"teacher-{prepared.teacher_key}", f"importance-{prepared.importance_key}"]
        storage.write_json(folder / "shared.json", uses)
        prepared.ledger.close_abandoned()
        mark_stopped(storage, folder)
    except OSError as error:
        raise UserError(f"storage: {storage.unwritable(error)}") from error
    return folder


def probe_storage(prepared: PreparedRun) -> None:
    """Write and remove a file under the storage root, so that a bad storage fails before a cluster is started.

    Raises:
        UserError: if the file cannot be written or removed.
    """
    storage, root = prepared.storage, prepared.storage.root
    probe_bucket(storage)
    probe = temporary_beside(root / "probe")
    was_there = root.exists()

    def attempt() -> None:
        root.mkdir(parents=True, exist_ok=True)
        # A full disk still creates empty files; only writing a byte shows that it is full.
        try:
            with probe.open("xb") as file:
                file.write(b"\0")
        finally:
            probe.unlink(missing_ok=True)

    try:
        storage.retry(attempt, root)
    except OSError as error:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
            if not was_there:
                root.rmdir()
        raise UserError(f"storage: {storage.unwritable(error)}") from error


def own_result(prepared: PreparedRun) -> RunResult:
    """Load a finished run's result.

    Raises:
        UserError: if it is damaged, or that of another run, which is not replaced.
    """
    result = load_result(prepared.run_folder)
    if result.name != prepared.name:
        raise UserError(
            f"{place_of(prepared.run_folder)}/result.json: the result of another run ({result.name}); move it away and "
            "run the recipe again"
        )
    return result
