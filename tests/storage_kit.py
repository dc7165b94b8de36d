"""Storages of a test's own that can be full or read-only, where the system lets it mount them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from minidisc_ray.files.storage import Storage

# A storage for any path of this machine, that nothing waits for.
LOCAL = Storage("/")


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


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte left on a storage."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(2**16))
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written to a storage.

    Raises:
        subprocess.CalledProcessError: if something is open there for writing.
    """
    remount(folder, "ro")
    try:
        yield
    finally:
        remount(folder, "rw")
