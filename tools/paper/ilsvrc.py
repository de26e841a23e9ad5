"""ILSVRC's validation images and their boxes, as they are laid out on disk, prepared as a network takes them.

images: files *.JPEG (or .jpg, .jpeg, .png), flat or in folders of wnids; boxes: files *.xml of the same stem in VOC's
style, anywhere below their folder; synsets: a text file whose line i begins with the wnid of class i.

An image is one class's: that of its first object. Its box is the union of all boxes of that class, for they show what
the class is recognised by; objects of other classes are left out. Corners xmin, ymin, xmax, ymax are taken as edges in
pixels, from 0 to width and height. Boxes follow the resize and the centre crop of the image and are cut at its edges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpeg", ".jpg", ".png")
PERCENT = 33
"""An image whose boxes cover so much of the crop, or more, is left out (paper, 6.3)."""
LARGEST_ANNOTATION = 1_000_000

Edges = tuple[float, float, float, float]


class Annotation(NamedTuple):
    """width and height of the image in pixels, and wnid and edges (x0, y0, x1, y1) of each object."""

    width: int
    height: int
    objects: list[tuple[str, Edges]]


@dataclass(frozen=True)
class Preparation:
    """The shorter side becomes `resize` pixels, the centre `side` by `side` of it is taken; then (x / scale - mean) /
    std a channel, in RGB, or in BGR.
    """

    side: int
    resize: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    scale: float = 255.0
    bgr: bool = False


class Sample(NamedTuple):
    """An image file, its class, and its boxes in the crop [k, 4], whole pixels, ends excluded."""

    path: Path
    label: int
    boxes: NDArray[np.int64]


def read_synsets(path: Path) -> dict[str, int]:
    """wnid -> class index. Raises ValueError for a line without a wnid, and for one that comes twice."""
    classes: dict[str, int] = {}
    for number, line in enumerate(path.read_text().splitlines()):
        match = re.match(r"n\d{8}\b", line.strip())
        if match is None:
            raise ValueError(f"{path}, line {number + 1}: does not begin with a wnid such as n01440764")
        if match[0] in classes:
            raise ValueError(f"{path}, line {number + 1}: {match[0]} is there twice")
        classes[match[0]] = number
    if not classes:
        raise ValueError(f"{path}: holds no synset")
    return classes


def read_annotation(path: Path) -> Annotation:
    """One XML file. Raises ValueError, in one sentence, for what is malformed, missing, or outside the image."""
    content = path.read_bytes()
    # No annotation needs a document type; without one there are no entities to expand.
    if len(content) > LARGEST_ANNOTATION or b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:
        raise ValueError(f"{path}: is no annotation (too large, not UTF-8, or with a document type)")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: is no readable XML ({error})") from None
    width, height = (int(_number(path, root, f"size/{side}")) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise ValueError(f"{path}: the image has a size of {width}×{height} pixels")
    objects = []
    for one in root.findall("object"):
        name = (one.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{path}: an object has no name")
        x0, y0, x1, y1 = (_number(path, one, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"{path}: box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is empty or leaves its image of {width}×{height} pixels"
            )
        objects.append((name, (x0, y0, x1, y1)))
    if not objects:
        raise ValueError(f"{path}: holds no object")
    return Annotation(width, height, objects)


def _number(path: Path, root: ElementTree.Element, field: str) -> float:
    text = root.findtext(field)
    if text is None:
        raise ValueError(f"{path}: lacks {field}")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise ValueError(f"{path}: {field} is {text.strip()!r}, not a number")
    return number


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Image files below a folder by their name without suffix. Raises ValueError where there is none, or one twice."""
    by_stem: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in by_stem:
                raise ValueError(f"{path}: {by_stem[path.stem]} has the same name")
            by_stem[path.stem] = path
    if not by_stem:
        raise ValueError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return by_stem


