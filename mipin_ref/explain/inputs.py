"""What is to be explained, as it is stored: opened as often as it takes, under one preprocessing or another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mipin_ref.data import (
    Preprocessing,
    Samples,
    as_samples,
    files_of,
    first,
    holds_pixels,
    named_by,
    names_of,
    open_data,
)
from mipin_ref.data.arrays import WHOLE
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.data.readers import AS_STORED, open_images
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.predict import Net
from mipin_ref.graph.network import Network
from mipin_ref.layers import Shape
from mipin_ref.options import check_size
from mipin_ref.panel.fallback import holds_whole_pixels
from mipin_ref.reading import parse_json, read_bytes, regular_file
from mipin_ref.text import printable

Kind = Literal["image", "signal", "table", "tokens"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Samples of a network's input that are still stored.

    given: a folder, a file, a list of image files, or an array; inputs: of the network, the explained one first, of
    which `given` holds several by name; shape: of the explained one; whole: whether it holds integers; key: array of
    an .npz; limit: how many of them; exif: see Preprocessing; pixels: whether bytes are stored; stored_sample: the
    shape of one as it is stored; channels: of two axes the one that holds channels, counted with the batch, None where
    none does; turned_grey: whether they are image files, of which the network sees one channel; tokens: whether values
    are ids that are looked up in a table; option: that names the key.
    """

    given: Any
    inputs: tuple[str, ...]
    shape: Shape
    whole: bool
    key: str | None
    limit: int | None
    exif: bool
    pixels: bool
    stored_sample: Shape
    channels: int | None
    turned_grey: bool = False
    tokens: bool = False
    option: str = "key"

    @classmethod
    def of(
        cls,
        net: Net | Inputs,
        given: Any,
        *,
        key: str | None = None,
        limit: int | None = None,
        exif: bool = True,
        option: str = "key",
    ) -> Inputs:
        """The samples as they are stored, looked at. option: that names the key.

        Raises InvalidData or CorruptFile where they cannot be read.
        """
        channels = net.channels if isinstance(net, Inputs) else _channels_of(net)
        tokens = net.tokens if isinstance(net, Inputs) else reads_tokens(net)
        made = cls(given, net.inputs, net.input_shape, net.whole, key, limit, exif, False, net.input_shape, channels)
        made = replace(made, tokens=tokens, option=option)
        probe = made.open(Preprocessing(1.0))
        check_size("x", len(probe))
        stored = tuple(getattr(probe, "stored_sample", probe.shape[1:]))
        pixels, geometry = holds_pixels(probe) and not tokens, image_geometry(net.input_shape)
        grey = geometry is not None and geometry[0] == 1 and files_of(probe) is not None
        return replace(made, pixels=pixels, stored_sample=stored, turned_grey=grey)

    def open(self, preprocessing: Preprocessing | None) -> Samples:
        """The samples under a preprocessing; None where they are what the network reads. Raises as `of` does."""
        known = preprocessing
        if known is not None:
            # What was fitted on images as they are stored explains such.
            known = replace(known, shape=self.shape, exif=known.exif and self.exif)
        plain = replace(WHOLE if self.whole else AS_STORED, shape=self.shape)
        if len(self.inputs) > 1:
            data = self._together(known)
        elif isinstance(self.given, str | os.PathLike):
            with named_by(self.option):
                data = open_data(self.given, key=self.key, preprocessing=known or plain)
        elif _are_files(self.given):
            data = open_images([Path(one) for one in self.given], known or plain)
        else:
            data = as_samples(_channels_as(self.given, self.shape), known, whole=self.whole)
        return data if self.limit is None else first(data, self.limit)

    def _together(self, preprocessing: Preprocessing | None) -> Samples:
        """The same with the samples of the other inputs."""
        if self.key is not None:
            raise InvalidData(
                f"{self.described()}: the network reads several inputs, each under its own name; leave the key out"
            )
        if _are_files(self.given):
            raise InvalidData("image files hold one input, and the network reads several: give an .npz file of them")
        return as_samples(self.given, preprocessing, whole=self.whole, inputs=self.inputs)

    @property
    def input_shape(self) -> Shape:
        """The same as `shape`, as a network has it."""
        return self.shape

    @property
    def stored(self) -> bool:
        """Whether the samples are as a file or an image holds them; numbers in memory are what the network reads."""
        return self.pixels or isinstance(self.given, str | os.PathLike) or _are_files(self.given)

    @property
    def prepared(self) -> bool:
        """Whether the samples come with their preprocessing, as `mr.data.open_data` opens them."""
        source = getattr(self.given, "source", None)
        return getattr(source, "preprocessing", None) is not None

    @property
    def picture(self) -> tuple[int, int] | None:
        """(H, W) of what people see of a sample; None where it is no image."""
        geometry = image_geometry(self.shape) if self.channels is None else None
        if geometry is None and len(self.shape) == 1 and len(self.stored_sample) > 1:
            geometry = image_geometry(self.stored_sample)
        return None if geometry is None or self.tokens else geometry[1:]

    @property
    def kind(self) -> Kind:
        """What a sample is to people: an image, a signal over time, a row of features, or a sequence of tokens."""
        if self.tokens:
            return "tokens"
        if self.picture is not None:
            return "image"
        return "signal" if len(self.shape) == 2 and max(self.shape) > 1 else "table"

    @property
    def length(self) -> int:
        """How many steps a signal has."""
        return prod(size for axis, size in enumerate(self.shape, 1) if axis != self.channels)

    @property
    def noun(self) -> str:
        """What a sample is called."""
        return {"image": "image", "signal": "signal", "table": "row", "tokens": "text"}[self.kind]

    def names(self, data: Samples) -> tuple[str, ...]:
        """What the samples are called: by their files, else by their numbers."""
        names = names_of(data)
        return tuple(f"{self.noun} {number}" for number in range(len(data))) if names is None else tuple(names)

    def described(self) -> str:
        """What they are, in a few words."""
        if isinstance(self.given, str | os.PathLike):
            return str(self.given)
        return f"{len(self.given)} files" if _are_files(self.given) else "the array given"


