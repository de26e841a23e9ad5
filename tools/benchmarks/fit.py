"""Where a full-depth fit spends its time, in forwards of onnxruntime: fixed and per image, beside counted products.

Two fits in one process, of half the images and of all, after one that is not counted: what grows with the images is per
image, the rest fixed. Seconds are of the wall or, where the machine does something else, of the processor (`--clock`).
The forward pass is onnxruntime's on the file, in float32 with its default optimisations and as many threads, in the
same process. Images are seeded noise, coarse and fine, or photographs.

The bound counts products alone, at the speed of the forward pass: forward, way back, products of signals with values,
Grams by lags.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import mipin_ref as mr
from benchmarks.data import Floats, add_threads, model_path
from benchmarks.tables import Rows, Sheet, Told
from benchmarks.timing import in_child, threads
from measured.cells import Value
from measured.units import seconds
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.passes import fitter
from mipin_ref.inverse.passes import run as one_pass
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.plan import Plan
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.correlation_gram import CorrelationGram
from mipin_ref.solve.im2col_gram import Im2colGram
from mipin_ref.solve.stacked_gram import StackedGram

PARTS: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "forward passes": ((Recorder, "__call__"),),
    "signals down": ((one_pass, "descend"),),
    "products: correlations": ((CorrelationGram, "update"),),
    "products: rows written out": ((Im2colGram, "update"),),
    "products: depthwise": ((StackedGram, "update"),),
    "products: other": ((Sums, "update"),),
    "sums of channels": ((ChannelSums, "update"),),
    "solutions": ((Sums, "solve"),),
    "kept between passes": ((RowStore, "append"), (RowStore, "read"), (RowStore, "drop")),
    "which passes": ((fitter, "waves"),),
}
"""What is clocked: owner and function; what one calls of another counts as the other's."""

CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


