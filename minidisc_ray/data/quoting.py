"""Values in messages: on one line, and short."""

from collections.abc import Sequence

_LIMIT = 80
_MAX_LISTED = 20


def cut(text: str, limit: int = _LIMIT) -> str:
    """The text with unprintable characters escaped, cut to about ``limit`` characters."""
    head = text[: limit + 1]
    plain = head if head.isprintable() else repr(head)[1:-1]
    return plain if len(plain) <= limit else f"{plain[: limit - 3]}..."


def quoted(value: object) -> str:
    """The ``repr`` of a value, cut like ``cut``; of binary data only its size."""
    if isinstance(value, bytes | bytearray):
        return f"binary data ({len(value):,} bytes)"
    try:
        return cut(repr(value[:_LIMIT] if isinstance(value, str) and len(value) > _LIMIT else value))
    except (RecursionError, ValueError):
        # repr fails on values nested thousands of levels deep, and on integers of thousands of digits.
        return f"a {type(value).__name__} that is too large to be shown"


def named(name: str) -> str:
    """The name of a class in a message, in quotation marks where it is empty or spaces around it would be missed."""
    return cut(name) if name and name == name.strip() else f"'{cut(name)}'"


def listed(names: Sequence[str], most: int = _MAX_LISTED) -> str:
    """Names in a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(cut, names[:most])) + more


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
