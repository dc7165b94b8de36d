"""Footnote letters of a study's table: one for each problem, with the runs that have it."""

import string
from dataclasses import dataclass, field

_SHOWN_NAMES = 8


@dataclass
class Marks:
    """Footnotes, with letters in the order of first use."""

    _runs: dict[str, list[str]] = field(default_factory=dict)

    def mark(self, text: str, run: str) -> str:
        """Add a run to the footnote with this text, and return the footnote's letter."""
        names = self._runs.setdefault(text, [])
        if run not in names:
            names.append(run)
        return _letter(list(self._runs).index(text))

    def notes(self) -> list[str]:
        """Each footnote as a line: its letter, its text and its runs."""
        return [f"({_letter(index)}) {text}: {listed(runs)}." for index, (text, runs) in enumerate(self._runs.items())]


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _letter(index: int) -> str:
    letters = string.ascii_lowercase
    return (
        letters[index] if index < len(letters) else _letter(index // len(letters) - 1) + letters[index % len(letters)]
    )