def reads_tokens(net: Net) -> bool:
    """Whether values are ids: rows of a table are looked up by them, or they are integers and no picture's."""
    if isinstance(net, Network) and net.embeddings:
        return True
    return net.whole and not holds_whole_pixels(net)


def _channels_of(net: Net) -> int | None:
    """As a layer tells it, or where there is but one channel; of [H, W] no layer does."""
    shape = net.input_shape
    if len(shape) != 2:
        return None
    told = net.channel_axis(net.input)
    return shape.index(1) + 1 if told is None and 1 in shape else told


def _are_files(given: Any) -> bool:
    several = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    return several and all(isinstance(one, str | os.PathLike) for one in given)


def _channels_as(given: Any, shape: Shape) -> Any:
    """Bytes [N, H, W, C] as a network of [C, H, W] takes them; anything else as it is."""
    if not isinstance(given, np.ndarray) or given.dtype != np.uint8 or given.ndim != 4 or len(shape) != 3:
        return given
    moved: npt.NDArray[Any] = np.moveaxis(given, -1, 1)
    return moved if given.shape[1:] != tuple(shape) and moved.shape[1:] == tuple(shape) else given


def source_files(data: Samples) -> tuple[Path, ...] | None:
    """The image files of samples, None of arrays. Raises InvalidData where some do not exist any more."""
    files = files_of(data)
    if files is not None and (lost := [file for file in files if not file.is_file()]):
        raise InvalidData(f"{lost[0]}: no such file any more")
    return files


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """A text file's lines, or a JSON list of texts: names of features, or a vocabulary.

    Raises InvalidData and CorruptFile, naming the file.
    """
    place = regular_file(path, "a file of names")
    content = read_bytes(place)
    if content.lstrip()[:1] == b"[":
        names = parse_json(content, place)
        if not all(isinstance(name, str | int | float) for name in names):
            raise InvalidData(f"{place}: must be a list of names")
        return [printable(str(name)) for name in names]
    try:
        return [printable(line.strip("\r\n")) for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{place}: names are text in UTF-8, one a line, or a JSON list") from error
