"""Refuses symbolic links below a storage: runs create none, so another user may have put them there."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path


class LinkError(OSError):
    """A symbolic link lies where only files and folders belong; the message names it in one sentence."""

    def __init__(self, link: Path) -> None:
        super().__init__(errno.ELOOP, f"{link} is a link, and what a run writes to holds none; remove it")
        self.link = link

    def __str__(self) -> str:
        return str(self.strerror)


def refuse_links(root: Path, path: Path) -> None:
    """Refuse a path that is a link, or leads through one, below a root.

    Raises:
        LinkError: for the first link.
        ValueError: if the path is not below the root.
    """
    found = root
    for part in path.relative_to(root).parts:
        found = found / part
        if found.is_symlink():
            raise LinkError(found)


def links_below(folder: Path) -> Iterator[Path]:
    """Every link in a folder, or in one below it."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(parent) / name).is_symlink():
                yield path
