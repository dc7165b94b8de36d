"""Texts from files and names of folders made safe to show: none moves a cursor, turns a line or ends a listing.

What is not printable is written as its escape: control characters (ESC and BEL among them), those that change a line's
direction, and halves of surrogate pairs, as which JSON and names that are not UTF-8 bring bytes that cannot be encoded.
What is stored stays as it is.
"""

import json
from typing import Any

_LINES = "\n\t"


def printable(text: str, kept: str = _LINES) -> str:
    r"""The text with ``\x1b`` and the like in place of every character that is not printable.

    Args:
        text: to be shown on a terminal, in a document or in a table.
        kept: left as they are all the same.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in kept else repr(letter)[1:-1] for letter in text)


def printable_json(text: str) -> str:
    r"""JSON of the same values, with ``\u001b`` and the like for what is not printable within its texts."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else _json_escape(letter) for letter in text)


def json_text(value: Any) -> str:
    """A value as indented JSON for a terminal or a file."""
    return printable_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def encodable(text: str) -> str:
    r"""The text with ``\ud800`` and the like in place of halves of surrogate pairs alone, which no data frame holds."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json_escape(letter: str) -> str:
    # Above the first 65,536 as a pair.
    code = ord(letter)
    codes = (code,) if code < 0x10000 else (0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF))
    return "".join(f"\\u{one:04x}" for one in codes)
