"""Make texts from files and folder names safe to print.

Characters that are not printable are shown as escapes: control characters such as ESC and BEL, marks that change the
direction of text, and lone surrogates, which stand for bytes in JSON and in file names that are not UTF-8. Stored
values are not changed.
"""

import json
from typing import Any

_LINES = "\n\t"


def printable(text: str, kept: str = _LINES) -> str:
    r"""Replace every character that is not printable by an escape such as ``\x1b``.

    Args:
        text: to be shown on a terminal, in a document or in a table.
        kept: characters that are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in kept else repr(letter)[1:-1] for letter in text)


def printable_json(text: str) -> str:
    r"""Replace every character of a JSON text that is not printable by its JSON escape, such as ``\u001b``."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def json_text(value: Any) -> str:
    """A value as indented JSON for a terminal or a file."""
    return printable_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def encodable(text: str) -> str:
    r"""Replace lone surrogates by escapes such as ``\ud800``, since a data frame cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode()
