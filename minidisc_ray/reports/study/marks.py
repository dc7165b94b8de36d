"""Footnote letters of a study's table: one for each thing that went wrong, with the runs that it went wrong in."""

import string
from dataclasses import dataclass, field

_SHOWN_NAMES = 8


@dataclass
class Marks:
    """Letters by what they say, in the order in which the table needs them first."""

    _runs: dict[str, list[str]] = field(default_factory=dict)

    def mark(self, text: str, run: str) -> str:
        """The letter for what happened to a run."""
        names = self._runs.setdefault(text, [])
        if run not in names:
            names.append(run)
        return _letter(list(self._runs).index(text))

    def notes(self) -> list[str]:
        """What each letter says, and of which runs."""
        return [f"({_letter(index)}) {text}: {listed(runs)}." for index, (text, runs) in enumerate(self._runs.items())]


def listed(names: list[str]) -> str:
    """Names, as many as a reader wants to see."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _letter(index: int) -> str:
    letters = string.ascii_lowercase
    return (
        letters[index] if index < len(letters) else _letter(index // len(letters) - 1) + letters[index % len(letters)]
    )
