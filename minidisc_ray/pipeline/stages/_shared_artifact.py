"""Makes each artifact that runs share, the teacher and the importance scores, once for a storage root."""

import shutil
from collections.abc import Callable
from pathlib import Path

from minidisc_ray.accounting.ledger import Ledger, read_attempts
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import temporary_beside
from minidisc_ray.pipeline.context import Context
from minidisc_ray.run_files.records import StageRecord, find_finished, read_record, reused_text, write_record
from minidisc_ray.training.checkpoints import drop_checkpoints

_LEDGER = "ledger.jsonl"


def ensure_shared(
    context: Context,
    name: str,
    folder: Path,
    left: str,
    make: Callable[[Context, Path, Callable[[], None]], StageRecord],
) -> StageRecord:
    """The record of a shared artifact; if no run made it yet, make it in this run's folder, then move it to ``folder``.

    Of several runs that make it at once, the first to move it there wins, and the others drop theirs.

    Args:
        context: the context of the trial that needs the artifact.
        name: the stage's name.
        folder: the artifact's shared folder.
        left: the file or folder in it that later stages read.
        make: makes the artifact in the folder it is given; its last argument says that the attempt still runs.
    """
    workers, storage = context.workers, context.storage
    if workers.agree(float(workers.is_first and find_finished(storage, folder, left) is not None)):
        record = read_record(storage, folder, verify=False)
        assert record is not None
        context.stage_index += 1
        context.note(reused_text(name, folder))
        return record
    work = context.folder / "stages" / name
    if workers.is_first:
        _copy_ledger(storage, folder, work)
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


def _copy_ledger(storage: Storage, folder: Path, work: Path) -> None:
    """Start from the ledger of a damaged artifact: the device-hours spent on it still count."""
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
    # An earlier try may have moved it to `incoming` already.
    if work.exists():
        storage.remove(incoming)
        shutil.move(work, incoming)
    storage.move(incoming, folder)
    # Its files were uploaded under `work` as they were written, and no longer belong there.
    storage.delete_upload(work)