class Shares:
    """Seconds by part, of functions that call one another."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = dict.fromkeys((*PARTS, "rest"), 0.0)
        self._clock, self._stack, self._since = clock, ["rest"], clock()

    def _charge(self) -> None:
        now = self._clock()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Meanwhile time is this part's."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()


@contextmanager
def clocked(clock: Callable[[], float]) -> Iterator[Shares]:
    """The shares of what is called meanwhile."""
    shares = Shares(clock)
    with ExitStack() as stack:
        for name, functions in PARTS.items():
            for owner, function in functions:
                before = getattr(owner, function)
                setattr(owner, function, _clocked(shares, name, before))
                stack.callback(setattr, owner, function, before)
        yield shares
        shares._charge()


def _clocked(shares: Shares, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*given: Any, **named: Any) -> Any:
        with shares.part(name):
            return function(*given, **named)

    return inner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=model_path("mnist_cnn"), help="an ONNX file (mnist_cnn)")
    parser.add_argument("--torchvision", metavar="NAME", help="in place of it, an architecture with seeded weights")
    parser.add_argument("--side", type=int, default=224, help="of that architecture's images (%(default)s)")
    parser.add_argument("--images", type=Path, help="a folder of photographs, scaled to (x - 127) / 128")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    add_threads(parser)


COLUMNS = {
    "part": "{part}",
    "time": "{time:seconds}",
    "fixed, forwards": "{fixed:.1f}",
    "an image, forwards": "{each:.1f}",
    "all, forwards an image": "{all:.1f}",
}


def parts_of(told: Mapping[str, Any], samples: int) -> Rows:
    """A row a part: seconds of the larger fit, fixed and per image in forwards, and all of it in forwards an image."""
    forward, whole, half = told["forward"], told["whole"], told["half"]
    less, rows = samples // 2, Rows()
    parts = [name for name in whole if whole[name] > 0]
    for name in [*parts, "all"]:
        big, small = (sum(one.values()) if name == "all" else one[name] for one in (whole, half))
        each = max(0.0, (big - small) / (samples - less))
        fixed = max(0.0, big - samples * each)
        forwards = {"fixed": fixed / forward, "each": each / forward, "all": big / samples / forward}
        rows.append({"part": name, "time": big, **forwards})
    return rows


def run(options: argparse.Namespace) -> Told:
    given = ("samples", "target", "dtype", "memory", "clock", "torchvision", "side")
    asked = {name: getattr(options, name) for name in given}
    images = None if options.images is None else str(options.images)
    told = in_child(measured, **asked, model=str(options.model), images=images, count=options.threads).value
    name = options.torchvision or options.model.stem
    print(
        f"{name}, {options.samples} images, {options.dtype}, memory={options.memory}, {options.threads} threads, "
        f"clock: {options.clock}; forward pass {seconds(told['forward'])} an image; fit made in {told['dtype']}; "
        f"{told['busy']:.2f} processor seconds a second\n"
    )
    sheet = Sheet(COLUMNS)
    for row in parts_of(told, options.samples):
        sheet.add(**row)
    print("\nCounted products, forwards an image: " + ", ".join(f"{k} {v:.1f}" for k, v in told["bound"].items()))
    bound: dict[str, Value] = {name.replace(" ", "_"): value for name, value in told["bound"].items()}
    whole: dict[str, Value] = {
        f"part_{row['part']}".replace(" ", "_").replace(":", ""): row["all"] for row in sheet.rows
    }
    return {"rows": sheet.rows, "values": {"forward_seconds": told["forward"], **bound, **whole, **_all(sheet.rows)}}


def _all(rows: Rows) -> dict[str, Value]:
    return {f"all_{key}": value for key, value in rows[-1].items() if key != "part"}


def measured(
    model: str,
    torchvision: str | None,
    side: int,
    images: str | None,
    samples: int,
    target: int,
    dtype: Any,
    memory: str,
    clock: str,
    count: int,
) -> dict[str, Any]:
    """forward: seconds an image; whole, half: of the fits by part; bound: forwards an image by what is multiplied."""
    file = _file(model, torchvision, side)
    net = mr.load(file)
    x = _images(images, samples, net.input_shape)
    now = CLOCKS[clock]
    with threads(count), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forward = _forward(file, net, x, count, now)
        mr.fit(net, x[:4], target, dtype=dtype, memory=memory)
        spent: list[dict[str, float]] = []
        for part in (x[: samples // 2], x):
            began, busy = time.perf_counter(), time.process_time()
            with clocked(now) as shares:
                inverse = mr.fit(net, part, target, dtype=dtype, memory=memory)
            spent.append(shares.seconds)
            busy = (time.process_time() - busy) / (time.perf_counter() - began)
    bound = _bound(inverse.plan, sum(layer.operations for layer in net.layers))
    return {
        "forward": forward,
        "half": spent[0],
        "whole": spent[1],
        "bound": bound,
        "busy": busy,
        "dtype": inverse.options.dtype,
    }


def _file(model: str, torchvision: str | None, side: int) -> bytes:
    if torchvision is None:
        return Path(model).read_bytes()
    from torchvision import models

    from benchmarks.seeded_torch import Architecture, exported, seeded

    network = seeded(Architecture(lambda: getattr(models, torchvision)(weights=None), side))
    return exported(network, side, "torchscript", 17)


def _images(folder: str | None, samples: int, shape: tuple[int, ...]) -> Floats:
    """Photographs, and then the same mirrored, or noise [samples, channels, height, width]."""
    if folder is not None:
        from paper.photographs import photographs, prepared

        pictures = [prepared(one.pixels, shape[1]) for one in photographs(Path(folder))]
        return np.stack([*pictures, *(one[..., ::-1] for one in pictures)])[:samples]
    rng, (channels, height, width) = np.random.default_rng(0), shape
    coarse = rng.standard_normal((samples, channels, -(-height // 16), -(-width // 16)))
    coarse = coarse.repeat(16, axis=2).repeat(16, axis=3)[:, :, :height, :width]
    return (0.5 * coarse + 0.1 * rng.standard_normal(coarse.shape)).astype(np.float32)


def _forward(file: bytes, net: mr.Network, x: Floats, count: int, now: Callable[[], float]) -> float:
    """Seconds an image: the least of five times over all of them, in batches of eight."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    spent = []
    for _ in range(5):
        began = now()
        for start in range(0, len(x), 8):
            session.run(None, {net.input: x[start : start + 8]})
        spent.append((now() - began) / len(x))
    return min(spent)


def _bound(plan: Plan, forward: float) -> dict[str, float]:
    """Operations by what is multiplied, in forwards: Grams at every second lag, as the others are their transposes."""
    back = gram = 0.0
    for step in plan.fitted:
        back += sum(layer.operations for layer in step.layers)
        for layer in step.located:
            for part in layer.parts:
                window = part.window
                lags = prod(-(-(2 * k - 1) // s) for k, s in zip(window.kernel, window.strides, strict=True))
                gram += lags * prod(part.locations) * part.outputs**2 / layer.groups
    bound = {"forward": 1.0, "way back": back / forward, "cross products": back / forward, "Grams": gram / forward}
    return {**bound, "together": sum(bound.values())}