def _scale(width: int, height: int, how: Preparation) -> tuple[int, int, int, int]:
    """Width and height after the resize, and the left and top edge of the crop."""
    shorter = min(width, height)
    new = (round(width * how.resize / shorter), round(height * how.resize / shorter))
    return (*new, (new[0] - how.side) // 2, (new[1] - how.side) // 2)


def cropped_box(edges: Edges, width: int, height: int, how: Preparation) -> tuple[int, int, int, int] | None:
    """A box in the crop, to the nearest pixel; None where nothing of it is left."""
    new_width, new_height, left, top = _scale(width, height, how)
    across, down = new_width / width, new_height / height
    x0, x1 = (min(max(round(edge * across) - left, 0), how.side) for edge in edges[::2])
    y0, y1 = (min(max(round(edge * down) - top, 0), how.side) for edge in edges[1::2])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def prepared(path: Path, how: Preparation) -> NDArray[np.float32]:
    """An image as the network takes it [3, side, side]. Raises ValueError for a file that is no image."""
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{path}: is no readable image ({error})") from None
    width, height, left, top = _scale(*rgb.size, how)
    crop = rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + how.side, top + how.side))
    pixels = np.asarray(crop, np.float32)[:, :, :: -1 if how.bgr else 1] / np.float32(how.scale)
    values = (pixels - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


class Prepared:
    """Images [N, 3, side, side] that are read when they are asked for: slices and lists of rows."""

    def __init__(self, paths: Sequence[Path], how: Preparation) -> None:
        self._paths, self._how = list(paths), how
        self.shape, self.dtype = (len(paths), 3, how.side, how.side), np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        rows = range(len(self))[index] if isinstance(index, slice) else np.atleast_1d(index).tolist()
        chosen = [self._paths[row] for row in rows]
        if not chosen:
            return np.empty((0, *self.shape[1:]), np.float32)
        return np.stack([prepared(path, self._how) for path in chosen])


class Selection(NamedTuple):
    """samples: those to explain, in order of their names; too_large: images left out since their boxes cover 33 % of
    the crop or more; outside: left out since the crop has nothing of their boxes.
    """

    samples: list[Sample]
    too_large: int
    outside: int


def read_samples(images: Path, boxes: Path, synsets: dict[str, int], how: Preparation, limit: int = 0) -> Selection:
    """Images with their boxes, the first `limit` that are kept, or all.

    Raises ValueError for an annotation that is malformed, of an unknown class, without its image, or of another size
    than its image.
    """
    by_stem = images_by_stem(images)
    paths = sorted(boxes.rglob("*.xml"), key=lambda path: path.stem)
    if not paths:
        raise ValueError(f"{boxes}: holds no annotation (*.xml)")
    samples: list[Sample] = []
    too_large = outside = 0
    for path in paths:
        width, height, objects = read_annotation(path)
        wnid = objects[0][0]
        if wnid not in synsets:
            raise ValueError(f"{path}: the class {wnid!r} is not in the list of synsets")
        if path.stem not in by_stem:
            raise ValueError(f"{path}: there is no image {path.stem} in {images}")
        image = by_stem[path.stem]
        try:
            with Image.open(image) as opened:
                size = opened.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise ValueError(f"{image}: is no readable image ({error})") from None
        if size != (width, height):
            raise ValueError(f"{path}: says {width}×{height} pixels, but {image} has {size[0]}×{size[1]}")
        cropped = [cropped_box(edges, width, height, how) for name, edges in objects if name == wnid]
        kept = np.array([box for box in cropped if box is not None], np.int64).reshape(-1, 4)
        if not len(kept):
            outside += 1
        elif 100 * int(covered(kept, how.side).sum()) >= PERCENT * how.side**2:
            too_large += 1
        else:
            samples.append(Sample(image, synsets[wnid], kept))
            if len(samples) == limit:
                break
    if not samples:
        raise ValueError(f"{boxes}: no image has boxes of less than {PERCENT} % of the crop")
    return Selection(samples, too_large, outside)


def covered(boxes: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """The pixels [side, side] that any of the boxes [k, 4] covers."""
    inside = np.zeros((side, side), np.bool_)
    for x0, y0, x1, y1 in boxes.tolist():
        inside[y0:y1, x0:x1] = True
    return inside
