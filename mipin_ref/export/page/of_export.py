"""What a page is told of an explainer that is being exported, and the pictures that it begins with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.errors import InvalidData
from mipin_ref.export.agreement import Agreement
from mipin_ref.export.asked import Asked
from mipin_ref.export.chosen import PIXELS, TARGET
from mipin_ref.export.page.render import Example, page_of
from mipin_ref.export.page.told import Grid, PageInput, Told
from mipin_ref.export.pixels import Pixels
from mipin_ref.export.precision import SAID
from mipin_ref.graph.ids import looks_up
from mipin_ref.graph.layer_list import image_size
from mipin_ref.graph.merged import samples_at_a_time
from mipin_ref.inverse.options import Options, ridge_text

EXAMPLES = 12
"""Pictures that a page offers to begin with, at most."""


class PageOf:
    """A page of an explainer: checked before the explainer is made, made after it.

    wanted, pixels, names: what is exported, how its pixels are preprocessed, None where its input is the model's, and
    the names of all classes, if known. Raises InvalidData where its input is no picture, the explained tensor is no
    map, or it is not known how pixels become its input.
    """

    def __init__(self, wanted: Asked, pixels: Pixels | None, names: Sequence[str] | None, title: str = "") -> None:
        net, of = wanted.net, wanted.preprocessing if pixels is None else pixels.preprocessing
        if looks_up(net):
            raise InvalidData(
                f"export: a page reads pictures, and input {net.input!r} holds ids of tokens: leave option 'html' out; "
                "explaining texts with their tokenizer writes pages of coloured tokens"
            )
        if len(net.inputs) > 1:
            raise InvalidData(
                f"export: a page reads pictures alone, and the network reads {', '.join(map(repr, net.inputs[1:]))} of "
                "each sample besides: leave option 'html' out"
            )
        if (samples_at_a_time(net) or 1) > 1:
            raise InvalidData(
                f"export: a page reads one picture at a time, and the file runs on {samples_at_a_time(net)} at a time "
                "alone: leave option 'html' out"
            )
        if of is None:
            raise InvalidData(
                "export: a page reads pictures, and it is not known what is to be done to their pixels: option "
                "'preprocess' says it"
            )
        if any(isinstance(one, tuple) for one in map(net.target, wanted.targets)):
            raise InvalidData(
                "export: a page explains classes, and the targets are entries of an output of several axes: leave "
                "option 'html' out"
            )
        if net.reads is not None:
            raise InvalidData(
                f"export: a page computes with floating-point pixels, and input {net.input!r} reads integers "
                f"({net.reads}): leave option 'html' out"
            )
        name, shape = (net.input, net.input_shape) if pixels is None else (PIXELS, pixels.shape)
        self._wanted, self._pixels, self._preprocessing = wanted, pixels, of
        self._input = PageInput(name, tuple(shape), net.input_shape, of, raw=pixels is not None)
        self._grid = _grid(wanted, self._input)
        self._names = list(names) if names is not None else [f"class {index}" for index in range(net.classes)]
        self._title = title

    def made(
        self,
        model: bytes,
        input: str,
        exact: Agreement,
        optimised: Agreement,
        x: npt.NDArray[Any] | None,
        precision: str,
    ) -> str:
        """The page. input: of the model, its name; x: inputs [n, *input_shape] of which some are its examples, None for
        none; precision: of weights.

        Raises as `page_of` does.
        """
        net, wanted = self._wanted.net, self._wanted
        inner = wanted.tensor != net.input
        told = Told(
            self._title,
            replace(self._input, name=input),
            TARGET if len(wanted.targets) > 1 else None,
            wanted.targets,
            self._names,
            _probability(wanted),
            wanted.tensor,
            self._grid,
            inner,
            self._facts(model, exact, optimised, precision),
        )
        return page_of(model, told, [] if x is None else self._examples(x))

    def _facts(self, model: bytes, exact: Agreement, optimised: Agreement, precision: str) -> list[tuple[str, str]]:
        wanted, first = self._wanted, self._wanted.inverses[0]
        net, samples = wanted.net, sorted({one.samples for one in wanted.inverses})
        fitted = f"{samples[0]:,}" if len(samples) == 1 else f"{samples[0]:,} to {samples[-1]:,}"
        size = f"{len(model) / 1e6:.1f} MB{SAID[precision]}"
        return [
            ("model", f"SHA-256 {net.sha256[:16]}…, output {net.output}, {net.classes:,} classes"),
            ("classes explained", "all" if len(wanted.targets) == net.classes else f"{len(wanted.targets):,}"),
            ("explained", f"tensor {wanted.tensor} {list(net.shapes[wanted.tensor])}"),
            ("fitted on", f"{fitted} calibration samples"),
            ("options", ", ".join(_said(first.options))),
            ("pixels", self._preprocessing.describe().split(";")[0]),
            ("explainer", f"an ONNX file of {size}, which this page holds"),
            ("agreement", f"with mipin_ref on {exact.samples} samples: {exact}"),
            ("optimised", f"with the optimisations of onnxruntime, as here: {optimised}"),
        ]

    def _examples(self, x: npt.NDArray[Any]) -> list[Example]:
        known, grid = self._pixels or Pixels.of(self._wanted.net, self._preprocessing), self._input.grid
        bytes_ = known.of_inputs(np.asarray(x[:EXAMPLES]))
        if bytes_.ndim == 2:
            # A flat input holds its channels one after the other.
            bytes_ = np.moveaxis(bytes_.reshape(-1, grid.channels, grid.height, grid.width), 1, -1)
        return [Example(_png(one)) for one in bytes_]


def _grid(wanted: Asked, given: PageInput) -> Grid:
    """The explained tensor as a map."""
    net, tensor = wanted.net, wanted.tensor
    if tensor == net.input:
        return given.grid
    shape, axis = net.shapes[tensor], net.channel_axis(tensor)
    size = image_size(shape, axis)
    if size is None:
        raise InvalidData(
            f"export: tensor {tensor!r} of shape {list(shape)} is no map, which is what pages show; export an inverse "
            "of a map or of the input, option 'at'"
        )
    return Grid(1 if axis is None else shape[axis - 1], *size, last=axis is not None and axis == len(shape))


def _probability(wanted: Asked) -> str | None:
    net = wanted.net
    return None if net.probability is None else net.head or "softmax"


def _said(options: Options) -> list[str]:
    """The ridge, and what else is not as it is by default."""
    values, plain = asdict(options), {one.name: one.default for one in fields(Options)}
    others = (f"{name} {value}" for name, value in values.items() if name != "ridge" and value != plain[name])
    return [f"ridge {ridge_text(options.ridge)}", *others]


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return file.getvalue()
