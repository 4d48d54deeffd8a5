"""HTML pages from the templates in `reports/templates`: every value is escaped, and a page needs no other file.

`templates/page.html` is the frame (style sheet, script and data are inside it); `data.html` and `models.html` fill it;
`charts.html` draws SVG charts from what `reports.charts` computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.palette import style_sheet, themed

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

ASSETS = Path(__file__).resolve().parent / "assets"
TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, *, scene: Mapping[str, Any], styles: Sequence[str], **values: Any) -> str:
    """A whole page. `scene` is the data of the page's script, as JSON; `styles` are files in `assets`."""
    css, script = style(*styles), asset("recordings.js")
    return environment().get_template(template).render(scene=scene, css=css, script=script, **values)


def style(*names: str) -> Markup:
    """The colours, and style sheets of `assets`."""
    from markupsafe import Markup

    return Markup(style_sheet()) + asset(*names)


def asset(*names: str) -> Markup:
    """Files of our own, which are the only text that is put into a page as it is."""
    from markupsafe import Markup

    return Markup("".join((ASSETS / name).read_text(encoding="utf-8") for name in names))


@cache
def environment() -> Environment:
    """Templates with autoescape; a name that a template does not know is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["themed"] = themed
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # in the order given
    return made
