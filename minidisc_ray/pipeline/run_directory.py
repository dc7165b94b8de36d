"""Run directories: checking that one can be written, and opening it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import redacted
from minidisc_ray.files.writing import temporary_beside
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.storage_check import check_storage, has_begun
from minidisc_ray.run_files.fetching import probe_bucket
from minidisc_ray.run_files.progress import mark_stopped

ENCODINGS = "encodings"


def configure_storage_retries(runs: Sequence[PreparedRun]) -> None:
    """Have what goes on wait for a storage that is away or full, as it does later; what begins is refused at once."""
    has_any_begun = any(has_begun(run.run_folder) for run in runs)
    for run in runs:
        if has_any_begun:
            run.wait_for_storage()
        else:
            # Until there is something in the root, an empty one is new and not away.
            run.storage.wait_up_to(0.0, has_files=False)


def open_run(prepared: PreparedRun) -> Path:
    """Make the run directory, or take up one that the same config made, which is this process's alone from now on.

    Raises:
        UserError: if it cannot be written, or another config made it.
    """
    check_storage(prepared.storage, prepared.config.storage, prepared.name, prepared.identity)
    folder, storage = prepared.run_folder, prepared.storage
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (prepared.shared_folder / ENCODINGS).mkdir(parents=True, exist_ok=True)
        # Nothing reads a config back, and an identity is compared but for its secrets: neither has to hold any.
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
    """Write and remove a file under the storage root, before a cluster is started for nothing.

    Raises:
        UserError: if that fails.
    """
    storage, root = prepared.storage, prepared.storage.root
    probe_bucket(storage)
    probe = temporary_beside(root / "probe")
    was_there = root.exists()

    def attempt() -> None:
        root.mkdir(parents=True, exist_ok=True)
        # A disk that is full still takes names.
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
