"""Values in messages: on one line, and short."""

_LIMIT = 80


def cut(text: str, limit: int = _LIMIT) -> str:
    """The text with unprintable characters escaped, cut to about ``limit`` characters."""
    head = text[: limit + 1]
    plain = head if head.isprintable() else repr(head)[1:-1]
    return plain if len(plain) <= limit else f"{plain[: limit - 3]}..."


def quoted(value: object) -> str:
    """The ``repr`` of a value, cut like ``cut``."""
    try:
        return cut(repr(value[:_LIMIT] if isinstance(value, str | bytes) and len(value) > _LIMIT else value))
    except (RecursionError, ValueError):
        # repr fails on values nested thousands of levels deep, and on integers of thousands of digits.
        return f"a {type(value).__name__} that is too large to be shown"


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
