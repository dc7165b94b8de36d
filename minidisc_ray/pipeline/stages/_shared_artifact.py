"""Artifacts that several runs share are made once for a storage root."""

import shutil
from collections.abc import Callable
from pathlib import Path

from minidisc_ray.accounting.ledger import Ledger, read_attempts
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import temporary_beside
from minidisc_ray.log import logger
from minidisc_ray.pipeline.context import Context
from minidisc_ray.run_files.records import StageRecord, find_finished, read_record, write_record
from minidisc_ray.training.checkpoints import drop_checkpoints

_LEDGER = "ledger.jsonl"


def ensure_shared(
    context: Context,
    name: str,
    folder: Path,
    left: str,
    make: Callable[[Context, Path, Callable[[], None]], StageRecord],
) -> StageRecord:
    """Make a shared artifact in this run's own folder, then publish it whole; the first whole one published stays.

    Args:
        context: of the trial that needs it.
        name: the stage's.
        folder: where it is published.
        left: the file or folder in it that others use.
        make: makes it in the folder that it is given.
    """
    workers, storage = context.workers, context.storage
    if workers.agree(float(workers.is_first and find_finished(storage, folder, left) is not None)):
        record = read_record(storage, folder, verify=False)
        assert record is not None
        context.stage_index += 1
        if workers.is_first:
            logger.info("[%s] %s: taken from %s", context.trial, name, folder.name)
        return record
    work = context.folder / "stages" / name
    if workers.is_first:
        _carry_ledger(storage, folder, work)
    with context.attempt(name, (Ledger(storage, work / _LEDGER),)) as beat:
        record = make(context, work, beat)
        if workers.is_first:
            write_record(storage, work, record)
    workers.wait()
    if workers.is_first:
        drop_checkpoints(storage, work)
        incoming = temporary_beside(folder)
        storage.retry(lambda: _publish(storage, work, incoming, folder, left), folder)
    workers.wait()
    return record


def _carry_ledger(storage: Storage, folder: Path, work: Path) -> None:
    """What was held for an artifact that is damaged now was held all the same."""
    if storage.is_bucket:
        if not read_attempts(work / _LEDGER):
            Ledger(storage, folder / _LEDGER).copy_to(work / _LEDGER)
    elif (folder / _LEDGER).exists() and not (work / _LEDGER).exists():
        storage.write_file(work / _LEDGER, lambda temporary: shutil.copyfile(folder / _LEDGER, temporary))


def _publish(storage: Storage, work: Path, incoming: Path, folder: Path, left: str) -> None:
    storage.make_folder(folder.parent)
    if find_finished(storage, folder, left) is not None:
        storage.remove(work)
        return
    # A try before this one may have come as far as here.
    if work.exists():
        storage.remove(incoming)
        shutil.move(work, incoming)
    storage.move(incoming, folder)
    # Its own files went up as they were written; here they have moved.
    storage.delete_upload(work)
