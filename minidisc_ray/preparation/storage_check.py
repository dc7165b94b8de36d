"""Checks that a run can be written to the recipe's storage root and to the run's own folder."""

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
    """Whether a folder holds a run already, which the same recipe would resume."""
    return (run_folder / "identity.json").is_file()


def check_storage(storage: Storage, given: str, name: str, identity: Mapping[str, object]) -> None:
    """Refuse a storage that cannot be written, and a run directory that another config made.

    Args:
        storage: the run's storage.
        given: the storage as the recipe gives it, for messages.
        name: the run's name.
        identity: the run's identity.

    Raises:
        UserError: naming the key, the path and what is wrong.
    """
    root, folder = storage.root, storage.root / name
    try:
        storage.wait_until_available()
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    existing = _existing_part(root, given)
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    # A run that resumes waits for its storage when it writes, so it is not refused here.
    if not is_writable and not has_begun(folder):
        raise UserError(f"storage: {given} cannot be written ({existing} is not a writable folder)")
    shared = root / SHARED_FOLDER
    if (link := next((path for path in (folder, shared, *shared.glob("*")) if path.is_symlink()), None)) is not None:
        raise UserError(f"storage: {link} is a link, where a run needs a real folder; remove it")
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
        raise UserError(f"storage: {link} is a link, and a run's folder must not contain links; remove it")
    try:
        found = json.loads(storage.retry(lambda: read_regular(marker), marker).decode("utf-8"))
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    except FileNotFoundError:
        # A driver puts hidden files, such as its lease, into the folder before it creates the run.
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
                f"name: {folder} was made by another release, which computes other numbers; its result can still be "
                "read; choose another name for this run"
            )
        changed = sorted(key for key in wanted if not is_redacted_form(found.get(key), wanted[key]))
        raise UserError(
            f"name: {folder} was made by another config (different: {', '.join(changed) or 'keys'}); choose another "
            "name, or remove the folder"
        )


def _existing_part(storage: Path, given: str) -> Path:
    """The nearest folder above a path that exists, or the path itself."""
    try:
        while not storage.exists() and storage != storage.parent:
            storage = storage.parent
    except OSError as error:
        raise UserError(f"storage: {given[:80]!r} cannot be reached ({error.strerror}); give another folder") from error
    return storage
