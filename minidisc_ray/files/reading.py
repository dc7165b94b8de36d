"""Reads small files that other users may have put there, without waiting on pipes or filling the memory."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# A result of ten thousand trials has a few MiB.
SMALL_FILE_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20


class NotAFileError(OSError):
    """A path is a pipe, a device or a socket, or a file that is too large."""


def open_regular(path: Path, follow_link: bool = False) -> BufferedReader:
    """Open a regular file to read bytes; never waits on a pipe or a device.

    Args:
        path: of the file.
        follow_link: whether the file may be a link, as in a model folder of the Hugging Face cache.

    Raises:
        NotAFileError: if it is a pipe, a device or a socket.
        IsADirectoryError: if it is a folder.
        OSError: if it cannot be opened, or is a link.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow_link else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise NotAFileError(errno.EINVAL, "not a regular file", str(path)) from error
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, which is not followed", str(path)) from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise NotAFileError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit_bytes: int = SMALL_FILE_BYTES, follow_link: bool = False) -> bytes:
    """Read a small regular file.

    Args:
        path: of the file.
        limit_bytes: the largest size that is read.
        follow_link: see :func:`open_regular`.

    Raises:
        NotAFileError: if it is not a regular file, or larger.
        OSError: if it cannot be read.
    """
    pieces, left = list[bytes](), limit_bytes + 1
    with open_regular(path, follow_link) as file:
        if os.fstat(file.fileno()).st_size > limit_bytes:
            left = 0
        # In chunks: the file may grow, the size may be wrong (/proc), and `read` allocates all that is asked for.
        while left > 0 and (piece := file.read(min(left, _CHUNK_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if left <= 0:
        raise NotAFileError(errno.EFBIG, f"larger than {limit_bytes / 2**20:g} MiB", str(path))
    return b"".join(pieces)
