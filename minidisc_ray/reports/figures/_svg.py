"""Figures as SVG and PNG; the same data gives the same bytes."""

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


def freeze_layout(figure: Figure) -> Figure:
    """Compute a figure's layout once, so that every file written of it has the same; returns the figure."""
    with styled():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def data_uri(figure: Figure) -> str:
    """A figure as the data URI of an SVG image, which scales with the page and keeps its text as text."""
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
