"""Figures as files and for a page; the same data gives the same bytes."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from minidisc_ray.files.storage import Storage
from minidisc_ray.reports.figures._style import styled

PNG_DOTS_PER_INCH: Final = 150

_METADATA: Final[dict[str, dict[str, Any]]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def finish(figure: Figure) -> Figure:
    """Fix a figure's layout, so that it is the same however often and in whatever order it is written."""
    with styled():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def data_uri(figure: Figure) -> str:
    """A figure as SVG in the address of an image: it has a page's size, and its text stays text."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_content(figure, 'svg')).decode()}"


def write_figures(storage: Storage, folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write NAME.svg and NAME.png of each figure into a folder, each file whole or not at all; returns their paths."""
    return [
        _write(storage, folder / f"{name}.{ending}", _content(figure, ending))
        for name, figure in figures.items()
        for ending in _METADATA
    ]


def _write(storage: Storage, path: Path, content: bytes) -> Path:
    storage.write_file(path, lambda temporary: temporary.write_bytes(content))
    return path


def _content(figure: Figure, ending: str) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=ending, dpi=PNG_DOTS_PER_INCH, metadata=_METADATA[ending])
    return buffer.getvalue()
