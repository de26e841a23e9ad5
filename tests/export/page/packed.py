"""Unpacks what pages hold, character by character, of the description in packed.py alone."""

from __future__ import annotations

UNKEPT = "\0\r<"


def unpacked_text(text: str, size: int) -> bytes:
    """The bytes of a text of seven bits a character, or fourteen in one above ASCII."""
    held, bits, made = 0, 0, bytearray()
    for one in text:
        number, seven = divmod(ord(one), 128)
        for part in (ord(UNKEPT[number - 1]), seven) if number else (seven,):
            held, bits = held << 7 | part, bits + 7
            if bits >= 8:
                bits -= 8
                made.append(held >> bits)
                held %= 1 << bits
    return bytes(made[:size])
