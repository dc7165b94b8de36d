"""Storages of a test's own that can be full or read-only, where the system lets it mount them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(folder: Path, size: str) -> None:
    """Mount a tmpfs, or skip the test where that is refused."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    folder.mkdir(parents=True)
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {tried.stderr.strip()}")


def remount(folder: Path, mode: str) -> None:
    """Make a mounted storage read-only (``ro``) or writable again (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A file that takes all that is left of a storage, all but a few pages."""
    filler = folder / "filler"
    left = shutil.disk_usage(folder).free
    filler.write_bytes(bytes(max(0, left - 16_384)))
    try:
        yield filler
    finally:
        filler.unlink(missing_ok=True)
