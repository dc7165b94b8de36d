"""Opens files for reading; limits what a compressed one may unpack to, against decompression bombs."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.quoting import cut

# gzip shrinks text about 5 times, repetitive tables about 50 times, and a bomb of zeros 1,000 times.
MAX_RATIO = 100
ALWAYS_ALLOWED_BYTES = 32 * 2**20


def unpacked_limit(path: Path) -> int:
    """Bytes that a compressed file may unpack to."""
    return max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size)


def too_large(path: Path, key: str) -> UserError:
    """The error for a file that unpacks to more than allowed."""
    return UserError(
        f"{key}: {cut(path.name)} unpacks to more than {MAX_RATIO} times its size, more than data sets do; unpack it "
        "yourself if you trust it"
    )


@contextmanager
def opened(path: Path, key: str) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its name ends in ``.gz``.

    Raises:
        UserError: naming ``key``, as soon as the file has unpacked to more than allowed.
    """
    if path.suffix.lower() != ".gz":
        with path.open("rb") as plain:
            yield plain
        return
    with gzip.open(path) as packed, io.BufferedReader(_Limited(cast(BinaryIO, packed), path, key)) as limited:
        yield cast(BinaryIO, limited)


class _Limited(io.RawIOBase):
    """A raw reader that fails once it has read more bytes than allowed."""

    def __init__(self, source: BinaryIO, path: Path, key: str) -> None:
        self.source = source
        self.path = path
        self.key = key
        self.left = unpacked_limit(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer has no slices
        found = self.source.read(len(buffer))
        self.left -= len(found)
        if self.left < 0:
            raise too_large(self.path, self.key)
        buffer[: len(found)] = found
        return len(found)
