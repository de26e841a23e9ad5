"""The paper's ImageNet case by its shape: VGG19's classifier, one class, from the logit to the last feature map.

The maps are synthetic, the weights seeded; the fit runs in a process of its own and asks for maps as it goes. After it
come its bare products, each alone, in the fit's dtype and on batches as large as those of its last pass that asks for
maps: accumulate (Gram twice, cross twice; ZᵀZ is multiplied as the symmetric product it is, and half its operations
count), signals (one layer down) and forward (three layers, once a sample). The time of one batch is scaled to all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from benchmarks.data import add_backend, add_repeats, add_threads
from benchmarks.networks import FEATURES, FeatureMaps, classifier
from benchmarks.tables import Told, markdown
from benchmarks.timing import finish, in_child, interleaved, peak_so_far, threads
from measured.cells import Value
from measured.units import seconds, size, times
from mipin_ref.backend import get_backend


@dataclass(frozen=True)
class Product:
    """[m, k] @ [k, n] a batch of b samples, one of the three being b; count: times a batch; symmetric: ZᵀZ."""

    part: str
    m: int
    k: int
    n: int
    count: int = 1
    symmetric: bool = False

    @property
    def operations(self) -> float:
        return self.count * self.m * self.k * self.n * (1.0 if self.symmetric else 2.0)

    def __str__(self) -> str:
        name = f"[{self.m}, {self.k}] @ [{self.k}, {self.n}]"
        return name + (", symmetric" if self.symmetric else "") + (f", {self.count} times" if self.count > 1 else "")


def products(batch: int, flat: int, hidden: int, classes: int) -> list[Product]:
    """All products of one batch."""
    return [
        Product("accumulate", hidden, batch, hidden, count=2, symmetric=True),
        Product("accumulate", hidden, batch, hidden),
        Product("accumulate", hidden, batch, flat),
        Product("forward", batch, flat, hidden),
        Product("forward", batch, hidden, hidden),
        Product("forward", batch, hidden, classes),
        Product("signals", batch, hidden, hidden),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 7, 7], help="of the feature map")
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--memory", default="2.5GB", help="of the fit; its process holds interpreter and network too")
    parser.add_argument("--batch", type=int, help="of the fit, by default what memory= allows")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    add_threads(parser)
    add_repeats(parser, 3)
    add_backend(parser)


def run(options: argparse.Namespace) -> Told:
    settings = {"count": options.threads, "backend": options.backend, "dtype": options.dtype}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "classifier.onnx")
        classifier(model, tuple(options.shape), options.hidden, options.classes)
        asked = {name: getattr(options, name) for name in ("samples", "target", "memory", "batch")}
        fitted = in_child(fit, model=str(model), **asked, **settings)
    spent = fitted.value
    sides = {"batch": spent["batches"][-1], "flat": prod(options.shape)}
    sides |= {"hidden": options.hidden, "classes": options.classes}
    timed = in_child(time_products, **sides, repeats=options.repeats, **settings)
    print(
        f"{sides['flat']} → {options.hidden} → {options.hidden} → {options.classes}, class {options.target}, "
        f"{options.samples:,} maps, {options.dtype}, memory={options.memory}, {options.threads} threads, backend "
        f"{options.backend}; batches of a pass: {', '.join(map(str, spent['batches']))}; products: medians of "
        f"{options.repeats}\n"
    )
    print(tables(products(**sides), timed.value, options.samples / sides["batch"], spent["fit"]))
    print(
        f"\nof the fit, making the maps: {seconds(spent['maps'])}; beside it, loading the network: "
        f"{seconds(spent['load'])}; peak resident of its process: {size(fitted.peak)}, {size(spent['pool'])} of it the "
        f"maps' pool; before the fit began: {size(spent['before'])}"
    )
    every, batches = products(**sides), options.samples / sides["batch"]
    figures: dict[str, Value] = {"fit": spent["fit"], "peak": fitted.peak, "before": spent["before"]}
    figures["batch"] = sides["batch"]
    for name, left_out in (("", ""), ("_without_forward", "forward")):
        some = [(one, once) for one, once in zip(every, timed.value, strict=True) if one.part != left_out]
        figures[f"operations{name}"] = batches * sum(one.operations for one, _ in some)
        figures[f"fit_of_products{name}"] = spent["fit"] / (batches * sum(one.count * once for one, once in some))
    return {"values": figures}


def tables(every: Sequence[Product], once: Sequence[float], batches: float, fit: float) -> str:
    """Each product with its time for all batches, and the fit's time against those of the parts.

    once: seconds of each product, one of its `count`, on one batch; fit: seconds.
    """
    rows, parts = [], dict.fromkeys(("accumulate", "signals", "forward"), 0.0)
    for product, seconds_once in zip(every, once, strict=True):
        spent, done = product.count * seconds_once * batches, product.operations * batches
        parts[product.part] += spent
        rows.append([product.part, str(product), f"{done / 1e12:.3g}", seconds(spent), f"{done / spent / 1e9:.0f}"])
    first = markdown(["part", "product of a batch", "TFLOP, all batches", "time", "GFLOP/s"], rows)
    rows, bare, names = [["fit", seconds(fit), times(1.0)]], 0.0, ""
    for part, spent in parts.items():
        bare, names = bare + spent, f"{names} + {part}" if names else f"bare {part}"
        rows.append([names, seconds(bare), times(fit / bare)])
    return first + "\n\n" + markdown(["what", "time", "fit ÷ this"], rows)


def fit(
    model: str, samples: int, target: int, memory: str, batch: int | None, count: int, backend: str, dtype: str
) -> dict[str, Any]:
    """Seconds of the fit, of loading and of making the maps; the batches of its passes; bytes of the maps' pool, and of
    the process before the fit.
    """
    with threads(count):
        began = time.perf_counter()
        net = mr.load(model)
        load = time.perf_counter() - began
        # The input is the map before its Relu, so both have the same shape.
        channels, height, width = net.input_shape
        maps = FeatureMaps(samples, (channels, height, width))
        before = peak_so_far()
        began = time.perf_counter()
        mr.fit(net, maps, target, at=FEATURES, memory=memory, batch_size=batch, backend=backend, dtype=dtype)
        spent = time.perf_counter() - began
    figures = {"fit": spent, "load": load, "maps": maps.seconds, "pool": maps.nbytes, "before": before}
    return {**figures, "batches": maps.passes}


def time_products(
    batch: int, flat: int, hidden: int, classes: int, repeats: int, count: int, backend: str, dtype: str
) -> list[float]:
    """The median seconds of each of `products`, once."""
    device = get_backend(backend, dtype)
    rng = np.random.default_rng(0)
    medians = []
    with threads(count):
        for product in products(batch, flat, hidden, classes):
            left = device.put(rng.random((product.k, product.m), dtype=np.float32)).T
            if product.part != "accumulate":
                left = device.xp.asarray(left, copy=True)
            right = left.T if product.symmetric else device.put(rng.random((product.k, product.n), dtype=np.float32))
            out = device.zeros((product.m, product.n))

            def multiply(left: Any = left, right: Any = right, out: Any = out) -> None:
                # The standard's matmul has no out; without one NumPy's would also time the system's giving of pages.
                if device.name == "numpy":
                    np.matmul(left, right, out=out)
                else:
                    left @ right
                    finish(device)

            medians.append(interleaved({"": multiply}, repeats, warm_up=1)[""].median)
    return medians
