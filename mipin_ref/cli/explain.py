"""`mipin explain`: arrays and pictures of any number of images, batch by batch."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.attributor import by_inverse, by_method
from mipin_ref.cli.files import folder, open_samples
from mipin_ref.cli.pictures import ROWS, Maps, image_size, write_heatmaps, write_overlays, write_pages
from mipin_ref.cli.spool import npz_in_batches
from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray as Array
from mipin_ref.progress import progress_bar

LARGEST_MAP = 2048
BATCH_BYTES = 256 << 20
PAGES = 10
"""The most pages in one batch."""


def explain(options: Namespace) -> None:
    """Write attribution.npz and, where the explained tensor has an image shape, pictures, batch by batch."""
    net = mr.load(options.model, output=options.output)
    way = by_inverse(net, options) if options.method is None else by_method(net, options)
    tensor = way.tensor
    maps = _maps(net, tensor, options)
    data = open_samples(options, options.images, net)
    out = folder(options.out)
    header = {"target": way.target, "tensor": tensor, "model_sha256": net.sha256, **way.header}
    if maps is not None:
        header["map"] = asdict(maps)
    arrays, pictures = out / "attribution.npz", list[Path]()
    size = _batch(net, tensor, maps, np.dtype(way.dtype).itemsize)
    with (
        npz_in_batches(arrays, header=json.dumps(header)) as append,
        progress_bar(True) as begin,
    ):
        advance = begin(f"{tensor}, class {way.target}", len(data))
        for start in range(0, len(data), size):
            x = data[start : start + size]
            try:
                res = way.attribute(x)
            except InvalidData as error:
                # Samples are counted within the batch.
                raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error
            append(**_arrays(res))
            if maps is not None:
                drawn = maps.of(res)
                append(map=drawn)
                pictures += _drawn(net, res, x, maps, drawn, out, start)
            advance(len(x))
    print(arrays)
    if maps is None:
        print(f"tensor {tensor!r} of shape {list(net.shapes[tensor])} has no image shape: no pictures")
    for path in pictures:
        print(path)


def _arrays(res: mr.Attribution) -> dict[str, Array]:
    """What is stored of a result: a source signal and a completeness gap of methods that have them."""
    names = ("value", "attribution", "contribution", "output")
    found: dict[str, Array] = {name: getattr(res, name) for name in names}
    if res.signal is not None:
        found["source"] = res.signal
    if res.delta is not None:
        found["delta"] = res.delta
    return found


def _maps(net: mr.Network, tensor: str, options: Namespace) -> Maps | None:
    """Which maps to draw: signed ones of the input, the positive part inside; None where the tensor is no image."""
    positive = tensor != net.input
    if options.size is None:
        return None if image_size(net, tensor) is None else Maps(options.map, positive)
    size = image_size(net, net.input) if options.size == "input" else _height_and_width(options.size)
    if size is None:
        raise InvalidData(f"--size input: the input {net.input!r} of shape {list(net.input_shape)} is no image")
    if image_size(net, tensor) is None:
        raise InvalidData(f"--size: tensor {tensor!r} of shape {list(net.shapes[tensor])} has no map to resize")
    return Maps(options.map, positive, size)


def _height_and_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= min(size) <= max(size) <= LARGEST_MAP:
        raise InvalidData(
            f"--size must be 'input' or HxW in pixels, from 1x1 to {LARGEST_MAP}x{LARGEST_MAP}, not {text!r}"
        )
    return size


def _batch(net: mr.Network, tensor: str, maps: Maps | None, itemsize: int) -> int:
    """Images in a batch: whole pages whose arrays stay small, one page at least."""
    height, width = (maps and maps.size) or (0, 0)
    # Value, source, attribution, contribution; the map.
    page = ROWS * itemsize * (4 * prod(net.shapes[tensor]) + height * width)
    return ROWS * max(1, min(PAGES, BATCH_BYTES // page))


def _drawn(
    net: mr.Network, res: mr.Attribution, x: Array, maps: Maps, drawn: Array, out: Path, start: int
) -> list[Path]:
    """The pictures of a batch that begins at image `start`, which begins a page."""
    titles = [f"#{start + i}, class {res.target}" for i in range(len(res))]
    paths = write_heatmaps(drawn, out, start)
    paths += write_pages(net, [res], out, titles, start // ROWS)
    if maps.positive and maps.size is not None and maps.size == image_size(net, net.input):
        paths += write_overlays(net, res, x, drawn, maps.kind, out, titles, start // ROWS)
    return paths
