"""Rows of a comparison's table."""

import pandas as pd


def row(frame: pd.DataFrame, method: str) -> pd.Series:
    """The only row of a method."""
    found = frame[frame["method"] == method]
    assert len(found) == 1
    return found.iloc[0]
