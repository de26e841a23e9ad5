"""What onnxruntime's optimisations of the forward pass change of an inverse in float32: masks, S and A.

One inverse is applied to the same images twice, of a forward pass recorded with the optimisations, as `attribute` does,
and of one recorded as written. Images are photographs, or a network's own test samples.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from benchmarks.data import Floats, model_path
from benchmarks.timing import threads
from mipin_ref.backend import get_backend
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.descent.ride import Ride


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default="clutter_resnet", help="one that comes with the package (%(default)s)")
    parser.add_argument("--model", type=Path, help="in place of it, an ONNX file of a classifier of photographs")
    parser.add_argument("--photographs", type=Path, help="its folder of *_<label>.jpg")
    parser.add_argument("--samples", type=int, default=20, help="to fit on, and as many to explain (%(default)s)")
    parser.add_argument("--target", type=int, default=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    net, x, new = _data(options)
    with threads(1):
        inverse = mr.fit(net, x, options.target, dtype="float32", memory="4GB")
        told = changed(replace(inverse, backend=get_backend("numpy", "float32")), new)
    print(
        f"{told['flips']:,} of {told['masks']:,} masks fell out another way in {len(new)} samples; A differs by up to "
        f"{told['apart']:.1e} of the largest entry, {told['share']:.1e} of the entries by more than 1e-3 of it; the "
        f"least correlation of a sample's S and A is 1 - {1 - told['least']:.1e}"
    )
    return {"values": told}


def changed(inverse: mr.Inverse, x: Floats) -> dict[str, float]:
    """How an inverse's signals of x differ between both recordings.

    masks: how many there are; flips: how many of them differ; least: the lowest correlation of a sample's S or A.
    """
    at, logits, n = inverse.plan.explained, inverse.plan.logits, len(x)
    way = inverse._way([at], ride=True)
    assert isinstance(way, Ride)
    wanted = [*way.values, at, logits]
    quick, plain = (
        Recorder(inverse.net, wanted, way.switches, way.fired, quick=one, keep=True)(x) for one in (True, False)
    )
    flips = sum(int(np.sum(quick.fired[one] != plain.fired[one])) for one in way.fired)
    found, expected = (way(way.prepared(one), last=False)[at].reshape(2, n, -1) for one in (quick, plain))
    apart = np.abs(found[1] - expected[1]) / np.abs(expected[1]).max()
    pairs = zip(found.reshape(2 * n, -1), expected.reshape(2 * n, -1), strict=True)
    return {
        "masks": sum(plain.fired[one].size for one in way.fired),
        "flips": flips,
        "apart": float(apart.max()),
        "share": float(np.mean(apart > 1e-3)),
        "least": float(min(np.corrcoef(a, b)[0, 1] for a, b in pairs)),
    }


def _data(options: argparse.Namespace) -> tuple[mr.Network, Floats, Floats]:
    """The network, samples to fit on, and samples to explain, of photographs the same."""
    if options.model is None:
        path = model_path(options.network)
        with np.load(path.with_name("calibration.npz")) as data:
            x, new = (data[name][: options.samples].astype(np.float32) / 255 for name in ("x", "x_test"))
        return mr.load(path), x, new
    if options.photographs is None:
        raise SystemExit("--model needs --photographs")
    from paper.photographs import photographs, prepared

    net = mr.load(options.model)
    x = np.stack([prepared(one.pixels, net.input_shape[-1]) for one in photographs(options.photographs)])
    return net, x[: options.samples], x[: options.samples]
