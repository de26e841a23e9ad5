"""page.html: one file that opens from disk and explains pictures in the browser."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mipin_ref.errors import InvalidData
from mipin_ref.export.page.packed import WORD, as_text, compressed
from mipin_ref.export.page.runtime import CODE, WASM
from mipin_ref.export.page.told import Told
from mipin_ref.report.template import environment, shared
from mipin_ref.text import printable

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("resample", "pixels", "runtime", "pictures", "pad", "bars", "giving", "page")
"""The parts of the page's script, in order: functions of each, and the page last, which runs them."""

MARK = "<!-- packed -->"
"""Where in the page the packed files stand."""
LARGEST = 350 * 10**6
"""Bytes of an explainer in a page: they are one text there, and browsers have none above 512 MiB."""


@dataclass(frozen=True)
class Example:
    """A picture of the network's size that a visitor may begin with; png: without loss; name: as its class, or ""."""

    png: bytes
    name: str = ""


def page_of(model: bytes, told: Told, examples: Sequence[Example] = ()) -> str:
    """The page of an explainer, as text.

    model: the ONNX file; told: what the page says of it; examples: shown as buttons, the first explained at once.
    Raises InvalidData where the input is no picture or the file is too large for browsers, CorruptFile where the
    runtime that lies beside the package was changed.
    """
    if len(model) > LARGEST:
        raise InvalidData(
            f"export: a page of an explainer of {len(model) / 1e6:,.0f} MB is more than browsers hold, "
            f"{LARGEST / 1e6:.0f} MB; store inverses in half precision, take fewer targets, or explain a tensor nearer "
            "to the logits"
        )
    script = "".join((TEMPLATES / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    packed = [
        element("runtime", CODE.gzipped()),
        element("wasm", WASM.gzipped()),
        element("explainer", compressed(model), f' data-size="{len(model)}" data-word="{WORD}"'),
    ]
    weight = sum(len(one.encode()) for one in packed) / 1e6
    page = (
        environment(TEMPLATES)
        .get_template("page.html")
        .render(
            style=shared("base", "css") + (TEMPLATES / "page.css").read_text("utf-8"),
            script=script,
            # Only this script and what it unpacks run in the page, whatever a class is called; nothing is fetched.
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            told={**told.shown(), "weight": f"{weight:.1f} MB"},
            settings=told.settings(),
            examples=examples,
        )
    )
    # Nothing that was shown can hold the mark: it was escaped.
    before, after = printable(page, keep="\n\t").split(MARK)
    return "".join((before, "\n".join(packed), after))


def element(name: str, data: bytes, more: str = "") -> str:
    """An element that holds gzipped bytes."""
    return (
        f'<script type="application/octet-stream" id="{name}" data-packed="{len(data)}"{more}>{as_text(data)}</script>'
    )
