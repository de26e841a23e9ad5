"""Bytes as text in a page: seven bits a character where base64 has six, so that 7 bytes take 8 and not 9.3."""

from __future__ import annotations

import gzip

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]

UNKEPT = (0x00, 0x0D, 0x3C)
"""ASCII characters that a script element does not give back, NUL and the carriage return, or that could end it: <."""
LEVEL = 6
"""Of compression: of weights the highest saves two in a thousand, in five times the time."""
WORD = 4
"""Bytes of a number of which first bytes, second bytes, ... are compressed apart: float32, and two of float16."""
CHUNK = 7 * 2**16
"""Bytes that are taken apart at once, a whole number of characters."""


def as_text(data: bytes) -> str:
    """Text of which a page's script makes the same bytes again (`bytesOf` in runtime.js), if told how many they are.

    Seven bits are the ASCII character of that number. One of UNKEPT, number k of them, makes one character with the
    seven bits behind it, v: 128 (k + 1) + v, which is two bytes in UTF-8. So each byte of the page holds seven bits.
    """
    parts = [_sevens(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
    # What the last may be joined with, where it must be.
    sevens = np.concatenate([*parts, np.zeros(1, np.uint8)])
    number = np.zeros(128, np.uint16)
    number[list(UNKEPT)] = 128 * np.arange(1, len(UNKEPT) + 1, dtype=np.uint16)
    joined = _first_of_pairs(np.flatnonzero(number[sevens[:-1]]))
    codes = sevens.astype(np.uint16)
    codes[joined] = number[sevens[joined]] + sevens[joined + 1]
    kept = np.delete(codes, np.append(joined + 1, len(sevens) - 1))
    return kept.astype("<u2").tobytes().decode("utf-16-le")


def compressed(model: bytes) -> bytes:
    """A file of floating-point numbers in gzip, bytes of like place in a word together: exponents are much alike."""
    padded = np.frombuffer(model + bytes(-len(model) % WORD), np.uint8)
    return gzip.compress(padded.reshape(-1, WORD).T.tobytes(), LEVEL, mtime=0)


def _sevens(data: bytes) -> npt.NDArray[np.uint8]:
    """The bits of bytes as numbers below 128, filled up with zeros."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    filled = np.concatenate([bits, np.zeros(-len(bits) % 7, np.uint8)])
    return np.packbits(filled.reshape(-1, 7), axis=1).ravel() >> np.uint8(1)


def _first_of_pairs(places: Places) -> Places:
    """Of ascending places those that no taken one stands right before: of a run every other one."""
    if not len(places):
        return places
    starts = np.concatenate([[True], np.diff(places) != 1])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(places)), 0))
    pairs: Places = places[(np.arange(len(places)) - first) % 2 == 0]
    return pairs
