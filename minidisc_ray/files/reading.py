"""Reading small files that others may have put there: nothing waits for ever, and nothing fills the memory."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# A result of ten thousand trials has a few of them.
SMALL_FILE_BYTES = 64 * 2**20
_PIECE_BYTES = 2**20


class NotAFileError(OSError):
    """There is something of a file's name that is a pipe, a device, a socket, or far too large."""


def open_regular(path: Path, follow_link: bool = False) -> BufferedReader:
    """Open a file to read bytes; a pipe without a writer, or a device, is never waited for.

    Args:
        path: of the file.
        follow_link: whether it may be a link, as files of a model that a user keeps elsewhere are.

    Raises:
        NotAFileError: if it is neither a regular file nor a folder.
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
    """A small file's content.

    Args:
        path: of a regular file.
        limit_bytes: the most that it may hold.
        follow_link: whether it may be a link to one.

    Raises:
        NotAFileError: if it is no regular file, or a larger one.
        OSError: if it cannot be read.
    """
    pieces, left = list[bytes](), limit_bytes + 1
    with open_regular(path, follow_link) as file:
        if os.fstat(file.fileno()).st_size > limit_bytes:
            left = 0
        # In pieces: it may grow, some file systems do not know sizes, and a buffer is as large as what is asked for.
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if left <= 0:
        raise NotAFileError(errno.EFBIG, f"larger than {limit_bytes / 2**20:g} MiB", str(path))
    return b"".join(pieces)
