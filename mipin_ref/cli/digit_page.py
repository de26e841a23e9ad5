"""The page that `mipin demo --html` writes: the first thing that a visitor plays with."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.outputs import claim_file
from mipin_ref.data import PRESETS, builtin
from mipin_ref.files import temporary_folder

NETWORK = "mnist_mlp"
SAMPLES = 1000


def write_digit_page(options: Namespace) -> None:
    """Fit all ten classes of the small built-in digit network on the embedded sample, and write a page to draw on."""
    path = claim_file(options, options.html)
    example = builtin(NETWORK)
    net = mr.load(example.model)
    with np.load(example.calibration, allow_pickle=False) as stored:
        x, x_test, y_test = (stored[key] for key in ("x", "x_test", "y_test"))
    x, firsts = (
        a.astype(np.float32) / 255 for a in (x[:SAMPLES], x_test[[np.argmax(y_test == c) for c in range(net.classes)]])
    )
    print(f"fitting {net.classes} classes on {len(x)} embedded digits, one inverse a layer")
    inverses = mr.fit(net, x, list(range(net.classes)), progress=True)
    with temporary_folder(path) as folder:
        mr.export(
            inverses,
            folder / "explainer.onnx",
            preprocess=PRESETS["unit"],
            precision="int8",
            check=firsts,
            class_names=example.card["class_names"],
            html=path,
        )
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB; open it in a browser and draw, it needs no server")
