"""Figures as text for a page and as files; the same data gives the same bytes."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from minidisc_ray.files.storage import Storage
from minidisc_ray.reports.figures._style import styled

PNG_DOTS_PER_INCH: Final = 150

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
_NO_DATE: Final = {"Date": None}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def finish(figure: Figure, name: str, title: str) -> Figure:
    """Name a figure and fix its layout, so that it is the same however often and in whatever order it is written."""
    figure.set_gid(name)
    figure.set_label(title)
    with styled():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def svg_text(figure: Figure) -> str:
    """A figure as an ``<svg>`` element for an HTML page: text stays text, ids begin with the figure's name.

    The element has no size of its own but the page's, a ``<title>`` and an ``aria-label``.
    """
    return ET.tostring(_tree(figure), encoding="unicode").strip()


def write_figures(storage: Storage, folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write NAME.svg and NAME.png of each figure into a folder, each file whole or not at all; returns their paths."""
    written: list[Path] = []
    for name, figure in figures.items():
        written.append(_write(storage, folder / f"{name}.svg", _svg_file(figure)))
        written.append(_write(storage, folder / f"{name}.png", _png_file(figure)))
    return written


def _svg_file(figure: Figure) -> bytes:
    root = _tree(figure)
    width, height = figure.get_size_inches()
    size = {"width": f"{72 * width:g}pt", "height": f"{72 * height:g}pt"}
    # Attributes as they are written: names of elements carry no namespace here.
    root.attrib.update({"xmlns": _SVG, "xmlns:xlink": _XLINK, **size})
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode").encode() + b"\n"


def _png_file(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _tree(figure: Figure) -> ET.Element:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=_NO_DATE)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 it was written two lines above
    name, label = str(figure.get_gid() or "figure"), str(figure.get_label() or "Figure")
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith("}metadata")]:
            parent.remove(child)
    for styles in root.findall(f"{{{_SVG}}}defs"):
        # It would hold for the whole page.
        if styles.find(f"{{{_SVG}}}style") is not None:
            root.remove(styles)
    for element in root.iter():
        _unqualify(element, name)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib.update(
        {"id": name, "role": "img", "aria-label": label, "style": "stroke-linejoin: round; stroke-linecap: butt"}
    )
    title = ET.Element("title")
    title.text = label
    root.insert(0, title)
    return root


def _unqualify(element: ET.Element, name: str) -> None:
    """Plain names of elements and attributes, and ids that no other figure of the page has."""
    element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    for key, value in list(element.attrib.items()):
        del element.attrib[key]
        key = key.replace(f"{{{_XLINK}}}", "xlink:")
        if key == "id":
            value = f"{name}-{value}"
        elif key == "xlink:href" and value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        else:
            value = _REFERENCE.sub(lambda found: f"url(#{name}-{found[1]})", value)
        element.attrib[key] = value


def _write(storage: Storage, path: Path, content: bytes) -> Path:
    storage.write_file(path, lambda temporary: temporary.write_bytes(content))
    return path
