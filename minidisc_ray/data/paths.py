"""Paths that a recipe names, and the errors for those that cannot be used."""

from collections.abc import Callable
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.quoting import cut

_PATH_LIMIT = 255  # characters of a path in a message: its end matters most, so more than of other values


def given_path(text: str, key: str) -> Path:
    """The path that a recipe names, with ``~`` expanded.

    Raises:
        UserError: naming ``key``, if the text is empty, has a zero byte, or names the home folder of an unknown user.
    """
    if not text.strip():
        raise UserError(f'{key}: "{cut(text)}" is empty; give a path')
    if "\0" in text:
        raise UserError(f"{key}: {cut(text)} has a zero byte, which no path can have; check the path")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = cut(text.split("/")[0])
        raise UserError(f"{key}: {cut(text)} needs the home folder of {user}, which does not exist") from None


def is_file(path: Path, key: str) -> bool:
    """Whether the path is a file; links are followed.

    Raises:
        UserError: naming ``key``, if the path cannot be looked up at all.
    """
    return _look_up(path, key, Path.is_file)


def is_folder(path: Path, key: str) -> bool:
    """Whether the path is a folder; links are followed.

    Raises:
        UserError: naming ``key``, if the path cannot be looked up at all.
    """
    return _look_up(path, key, Path.is_dir)


def shown(path: Path) -> str:
    """The path as messages show it."""
    return cut(str(path), _PATH_LIMIT)


def _look_up(path: Path, key: str, test: Callable[[Path], bool]) -> bool:
    try:
        if test(path):
            return True
        if path.is_symlink():
            path.stat()  # raises the reason why the link leads nowhere
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        reason = cut(getattr(error, "strerror", None) or str(error))
        raise UserError(f"{key}: {cut(str(path))} cannot be reached ({reason}); check the path") from error
    return False
