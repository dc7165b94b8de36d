"""Values as messages show them: on one line, and short."""

_LIMIT = 80


def cut(text: str, limit: int = _LIMIT) -> str:
    """The text, what cannot be printed escaped, and cut to about ``limit`` characters."""
    head = text[: limit + 1]
    plain = head if head.isprintable() else repr(head)[1:-1]
    return plain if len(plain) <= limit else f"{plain[: limit - 3]}..."


def quoted(value: object) -> str:
    """The value as Python writes it, cut to the same length."""
    try:
        return cut(repr(value[:_LIMIT] if isinstance(value, str | bytes) and len(value) > _LIMIT else value))
    except (RecursionError, ValueError):
        # Nothing of thousands of levels is written out, and no integer of thousands of digits.
        return f"a {type(value).__name__} that is too large to be shown"
