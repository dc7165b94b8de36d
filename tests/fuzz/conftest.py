"""Ten times the inputs only where they are asked for, and a table of all that were tried at the end of a run."""

from typing import Any

import pytest
from fuzz_kit import TRIED, table


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "fuzz" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("fuzz")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TRIED:
        terminalreporter.section("fuzzing")
        for line in table():
            terminalreporter.write_line(line)
