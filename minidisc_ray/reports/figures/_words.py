"""Text from data, cleaned and cut to fit a figure."""

import re
import textwrap

from minidisc_ray.configs.redact import redact

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def plain(text: str, width: int = 48) -> str:
    """Text on one line, without secrets and unprintable characters, cut to ``width`` characters."""
    found = " ".join(_UNPRINTABLE.sub(" ", redact(text)).split())
    return found if len(found) <= width else f"{found[: width - 1].rstrip()}…"


def wrapped(text: str, width: int, lines: int = 2) -> str:
    """Text in at most ``lines`` lines of ``width`` characters."""
    return "\n".join(textwrap.wrap(plain(text, width * lines), width, max_lines=lines, placeholder="…"))


def slug(text: str) -> str:
    """Text as part of a file's name: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "x"
