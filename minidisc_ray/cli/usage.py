"""Typer's errors for wrong arguments, which take three lines, as one sentence like every other mistake."""

import re
from typing import Final

import typer

# Typer exports BadParameter, and not the class above it: errors for options and commands that do not exist.
USAGE_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[1]

# The beginnings of typer's messages, and what they become: the option or argument first, as in our own.
_BEGINNINGS: Final = (
    (r"Invalid value for '?(.+?)'?: (?:Value error, )?", r"\1: "),
    (r"Missing \w+ '?([^'.]+)'?", r"\1: missing"),
    (r"No such (option|command):? '?([^' ]+)'?", r"\2: no such \1"),
)

# The ends, with names that are close.
_CLOSE: Final = (r"\. Did you mean (?:one of: )?(.+)\?$", r" \(Possible options: (.+)\)$")


def usage_sentence(error: Exception) -> str:
    """What is wrong with the arguments, and the command that shows what is allowed."""
    text = str(error.format_message()).removesuffix(".")  # type: ignore[attr-defined]
    for beginning, ours in _BEGINNINGS:
        text, count = re.subn(f"^{beginning}", ours, text, count=1)
        if count:
            break
    else:
        text = text[:1].lower() + text[1:]
    for end in _CLOSE:
        text = re.sub(end, r"; the closest: \1", text)
    # In the middle of a sentence; names of arguments stay as they are.
    text = re.sub(r": ([A-Z])(?=[a-z])", lambda found: f": {found[1].lower()}", text, count=1)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "minidisc"
    return f"{text}; `{command} --help` shows what is allowed"
