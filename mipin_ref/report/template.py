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


def render_page(name: str, *, beside: Sequence[str] = (), **values: Any) -> str:
    """The page made of the templates NAME.html, NAME.css and NAME.js, and of what all pages share.

    beside: pages whose scripts it runs in place of one of its own, with their styles; values: what the template shows;
    texts are plain and may hold anything.
    """
    script = "".join(shared(one, "js") for one in ("base", *(beside or (name,))))
    page = (
        environment(TEMPLATES)
        .get_template(f"{name}.html")
        .render(
            style="".join(shared(one, "css") for one in ("base", *beside, name)),
            script=script,
            # Only this script runs in the page, whatever a class is called, and nothing is fetched.
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **values,
        )
    )
    # Names of files, methods and classes may hold what no encoding takes and what turns the text behind it.
    return printable(page, keep="\n\t")


@cache
def environment(folder: Path) -> Environment:
    """What renders the templates of a folder: plain texts are escaped, and a value that is missing is an error. Each is
    compiled once, which takes longer than to fill it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"data_uri": data_uri, "scale_text": scale_text}
    return made


def shared(name: str, kind: str) -> str:
    """The text of the style (css) or script (js) NAME; "base" is what all pages share."""
    return (TEMPLATES / f"{name}.{kind}").read_text("utf-8")


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
