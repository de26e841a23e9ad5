"""Samples of every kind with random maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.report.explained import ShownClass, ShownSample, Told

EVIL = "<script>document.title='broken'</script>\"'&"
NAMES = (
    EVIL,
    "صورة قطة.jpg",
    "写真/猫.jpg",
    "x" * 200 + ".jpg",
    "a/dog.jpg",
    "b/dog.jpg",
    "\u202egpj.exe",
    "half \udcff.png",
    "..",
    "a\nb\x00c.png",
)
TOLD = Told("net/model.onnx", "mip-in", "features", ["Preprocessing was guessed: unit.", EVIL], [("calibration", "9")])
TOKENS = ("The", "film", "<b>is</b>", "कहानी", "\u202ereversed")


def classes(rng: np.random.Generator, shape: tuple[int, ...], count: int = 3, **others: Any) -> list[ShownClass]:
    return [
        ShownClass(f"class {number}", number, f"{60 - number}%", 5.5 - number, rng.standard_normal(shape), **others)
        for number in range(count)
    ]


def images(count: int = 3, size: tuple[int, int] = (12, 16), maps: tuple[int, int] = (4, 4), seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return [
        ShownSample(
            NAMES[number % len(NAMES)],
            rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            classes(rng, maps, source=rng.integers(0, 256, (*size, 3), dtype=np.uint8) if number == 0 else None),
        )
        for number in range(count)
    ]


def of_kind(kind: str, count: int = 3) -> list[ShownSample]:
    rng = np.random.default_rng(1)
    if kind == "image":
        return list(images(count))
    made = []
    for number in range(count):
        shape, value, tokens = {
            "signal": ((40,), rng.standard_normal((2, 40) if number else 40), None),
            "table": ((20,), rng.standard_normal(20), None),
            "tokens": ((len(TOKENS),), np.arange(len(TOKENS)), TOKENS),
        }[kind]
        made.append(ShownSample(NAMES[number], value, classes(rng, shape), tokens))
    return made
