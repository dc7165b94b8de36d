"""Names of tasks and models that a user gives, looked up in a table."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from minidisc_ray.configs.base import UserError

_MAX_LISTED: Final = 12
_MAX_SHOWN: Final = 60


def names_hint(name: str, known: Iterable[str]) -> str:
    """The known names that are close to one, or else what there is."""
    names = sorted(set(known))
    spellings = {one.lower(): one for one in names}
    close = [spellings[one] for one in get_close_matches(name.lower(), spellings, n=3)]
    if close:
        return f"the closest {'name is' if len(close) == 1 else 'names are'} {', '.join(close)}"
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"the table has {', '.join(names[:_MAX_LISTED])}{more}"


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    """Check that a table has a name.

    Args:
        option: that gave the name, for the message.
        name: to be looked up.
        known: the names of the table.

    Raises:
        UserError: if it does not; has the names that are close.
    """
    names = set(known)
    if name not in names:
        raise UserError(f"--{option}: {name[:_MAX_SHOWN]!r} has no row in the table; {names_hint(name, names)}")
