"""Run directories: checking that one can be written, and opening it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import redacted
from minidisc_ray.files.patience import retry_storage, unwritable, use_storage
from minidisc_ray.files.writing import write_json, write_text
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.storage_check import check_storage, has_begun
from minidisc_ray.run_files.mirrored import probe_bucket
from minidisc_ray.run_files.progress import mark_stopped

ENCODINGS = "encodings"


def configure_storage_retries(runs: Sequence[PreparedRun]) -> None:
    """Have what goes on wait for a storage that is away or full, as it does later; what begins is refused at once."""
    begun = [run for run in runs if has_begun(run.run_folder)]
    if begun:
        use_storage(begun[0].storage, begun[0].config.compute.storage_patience_seconds)
    else:
        # Until there is something in the root, an empty one is new and not away.
        use_storage(None, 0.0)


def open_run(prepared: PreparedRun) -> Path:
    """Make the run directory, or take up one that the same config made, which is this process's alone from now on.

    Raises:
        UserError: if it cannot be written, or another config made it.
    """
    check_storage(prepared.storage, prepared.config.storage, prepared.name, prepared.identity)
    folder = prepared.run_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (prepared.shared_folder / ENCODINGS).mkdir(parents=True, exist_ok=True)
        # Nothing reads a config back, and an identity is compared but for its secrets: neither has to hold any.
        write_json(folder / "identity.json", redacted(prepared.identity))
        resolved = redacted(prepared.config.model_dump(mode="json"))
        write_text(folder / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
        uses = [f"teacher-{prepared.teacher_key}", f"importance-{prepared.importance_key}"]
        write_json(folder / "shared.json", uses)
        Ledger(folder / "ledger.jsonl").close_abandoned()
        mark_stopped(folder)
    except OSError as error:
        raise UserError(f"storage: {unwritable(prepared.storage, error)}") from error
    return folder


def probe_storage(prepared: PreparedRun) -> None:
    """Write and remove a file under the storage root, before a cluster is started for nothing.

    Raises:
        UserError: if that fails.
    """
    probe_bucket(prepared.config.storage)
    probe = prepared.storage / f".probe.tmp{os.getpid()}"

    was_there = prepared.storage.exists()

    def attempt() -> None:
        prepared.storage.mkdir(parents=True, exist_ok=True)
        # A disk that is full still takes names.
        probe.write_bytes(b"\0")
        probe.unlink()

    try:
        retry_storage(attempt, prepared.storage)
    except OSError as error:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
            if not was_there:
                prepared.storage.rmdir()
        raise UserError(f"storage: {unwritable(prepared.storage, error)}") from error
