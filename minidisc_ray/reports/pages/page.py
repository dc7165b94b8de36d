"""What every HTML page shares: the template environment, sort values and figures."""

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
from minidisc_ray.reports import words

if TYPE_CHECKING:
    from minidisc_ray.reports.figures import Drawing

_SCRIPT = "page.js.jinja"
_FACTORS = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_NUMBER = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)([KMGBTPE]\b)?")


@dataclass(frozen=True)
class PageFigure:
    """A figure for the macro ``figures``.

    Attributes:
        source: the image as a data URI.
        alternative: the alt text, a sentence.
        caption: how to read it.
    """

    source: Markup
    alternative: str
    caption: str


def environment() -> Environment:
    """The Jinja environment of this folder's templates, in which every value is redacted and escaped.

    A page extends ``page.html.jinja``, which has the style and the script, and imports ``page.macros.jinja``. The
    page's content security policy allows this script alone, by its digest, and no requests.
    """
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_redacted,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        parameters=words.parameters_text,
        count=words.count_text,
        hours=words.hours_text,
        percent=words.percent_text,
        price=words.price_text,
        sentence_case=words.sentence_case,
        sort_value=sort_value,
    )
    script = found.get_template(_SCRIPT).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found.globals.update(page_script=Markup(script), page_script_digest=digest)  # noqa: S704 our own file
    return found


def _redacted(value: object) -> object:
    """The value of a template's expression without secrets, before Jinja escapes it; markup is escaped already."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def sort_value(cell: object) -> str:
    """The number that a cell sorts by, in full; empty if the cell has none.

    A text's first number is parsed as tables write it: 10.6M, 77.5 ± 2.4, 9.8 times, 25/40%.
    """
    if isinstance(cell, bool) or cell is None:
        return ""
    if isinstance(cell, int | float):
        return repr(cell)
    found = _NUMBER.match(str(cell).strip())
    return repr(float(found[1].replace(",", "")) * _FACTORS.get(found[2], 1.0)) if found else ""


def page_figures(drawings: Iterable["Drawing"], *kinds: str) -> list[PageFigure]:
    """The drawings of the given kinds for a page, in the order of the kinds."""
    # Imported here, so that only what writes a page loads matplotlib.
    from minidisc_ray.reports.figures import data_uri

    listed = list(drawings)
    chosen = [drawing for kind in kinds for drawing in listed if drawing.kind == kind]
    # Base64 has nothing to escape or redact.
    sources = [Markup(data_uri(drawing.figure)) for drawing in chosen]  # noqa: S704
    return [
        PageFigure(source, f"Chart: {drawing.title}.", drawing.caption)
        for source, drawing in zip(sources, chosen, strict=True)
    ]
