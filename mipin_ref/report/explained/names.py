"""Names of the files that a run writes."""

from __future__ import annotations

import unicodedata

LONGEST = 80
"""Bytes that a file keeps of its sample's name."""


def file_name(number: int, name: str, suffix: str) -> str:
    """overlay_00012_NAME.png: unique by its number, whatever the sample is called, and readable.

    Letters and digits of all scripts stay; a folder is parted from its file by a dash, all else is an underscore.
    """
    plain = unicodedata.normalize("NFC", name.replace("\\", "/"))
    head, _, ending = plain.rpartition(".")
    stem = head if head and "/" not in ending else plain
    kept = "".join(map(_kept, stem)).encode()[:LONGEST].decode(errors="ignore").strip("._-")
    return f"overlay_{number:05d}{'_' if kept else ''}{kept}{suffix}"


def _kept(one: str) -> str:
    # Scripts write vowels as marks (category M).
    if one.isalnum() or unicodedata.category(one).startswith("M") or one in "-_.":
        return one
    return "-" if one == "/" else "_"
