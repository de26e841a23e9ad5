"""A text that tells whether it is whole: the SHA-256 of all its bytes stands in it, under the name "seal"."""

from __future__ import annotations

import hashlib
import re

OPEN = "0" * 64
"""What stands in the seal's place while the digest is computed."""

_SEAL = re.compile(rb'\\?"seal\\?": \\?"([0-9a-f]{64})\\?"')
"""The seal in a JSON text, or in one that is itself a string of a JSON text; the first counts."""


def sealed(text: bytes) -> bytes:
    """The text with its digest in the place of the first seal, which is `OPEN`."""
    seal = _SEAL.search(text)
    if seal is None or seal[1] != OPEN.encode():
        raise ValueError("the text has no open seal")
    return _with(text, seal, hashlib.sha256(text).hexdigest())


def has_seal(text: bytes) -> bool:
    """Whether the text has a seal at all, broken or not."""
    return _SEAL.search(text) is not None


def is_whole(text: bytes) -> bool:
    """Whether no bit of the text differs from what `sealed` made."""
    seal = _SEAL.search(text)
    return seal is not None and hashlib.sha256(_with(text, seal, OPEN)).hexdigest().encode() == seal[1]


def _with(text: bytes, seal: re.Match[bytes], digest: str) -> bytes:
    return text[: seal.start(1)] + digest.encode() + text[seal.end(1) :]
