"""The frame of the web pages: one file that fetches nothing and runs one script, its own."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipin_ref.report.signed_png import SignedPng
from mipin_ref.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
RANKS = ("predicted", "2nd", "3rd", "4th", "5th")
"""The classes that a page shows of an image, by their place."""


def render_page(name: str, **values: Any) -> str:
    """The page made of the templates NAME.html, NAME.css and NAME.js, and of what all pages share.

    values: what the template shows; texts are plain and may hold anything.
    """
    script = _joined(("base", name), "js")
    page = (
        _environment()
        .get_template(f"{name}.html")
        .render(
            style=_joined(("base", name), "css"),
            script=script,
            # Only this script runs in the page, whatever a class is called, and nothing is fetched.
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **values,
        )
    )
    # Names of files, methods and classes may hold what no encoding takes and what turns the text behind it.
    return printable(page, keep="\n\t")


@cache
def _environment() -> Environment:
    """The templates, each compiled once: that takes longer than to fill it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "scale_text": scale_text}
    return environment


def _joined(names: Sequence[str], kind: str) -> str:
    return "".join((TEMPLATES / f"{name}.{kind}").read_text("utf-8") for name in names)


def scale_text(one: SignedPng) -> str:
    """The scale of a map in words that a caption and a screen reader share."""
    if one.largest == 0:
        return "zero everywhere"
    beyond = f", largest {one.largest:.3g}" if one.largest > one.scale else ""
    return f"±{one.scale:.3g}{beyond}"


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG file as an address that holds it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"
