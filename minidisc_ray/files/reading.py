"""Reading small files that others may have put there: nothing waits for ever, and nothing fills the memory."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# A result of ten thousand trials has a few of them.
SMALL_FILE_BYTES = 64 * 2**20


class NotAFileError(OSError):
    """There is something of a file's name that is a pipe, a device, a socket, or far too large."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read bytes; a pipe without a writer, or a device, is never waited for.

    Raises:
        NotAFileError: if it is neither a regular file nor a folder.
        IsADirectoryError: if it is a folder.
        OSError: if it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise NotAFileError(errno.EINVAL, "not a regular file", str(path)) from error
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


def read_regular(path: Path, limit_bytes: int = SMALL_FILE_BYTES) -> bytes:
    """A small file's content.

    Args:
        path: of a regular file, or a link to one.
        limit_bytes: the most that it may hold.

    Raises:
        NotAFileError: if it is no regular file, or a larger one.
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        is_larger = os.fstat(file.fileno()).st_size > limit_bytes
        # It may grow, and some file systems do not know sizes.
        content = b"" if is_larger else file.read(limit_bytes + 1)
    if is_larger or len(content) > limit_bytes:
        raise NotAFileError(errno.EFBIG, f"larger than {limit_bytes / 2**20:g} MiB", str(path))
    return content
