"""A text that tells whether it is whole: the SHA-256 of all its bytes stands in it, under the name "seal"."""

from __future__ import annotations

import hashlib
import re

OPEN = "0" * 64
"""What stands in the seal's place while the digest is computed."""

_SEAL = re.compile(rb'\\?"seal\\?": \\?"([0-9a-f]{64})\\?"')
"""In a JSON text, or in one that is itself a string of a JSON text; the first counts."""


def sealed(text: bytes) -> bytes:
    """The text with its digest in the place of the first seal, which is `OPEN`."""
    found = _SEAL.search(text)
    if found is None or found[1] != OPEN.encode():
        raise ValueError("the text has no open seal")
    return _with(text, found, hashlib.sha256(text).hexdigest())


def has_seal(text: bytes) -> bool:
    """Whether the text has a seal at all, broken or not."""
    return _SEAL.search(text) is not None


def is_whole(text: bytes) -> bool:
    """Whether no bit of the text differs from what `sealed` made."""
    found = _SEAL.search(text)
    return found is not None and hashlib.sha256(_with(text, found, OPEN)).hexdigest().encode() == found[1]


def _with(text: bytes, found: re.Match[bytes], digest: str) -> bytes:
    return text[: found.start(1)] + digest.encode() + text[found.end(1) :]
