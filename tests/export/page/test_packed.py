"""Bytes as a page holds them: text that a script element gives back, of which its script makes the bytes again."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from mipin_ref.export.page import packed
from mipin_ref.export.page.packed import as_text, compressed
from tests.export.page.packed import UNKEPT, unpacked_text
from tests.export.page.scripts import called

NOTHING = np.zeros((1, 1, 1), np.uint8)


def of_sevens(*sevens: int) -> bytes:
    """Bytes whose bits are numbers of seven bits: a multiple of eight of them."""
    bits = "".join(f"{one:07b}" for one in sevens)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


BYTES = {
    "none": b"",
    "one": b"<",
    "ends with one that is not kept": b"\0",
    "all that are not kept": of_sevens(0, 13, 60, 0, 0, 1, 60, 127),
    "a run of odd length": of_sevens(5, 13, 13, 13, 60, 60, 9, 0),
    "like markup": b"</script><!-- \r\n \r -->",
    "zeros": bytes(1000),
    "noise": np.random.default_rng(0).bytes(5001),
    "every byte": bytes(range(256)) * 3,
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES.keys())
def test_the_text_is_kept_and_gives_the_bytes_again(data: bytes) -> None:
    text = as_text(data)
    assert not set(text) & set(UNKEPT)
    assert max(map(ord, text), default=0) < 0x200  # two bytes each in UTF-8, no surrogates
    assert len(text.encode()) <= len(data) * 8 / 7 + 2  # the last character may hold the bits of two
    assert unpacked_text(text, len(data)) == data
    made, _ = called("(_, text, size) => ({ data: bytesOf(text, size) })", NOTHING, text, len(data))
    assert made == data


def test_chunks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(1).integers(0, 4, 700, np.uint8).tobytes()
    whole = as_text(data)
    monkeypatch.setattr(packed, "CHUNK", 7 * 8)
    assert as_text(data) == whole
    assert unpacked_text(whole, len(data)) == data


@pytest.mark.parametrize("size", [0, 1, 4, 1001])
def test_words_are_put_together_again(size: int) -> None:
    data = np.random.default_rng(2).bytes(size)
    apart = gzip.decompress(compressed(data))
    call = "(_, apart) => ({ data: inWords(Uint8Array.from(apart), 4) })"
    made, _ = called(call, NOTHING, list(apart))
    assert made[:size] == data
    assert len(made) - size < 4


def test_weights_compress_better_in_words() -> None:
    """Exponents lie together; a tenth less of float32, which this asks half of."""
    weights = np.random.default_rng(3).normal(0, 0.1, 20_000).astype(np.float32).tobytes()
    assert len(compressed(weights)) < 0.95 * len(gzip.compress(weights, packed.LEVEL))
