"""When two ways of writing a label are the same label."""

import re
from decimal import Decimal
from typing import Any

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MOST_DIGITS = 30  # of a number that is worth writing out


def as_number(value: Any) -> Decimal | None:
    """The number that a label is, however a file writes it; None for a name, and for what is not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        found = Decimal(value)
    else:
        text = str(value).strip()
        if not DECIMAL.fullmatch(text):
            return None
        found = Decimal(text)
    # The value of 1e999 would be a thousand digits.
    return found if found.is_finite() and abs(found.adjusted()) <= MOST_DIGITS else None


def label_key(name: str) -> Decimal | str:
    """Equal for names of one class: numbers by value, words without regard to case and blanks around them."""
    found = as_number(name)
    return name.strip().lower() if found is None else found
