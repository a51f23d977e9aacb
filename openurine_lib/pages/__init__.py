"""Static pages: one look, nothing from the network, and no text of the data that becomes markup.

Every page extends ``base.html.j2``. Its style and scripts stand in the page itself, and a Content
Security Policy allows these by their digests and pictures of the page's folder, nothing else
(https://www.w3.org/TR/CSP3/). jinja2 escapes whatever is put into a template.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


@cache
def _part(name: str) -> Markup:
    """A file of this folder that goes into pages as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


@cache  # it keeps the templates that it has compiled
def _environment(folder: Path) -> Environment:
    """Templates of a folder, and of this one."""
    return Environment(
        loader=ChoiceLoader([FileSystemLoader(folder), FileSystemLoader(HERE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def digest_of(text: str) -> str:
    """How a policy names an inline style or script: the base64 of its SHA-256."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(scripts: Iterable[str], styled_cells: bool = False) -> str:
    """The Content Security Policy of a page.

    scripts: the only ones that may run. styled_cells: whether elements have ``style`` attributes,
    as pandas' tables do. They can only be allowed all together with style elements; scripts stay
    bound to their digest.
    """
    style = "'unsafe-inline'" if styled_cells else digest_of(_part("style.css"))
    # file: a page that is opened from a disk has no origin that 'self' could mean
    return (
        f"default-src 'none'; img-src 'self' file: data:; style-src {style}; "
        f"script-src {' '.join(map(digest_of, scripts))}; base-uri 'none'; form-action 'none'"
    )


def render(
    template: Path, styled_cells: bool = False, scripts: Iterable[str] = (), **content: Any
) -> str:
    """A page from a template, which may extend ``base.html.j2``. All of ``content`` is escaped.

    scripts: of this page alone, beside the one that all pages have.
    """
    every = [_part("script.js"), *map(Markup, scripts)]
    return (
        _environment(template.parent)
        .get_template(template.name)
        .render(
            policy=Markup(policy(every, styled_cells)),  # its quotes are those of the standard
            style=_part("style.css"),
            scripts=every,
            **content,
        )
    )
