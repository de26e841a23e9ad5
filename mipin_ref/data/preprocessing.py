"""What is done to stored values and shapes before they reach a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import check_size, checked_number

UINT8_SCALE = 255.0
MOST_AXES = 32
MOST_CHANNELS = 1 << 16


@dataclass(frozen=True)
class Preprocessing:
    """(value / scale - mean) / std as float32, and the network's per-sample shape.

    scale: divisor of every stored value; None means 255 for uint8 and 1 for floating-point values;
    mean, std: one number, or one per channel (axis 1; the last axis where only that one holds the channels);
    shape: per-sample shape of the network's input; None keeps the stored one;
    exif: whether image files are turned as their EXIF orientation says, or taken as they are stored;
    bgr: whether the channels are handed to the network in the order blue, green, red, as mean and std then are.
    Floating-point values are left alone, dtype included, where scale, mean and std are all None.
    Raises InvalidData where a number is not finite, scale is 0, or std or an axis of shape is not positive.
    """

    scale: float | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    shape: Sequence[int] | None = None
    exif: bool = True
    bgr: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None:
            scale = checked_number("preprocessing: scale", self.scale)
            if scale == 0:
                raise InvalidData("preprocessing: scale must be finite and not 0, got 0")
            object.__setattr__(self, "scale", scale)
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is None:
                continue
            numbers = _numbers(name, value)
            if name == "std" and min(numbers) <= 0:
                raise InvalidData(f"preprocessing: std must be positive, got {_text(numbers)}")
            object.__setattr__(self, name, numbers[0] if len(numbers) == 1 else numbers)
        if self.shape is not None:
            try:
                shape = tuple(int(axis) for axis in islice(self.shape, MOST_AXES + 1))
            except Exception as error:  # whatever an object of the user's raises
                raise InvalidData(f"preprocessing: shape must hold whole numbers, got {shown(self.shape)}") from error
            if len(shape) > MOST_AXES:
                raise InvalidData(f"preprocessing: shape has more than {MOST_AXES} axes")
            if not shape or min(shape) < 1:
                raise InvalidData(f"preprocessing: every axis of shape must be at least 1, got {shown(list(shape))}")
            check_size("preprocessing: shape", math.prod(shape))
            object.__setattr__(self, "shape", shape)

    @property
    def changes_values(self) -> bool:
        """Whether scale, mean or std was given."""
        return self.scale is not None or self.mean is not None or self.std is not None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON that a file keeps: every field, and what is done to image files of this shape."""
        plain: dict[str, Any] = asdict(self)
        if not self.bgr:
            # As files said before there was another order.
            del plain["bgr"]
        plain["scale"] = None if self.scale is None else float(self.scale)
        geometry = None if self.shape is None else image_geometry(self.shape)
        return plain | {"images": None if geometry is None else _image_record(tuple(self.shape or ()), geometry)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Preprocessing:
        """What `as_record` gave. Raises InvalidData or TypeError where it is not, or images are handled otherwise."""
        given = dict(record)
        images = given.pop("images", None)
        preprocessing = cls(**given)
        if preprocessing.as_record()["images"] != images:
            raise InvalidData("preprocessing: image files were read in a way that this version does not have")
        return preprocessing

    def difference(self, given: Preprocessing) -> tuple[str, str, str] | None:
        """The first number that `given` states and that is another here: its name, its value there and the one here.

        A mean of 0 and a std of 1 are none, equal numbers for all channels are one, and a scale of 255 is what none
        stands for where bytes are divided.
        """
        for name, without in (("scale", UINT8_SCALE), ("mean", 0.0), ("std", 1.0)):
            there, here = (getattr(one, name) for one in (given, self))
            if there is not None and _plain(there) != _plain(without if here is None else here):
                default = "255 for bytes, else 1" if name == "scale" else "none"
                return name, _text(_numbers(name, there)), default if here is None else _text(_numbers(name, here))
        return ("order of channels", "BGR", "RGB") if given.bgr and not self.bgr else None

    def does_as(self, other: Preprocessing) -> bool:
        """Whether both do the same to stored values."""
        return self.difference(other) is None and other.difference(self) is None

    def describe(self) -> str:
        """One line that states the whole preprocessing, for a person to read."""
        if self.scale is not None:
            parts = [f"values divided by {self.scale:g}"]
        else:
            parts = ["uint8 values divided by 255, floating-point values as stored"]
        if self.mean is not None:
            parts.append(f"minus mean {_text(_numbers('mean', self.mean))}")
        if self.std is not None:
            parts.append(f"divided by std {_text(_numbers('std', self.std))}")
        if self.bgr:
            parts.append("channels in the order BGR")
        line = ", then ".join(parts)
        if self.shape is not None:
            line += f"; each sample as {list(self.shape)}"
            geometry = image_geometry(self.shape)
            if geometry is not None:
                channels, height, width = geometry
                turned = "" if self.exif else "not turned by EXIF, "
                line += (
                    f"; image files {turned}as {'RGB' if channels == 3 else 'grayscale'}, shorter side resized "
                    f"(bilinear, antialiased) and centre crop to {height} x {width} pixels"
                )
        return line


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    given: "file" (or a folder), or "array" for what came in memory; preprocessing: what was done to the stored values,
    None where they came as the network takes them and what was done before is not known.
    """

    given: Literal["file", "array"]
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if self.given not in ("file", "array"):
            raise InvalidData(f"samples come from a file or an array, not {self.given!r}")


UNKNOWN = Source("array")


def _image_record(shape: tuple[int, ...], geometry: tuple[int, int, int]) -> dict[str, Any]:
    channels, height, width = geometry
    layout = "HW" if len(shape) == 2 else "CHW" if shape[0] == channels else "HWC"
    return {
        "channels": "RGB" if channels == 3 else "grayscale",
        "layout": layout,
        "resize": "shorter side, bilinear, antialiased",
        "crop": "centre",
        "size": [height, width],
    }


def _plain(value: float | Sequence[float]) -> tuple[float, ...]:
    """One number where all are equal."""
    numbers = _numbers("value", value)
    return numbers[:1] if len(set(numbers)) == 1 else numbers


def image_geometry(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(channels, height, width) that a network input of per-sample `shape` asks of an image file.

    [1 or 3, H, W], [H, W, 1 or 3] and [H, W] have one; a flat or one-pixel-wide shape such as [784] has none.
    """
    if len(shape) == 2:
        channels, height, width = 1, *shape
    elif len(shape) == 3 and shape[0] in (1, 3):
        channels, height, width = shape
    elif len(shape) == 3 and shape[2] in (1, 3):
        height, width, channels = shape
    else:
        return None
    return None if min(height, width) == 1 else (channels, height, width)


def _numbers(name: str, value: float | Sequence[float]) -> tuple[float, ...]:
    try:
        numbers = (
            tuple(float(v) for v in islice(value, MOST_CHANNELS + 1))
            if not isinstance(value, (int, float))
            else (float(value),)
        )
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(
            f"preprocessing: {name} must be a number or a sequence of numbers, got {shown(value)}"
        ) from error
    if len(numbers) > MOST_CHANNELS:
        raise InvalidData(f"preprocessing: {name} has more than {MOST_CHANNELS} values")
    if not numbers or not all(math.isfinite(v) for v in numbers):
        raise InvalidData(f"preprocessing: {name} must hold finite numbers, got {shown(value)}")
    return numbers


def _text(numbers: tuple[float, ...]) -> str:
    if len(numbers) == 1:
        return f"{numbers[0]:g}"
    shown = ", ".join(f"{v:g}" for v in numbers[:4])
    return f"({shown})" if len(numbers) <= 4 else f"({shown}, ... {len(numbers)} values)"
