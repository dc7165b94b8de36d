"""Names of runs and studies below a storage's root, as a user types them: whole, or a beginning that only one has."""

import os
from difflib import get_close_matches
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import place_of

# A study's folder has its name after this; users may leave it out.
_STUDY_PREFIX = "study-"
_MAX_LISTED = 8
_MAX_CLOSE = 3
# Share of letters that match: a letter or two of a short name may be wrong.
_CLOSE = 0.7
_MAX_SHOWN = 80


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


def close_names(root: Path, text: str) -> list[str]:
    """Folders below a root whose name, or its beginning, differs from a text by a typing mistake, the closest first."""
    # A mistake in the beginning of a long name is compared with that beginning alone.
    spellings = {
        spelling: name
        for name in folder_names(root)
        for plain in (name, name.removeprefix(_STUDY_PREFIX))
        for spelling in (plain[: len(text)], plain)
    }
    found = get_close_matches(text, spellings, n=4 * _MAX_CLOSE, cutoff=_CLOSE)
    return list(dict.fromkeys(spellings[spelling] for spelling in found))[:_MAX_CLOSE]


def no_such_run(root: Path, text: str) -> UserError:
    """The error for a text that names no run and no study below a root; it has the names that are close."""
    place, shown = place_of(root), text[:_MAX_SHOWN]
    if not root.is_dir():
        return UserError(f"{shown}: there is no storage {place} to look for that run in; name one with --storage")
    close = close_names(root, text)
    hint = f"the closest {'name is' if len(close) == 1 else 'names are'} {', '.join(close)}; " if close else ""
    return UserError(
        f"{shown}: no run or study of that name in {place}; {hint}`minidisc ls --storage {place}` lists them"
    )
