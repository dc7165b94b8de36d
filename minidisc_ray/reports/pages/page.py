"""What every HTML page shares: templates, how numbers are written and sorted, and whole files."""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from minidisc_ray.configs.redact import redact
from minidisc_ray.files.storage import Storage
from minidisc_ray.reports import words
from minidisc_ray.reports.words import trained_text

if TYPE_CHECKING:
    from minidisc_ray.reports.figures import Drawing

_SCRIPT = "page.js.jinja"
_FACTORS = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_NUMBER = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)([KMGBTPE]\b)?")


@dataclass(frozen=True)
class PageFigure:
    """A figure as the macro ``figures`` takes it.

    Attributes:
        source: the image itself, in its address.
        alternative: what it shows, in a sentence.
        caption: how to read it.
    """

    source: Markup
    alternative: str
    caption: str


def environment() -> Environment:
    """Templates of this folder; whatever comes from a recipe or a data set is escaped, and its secrets taken out.

    A page extends ``page.html.jinja``, which brings the style and the script, and imports ``page.macros.jinja``. No
    script but that one may run, known by its digest, and nothing may be fetched.
    """
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_without_secrets,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        parameters=lambda value: words.count_text(value, "B"),
        count=words.count_text,
        hours=words.hours_text,
        metric=words.metric_title,
        percent=words.percent_text,
        price=words.price_text,
        share=words.share_text,
        sort_value=sort_value,
        trained=trained_text,
    )
    script = found.get_template(_SCRIPT).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found.globals.update(page_script=Markup(script), page_script_digest=digest)  # noqa: S704 our own, as it stands
    return found


def _without_secrets(value: object) -> object:
    """Every expression of a template passes here before it is escaped; markup is escaped already."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def sort_value(cell: object) -> str:
    """The number that a cell sorts by, in full; empty where it holds none.

    Text is read back as tables write it: 10.6M, 77.5 ± 2.4, 9.8 times, 25/40%.
    """
    if isinstance(cell, bool) or cell is None:
        return ""
    if isinstance(cell, int | float):
        return repr(cell)
    found = _NUMBER.match(str(cell).strip())
    return repr(float(found[1].replace(",", "")) * _FACTORS.get(found[2], 1.0)) if found else ""


def page_figures(drawings: Iterable["Drawing"], *kinds: str) -> list[PageFigure]:
    """The drawings of some kinds as elements of a page, in the order of the kinds."""
    # Here and not above: nothing but a page should pay for importing matplotlib.
    from minidisc_ray.reports.figures import data_uri

    listed = list(drawings)
    chosen = [drawing for kind in kinds for drawing in listed if drawing.kind == kind]
    # Letters of base64, in which nothing is to be escaped or taken out.
    sources = [Markup(data_uri(drawing.figure)) for drawing in chosen]  # noqa: S704
    return [
        PageFigure(source, f"Chart: {drawing.title}.", drawing.caption)
        for source, drawing in zip(sources, chosen, strict=True)
    ]


def write_page(storage: Storage, path: Path, page: str) -> Path:
    """Write a page whole or not at all, and return its path."""
    storage.write_text(path, page)
    return path
