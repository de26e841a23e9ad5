"""Runs the page's own functions in Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mipin_ref.export.page.render import TEMPLATES

Bytes = npt.NDArray[np.uint8]

DRIVER = """
const { picture, rest, call } = JSON.parse(require("fs").readFileSync(0, "utf8"));
if (picture) picture.data = new Uint8Array(Buffer.from(picture.data, "base64"));
const made = eval(call)(picture, ...rest);
const data = made.data ?? made;
const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
console.log(JSON.stringify({ height: made.height, width: made.width, bytes }));
"""


def called(function: str, picture: Bytes, *rest: Any) -> tuple[bytes, tuple[int, int] | None]:
    """The bytes that a function of the page makes of a picture [H, W, C], and its (height, width) where it has one."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js (20 or later) is needed to run the script of pages.")
    height, width, channels = picture.shape
    stored = {"height": height, "width": width, "channels": channels, "data": b64encode(picture.tobytes()).decode()}
    script = "".join(
        (TEMPLATES / f"{name}.js").read_text("utf-8") for name in ("resample", "pixels", "runtime", "pictures")
    )
    given = json.dumps({"picture": stored, "rest": rest, "call": function})
    run = subprocess.run([node, "-e", script + DRIVER], input=given, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout)
    return b64decode(made["bytes"]), (made["height"], made["width"]) if made.get("height") else None


def picture_made(function: str, picture: Bytes, *rest: Any) -> Bytes:
    """The same of a function that makes a picture [H, W, C]."""
    data, size = called(function, picture, *rest)
    assert size is not None
    return np.frombuffer(data, np.uint8).reshape(*size, -1)
