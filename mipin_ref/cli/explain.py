"""`mipin explain`: arrays and pictures of any number of images, batch by batch."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.cli.attributor import Attributor, by_inverse, by_method
from mipin_ref.cli.files import open_samples, read_readable, tell_broken, told_of_turned
from mipin_ref.cli.model import load_model, open_model, told_of_end
from mipin_ref.cli.outputs import PICTURES, claim_folder
from mipin_ref.cli.pictures import ROWS, Maps, image_size, write_heatmaps, write_overlays, write_pages
from mipin_ref.cli.spool import npz_in_batches
from mipin_ref.data import names_of
from mipin_ref.errors import InvalidData
from mipin_ref.files import make_folder
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.layers import HostArray
from mipin_ref.panel.registry import method_named
from mipin_ref.progress import progress_bar

ARRAYS = "attribution.npz"
LARGEST_MAP = 2048
BATCH_BYTES = 256 << 20
PAGES = 10
"""The most pages in one batch."""


def explain(options: Namespace) -> int:
    """Write attribution.npz and, where the explained tensor has an image shape, pictures, batch by batch.

    Broken image files are named and left out. Returns 1 where there are such.
    """
    out = claim_folder(options, options.out, (ARRAYS, *PICTURES), pictures=True)
    net, way = _opened(options)
    tensor = way.tensor
    maps = _maps(net, tensor, options)
    data = open_samples(options, options.images, net, way.fitted)
    for line in told_of_end(net, tensor, options.at):
        print(line)
    make_folder(out)
    header = {"target": way.target, "tensor": tensor, "model_sha256": net.sha256, **way.header}
    if data.source.preprocessing is not None:
        header["preprocessing"] = data.source.preprocessing.as_record()
    if maps is not None:
        header["map"] = asdict(maps)
    arrays, pictures, failures = out / ARRAYS, list[Path](), list[str]()
    names = None if names_of(data) is None else np.array(names_of(data))
    size = _batch(net, tensor, maps, np.dtype(way.dtype).itemsize)
    with (
        npz_in_batches(arrays, header=json.dumps(header)) as append,
        progress_bar(True) as begin,
    ):
        advance = begin(f"{tensor}, class {way.target}", len(data))
        for start in range(0, len(data), size):
            read = read_readable(data, start, start + size)
            failures += read.failures
            advance(len(read.failures))
            if not len(read.x):
                continue
            try:
                res = way.attribute(read.x)
            except InvalidData as error:
                # Samples are counted within the batch.
                raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error
            positions = list(read.positions)
            append(**_arrays(res), **({} if names is None else {"names": names[positions]}))
            if maps is not None:
                drawn = maps.of(res)
                append(map=drawn)
                titles = [_title(number, names, res) for number in positions]
                pictures += _drawn(net, res, read.x, maps, drawn, out, positions, titles)
            advance(len(read.x))
        # Nothing is written where nothing was read.
        code = tell_broken(failures, len(data))
    print(arrays)
    if maps is None:
        print(f"tensor {tensor!r} of shape {list(net.shapes[tensor])} has no image shape: no pictures")
    for path in pictures:
        print(path)
    for line in told_of_turned(options.images, data):
        print(line)
    return code


def _opened(options: Namespace) -> tuple[mr.Network | ForwardOnly, Attributor]:
    """The network, and what it is explained by; methods of the forward pass alone take any file."""
    if options.method is not None and method_named(options.method).forward_only:
        net = open_model(options)
        if isinstance(net, ForwardOnly):
            print(f"{options.model}: explained by its forward pass alone, {net.reason}", flush=True)
        return net, by_method(net, options)
    loaded = load_model(options)
    return loaded, by_inverse(loaded, options) if options.method is None else by_method(loaded, options)


def _title(number: int, names: npt.NDArray[np.str_] | None, res: mr.Attribution) -> str:
    """What a picture says of its image: number, file, class."""
    named = "" if names is None else f" {names[number]}"
    return f"#{number}{named}, class {res.target}"


def _arrays(res: mr.Attribution) -> dict[str, HostArray]:
    """What is stored of a result: a source signal and a completeness gap of methods that have them."""
    names = ("value", "attribution", "contribution", "output")
    arrays: dict[str, HostArray] = {name: getattr(res, name) for name in names}
    if res.signal is not None:
        arrays["source"] = res.signal
    if res.delta is not None:
        arrays["delta"] = res.delta
    return arrays


def _maps(net: mr.Network | ForwardOnly, tensor: str, options: Namespace) -> Maps | None:
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


def _batch(net: mr.Network | ForwardOnly, tensor: str, maps: Maps | None, itemsize: int) -> int:
    """Images in a batch: whole pages whose arrays stay small, one page at least."""
    height, width = (maps and maps.size) or (0, 0)
    # Value, source, attribution, contribution; the map.
    page = ROWS * itemsize * (4 * prod(net.shapes[tensor]) + height * width)
    return ROWS * max(1, min(PAGES, BATCH_BYTES // page))


def _drawn(
    net: mr.Network | ForwardOnly,
    res: mr.Attribution,
    x: HostArray,
    maps: Maps,
    drawn: HostArray,
    out: Path,
    positions: Sequence[int],
    titles: Sequence[str],
) -> list[Path]:
    """The pictures of a batch. positions: of its images among all; the first page is that of the first image."""
    start = positions[0]
    paths = write_heatmaps(drawn, out, positions)
    paths += write_pages(net, [res], out, titles, start // ROWS)
    if maps.positive and maps.size is not None and maps.size == image_size(net, net.input):
        paths += write_overlays(net, res, x, drawn, maps.kind, out, titles, start // ROWS)
    return paths
