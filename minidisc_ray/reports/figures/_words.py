"""Text from data, made fit to be drawn."""

import re
import textwrap

from minidisc_ray.configs.redact import redact

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def plain(text: str, width: int = 48) -> str:
    """Text on one line, without characters that no picture can hold, cut to a number of characters."""
    found = " ".join(_UNPRINTABLE.sub(" ", redact(text)).split())
    return found if len(found) <= width else f"{found[: width - 1].rstrip()}…"


def wrapped(text: str, width: int, lines: int = 2) -> str:
    """Text broken into lines at most so wide, and so many of them."""
    return "\n".join(textwrap.wrap(plain(text, width * lines), width, max_lines=lines, placeholder="…"))


def slug(text: str) -> str:
    """Text as part of a file's name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "x"


def seeds_text(count: int) -> str:
    """How many seeds, in words."""
    return f"{count} seed{'s' if count != 1 else ''}"
