"""Parameters of a test of which the default run takes some, and ``pytest -m slow`` the others."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_slow(values: Iterable[Any], by_default: Collection[Any]) -> list[Any]:
    """All values, as parameters; those that are not in ``by_default`` are marked slow."""
    return [value if value in by_default else pytest.param(value, marks=pytest.mark.slow) for value in values]
