"""Recognises the same label in different spellings."""

import re
from decimal import Decimal
from typing import Any

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MOST_DIGITS = 30  # before or after the point, of a label that is read as a number


def as_number(value: Any) -> Decimal | None:
    """A label as a number, however a file spells it; None for a name, NaN, infinity or more than ``MOST_DIGITS``."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        found = Decimal(value)
    else:
        text = str(value).strip()
        if not DECIMAL.fullmatch(text):
            return None
        found = Decimal(text)
    # 1e999 would be written out with a thousand digits.
    return found if found.is_finite() and abs(found.adjusted()) <= MOST_DIGITS else None


def label_key(name: str) -> Decimal | str:
    """A key that is equal for names of one class: numbers by value, words without case and surrounding blanks."""
    found = as_number(name)
    return name.strip().lower() if found is None else found
