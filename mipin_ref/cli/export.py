"""`mipin export`: fitted inverses as one ONNX file that explains by itself."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import mipin_ref as mr
from mipin_ref.cli.arguments import targets
from mipin_ref.cli.files import asked_preprocessing, opened
from mipin_ref.cli.model import load_model
from mipin_ref.cli.outputs import claim_file
from mipin_ref.data import Samples, as_samples, first
from mipin_ref.explain.class_names import class_names_of
from mipin_ref.explain.fits import Inverses, given_inverses
from mipin_ref.export.export import CHECKED


def export(options: Namespace) -> None:
    """Write the explainer of the inverses, and say how well it agrees with this package."""
    path = claim_file(options, options.out)
    page = None if options.html is None else claim_file(options, options.html)
    net = load_model(options)
    inverses = given_inverses(net, options.inverse, "numpy")
    asked = None if options.target is None else targets(options.target)
    names = class_names_of(net, options.class_names, Path(options.model))
    made = mr.export(
        inverses,
        path,
        at=options.at,
        targets=asked,
        preprocess=asked_preprocessing(options),
        half=options.half,
        precision=options.precision,
        check=_check(options, net, inverses),
        class_names=names.known or None,
        html=page,
    )
    print(f"{made.path}: {made.bytes:,} bytes, opset {made.opset}")
    if (common := next(iter(inverses.values())).report.told_common) is not None:
        print(f"{len(inverses):,} classes: {common}")
    for name, shape in {**made.inputs, **made.outputs}.items():
        print(f"  {'input' if name in made.inputs else 'output'} {name} {list(shape)}")
    print(f"without optimisation, on {made.exact.samples} samples: {made.exact}")
    print(f"with all of onnxruntime's: {made.optimised}")
    if made.foreign:
        print(f"it runs where the model does: {', '.join(made.foreign)} are the model's own operators, not ONNX's")
    if made.page is not None:
        print(f"{made.page}: {made.page.stat().st_size:,} bytes; open it in a browser, it needs no server")
    print(f"next: run it where ONNX runs, in Python as onnxruntime.InferenceSession({str(made.path)!r})")


def _check(options: Namespace, net: mr.Network, inverses: Inverses) -> Samples | None:
    """The samples of --check, preprocessed as the calibration data were."""
    if options.check is None:
        return None
    known = next(iter(inverses.values())).preprocessing
    if len(net.inputs) > 1 or known is None:
        return first(as_samples(options.check, whole=net.whole, inputs=net.inputs), CHECKED)
    return first(opened(net, options.check, options.key, known), CHECKED)
