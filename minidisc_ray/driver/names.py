"""Names of runs and studies below a storage's root, as a user types them: whole, or a beginning that only one has."""

import os
from pathlib import Path

from minidisc_ray.configs.base import UserError

# A study's folder has its name after this; users may leave it out.
_STUDY_PREFIX = "study-"
_MAX_LISTED = 8


def folder_names(root: Path) -> list[str]:
    """Names of the folders below a root that may be runs or studies; empty if it cannot be read.

    Links are left out, and what runs share: its name begins with an underscore or a dot.
    """
    try:
        with os.scandir(root) as entries:
            found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name for name in found if not name.startswith(("_", ".")))


def names_meant(root: Path, text: str) -> list[str]:
    """Folders below a root that a text names: those of exactly that name, else the one that begins with it.

    Returns:
        Nothing if no folder matches; a run and a study, if both have exactly that name.

    Raises:
        UserError: if several folders begin with the text.
    """
    if not text or Path(text).name != text:
        return []
    names = folder_names(root)
    if exact := [name for name in (text, f"{_STUDY_PREFIX}{text}") if name in names]:
        return exact
    found = [name for name in names if name.startswith((text, f"{_STUDY_PREFIX}{text}"))]
    if len(found) > 1:
        more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
        raise UserError(f"{text}: several names begin so: {', '.join(found[:_MAX_LISTED])}{more}; give more of one")
    return found
