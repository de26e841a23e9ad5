"""Images: the input, the map over it, the map alone, and the source signal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import ceil

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mipin_ref.errors import InvalidData
from mipin_ref.report.explained.caption import captioned, enlarged
from mipin_ref.report.explained.kind import Drawn, Kind, Marks
from mipin_ref.report.explained.scale import Scale, common_scale
from mipin_ref.report.explained.told import Array, ShownClass, ShownSample, Told
from mipin_ref.report.overlay import as_picture, overlay
from mipin_ref.report.signed_png import SignedPng, block_means, png_bytes, signed_png

PICTURE = 256
"""Pixels that the longer side of a picture in the page has at most."""
SMALL = 96
"""Pixels of a side up to which a picture is stored without loss and drawn as squares."""
QUICK = 3
"""By so much the quickest PNG may be longer than a JPEG for the shortest one to be tried."""


@dataclass(frozen=True)
class Cells:
    """picture: of the input; map, source: of each class, source None where there is none; factor: pixels along a side
    of one of the map's; ratio: width by height; small: whether pixels are to be seen as squares.
    """

    picture: bytes
    maps: list[SignedPng]
    sources: list[bytes | None]
    factor: int
    ratio: float
    small: bool


class ImageKind(Kind):
    """What is shown of images."""

    suffix = ".png"
    noun = "image"

    def check(self, sample: ShownSample) -> None:
        as_picture(sample.value, f"{sample.name}: the image")
        for one in sample.classes:
            if one.map.ndim != 2:
                raise InvalidData(f"{sample.name}: needs maps [H, W], not {list(one.map.shape)}")

    def scale(self, sample: ShownSample) -> Scale:
        return common_scale([one.map for one in sample.classes])

    def row(self, sample: ShownSample, scale: Scale) -> Drawn:
        picture = as_picture(sample.value, sample.name)
        factor = max(ceil(max(one.map.shape) / PICTURE) for one in sample.classes)
        maps = [_reduced(one.map, factor) for one in sample.classes]
        cells = Cells(
            _bytes(picture),
            [signed_png(one, scale.full) for one in maps],
            [None if one.source is None else _bytes(as_picture(one.source, sample.name)) for one in sample.classes],
            factor,
            picture.shape[1] / picture.shape[0],
            max(picture.shape[:2]) <= SMALL,
        )
        return Drawn(cells=cells)

    def file(self, sample: ShownSample, told: Told, scale: Scale, marks: Marks) -> bytes:
        first: ShownClass = sample.classes[0]
        picture = overlay(enlarged(as_picture(sample.value, sample.name)), first.map, scale=scale.full)
        lines = [(f"{first.name}  {first.score}", 17, 2), (sample.name, 13, 2)]
        lines.append((f"{told.method}, {told.tensor}, logit {first.logit:.4g}", 12, 1))
        file, info = io.BytesIO(), PngInfo()
        for key, value in marks.items():
            info.add_text(key, value)
        Image.fromarray(captioned(picture, lines, scale)).save(file, format="PNG", pnginfo=info, compress_level=2)
        return file.getvalue()


def _reduced(one: Array, factor: int) -> Array:
    return one if factor == 1 else block_means(one[None], factor)[0]


def _bytes(picture: Array) -> bytes:
    """A picture as PNG, or as JPEG where it is a photograph and that is shorter."""
    image = Image.fromarray(picture)
    image.thumbnail((PICTURE, PICTURE), Image.Resampling.BOX)
    if max(image.size) <= SMALL:
        return png_bytes(image)
    photograph, quick = io.BytesIO(), io.BytesIO()
    image.save(photograph, format="JPEG", quality=88)
    image.save(quick, format="PNG", compress_level=1)
    if quick.tell() > QUICK * photograph.tell():
        # The best compression takes ten times as long, and does not save so much.
        return photograph.getvalue()
    return min(png_bytes(image), photograph.getvalue(), key=len)
