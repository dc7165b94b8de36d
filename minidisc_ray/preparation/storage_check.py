"""Whether a run may be written where the recipe says: the storage root, and the run's own folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import is_redacted_form
from minidisc_ray.configs.storage import SHARED_FOLDER
from minidisc_ray.files.links import links_below
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import StorageError


def has_begun(run_folder: Path) -> bool:
    """Whether there is a run in a folder already, which the same recipe goes on with."""
    return (run_folder / "identity.json").is_file()


def check_storage(storage: Storage, given: str, name: str, identity: Mapping[str, object]) -> None:
    """Refuse a storage that cannot be written and a run directory that another config made.

    Args:
        storage: what a run would be kept in.
        given: the same as the recipe names it.
        name: of the run.
        identity: of the run.

    Raises:
        UserError: saying which.
    """
    root, folder = storage.root, storage.root / name
    try:
        storage.wait_until_available()
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    existing = _existing_part(root, given)
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    # What goes on waits for its storage where it writes.
    if not is_writable and not has_begun(folder):
        raise UserError(f"storage: {given} cannot be written ({existing} is not a writable folder)")
    shared = root / SHARED_FOLDER
    if (link := next((path for path in (folder, shared, *shared.glob("*")) if path.is_symlink()), None)) is not None:
        raise UserError(f"storage: {link} is a link, and a folder of the run's own belongs there; remove it")
    if folder.resolve().parent != root:
        raise UserError(f"name: {name!r} leaves the storage root {root}; choose another name")
    marker = folder / "identity.json"
    try:
        storage.fetch_file(marker)
    except OSError as error:
        raise UserError(f"storage: {error}") from error
    if not folder.exists():
        return
    if (link := next(links_below(folder), None)) is not None:
        raise UserError(f"storage: {link} is a link, and a run's folder holds none; remove it")
    try:
        found = json.loads(storage.retry(lambda: read_regular(marker), marker).decode("utf-8"))
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    except FileNotFoundError:
        # A driver marks the folder as its own before it makes the run; what is hidden are such marks, and leftovers.
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(f"name: {folder} exists and is not a run's folder; choose another name") from None
        return
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"name: {marker} cannot be read ({error}); choose another name or remove {folder}") from error
    if not isinstance(found, dict):
        raise UserError(f"name: {marker} is not a run's; choose another name or remove {folder}")
    wanted = json.loads(json.dumps(identity))
    if not is_redacted_form(found, wanted):
        if found.get("numerics", wanted["numerics"]) != wanted["numerics"]:
            raise UserError(
                f"name: {folder} was made by another release, whose numbers this one does not give; its result can "
                "still be read; choose another name for this run"
            )
        changed = sorted(key for key in wanted if not is_redacted_form(found.get(key), wanted[key]))
        raise UserError(
            f"name: {folder} was made by another config (different: {', '.join(changed) or 'keys'}); choose another "
            "name or remove it"
        )


def _existing_part(storage: Path, given: str) -> Path:
    """The longest part of a path that is there."""
    try:
        while not storage.exists() and storage != storage.parent:
            storage = storage.parent
    except OSError as error:
        raise UserError(f"storage: {given[:80]!r} cannot be reached ({error.strerror}); give another folder") from error
    return storage
