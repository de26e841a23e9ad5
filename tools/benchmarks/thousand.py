"""All classes of a classifier in one explainer, with its page: time, size, agreement.

The inverses are fitted on images, and where these are few on crops, flips and mosaics of them, as `mipin explain` makes
them, and stored in half precision.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import mipin_ref as mr
from benchmarks.data import model_path, name_of
from benchmarks.tables import Sheet, Told
from measured.cells import Value
from mipin_ref.data import Preprocessing
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.calibration import calibration_from
from mipin_ref.explain.chosen import choose
from mipin_ref.explain.inputs import Inputs
from mipin_ref.export.export import Exported
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.progress import progress_bar

NETWORK = "clutter_vgg"
SHOWN = 12
"""Photographs that the page begins with, and that the file is compared on."""


COLUMNS = {
    "network": "{network}",
    "classes": "{classes:comma}",
    "at": "{at}",
    "common": "{common}",
    "samples": "{samples}",
    "fit, processor": "{fit:seconds}",
    "export": "{export:seconds}",
    "file": "{file:size}",
    "page": "{page:size}",
    "largest error": "{error:.1e}",
    "not optimised": "{plain:.1e}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help=f"ONNX file of a classifier of photographs (default: {NETWORK})")
    parser.add_argument("--images", type=Path, help="a folder of photographs (default: the network's calibration set)")
    parser.add_argument("-o", "--out", type=Path, help="where the explainer, .onnx, is kept")
    parser.add_argument("--html", type=Path, help="where its page is kept")
    parser.add_argument("--classes", type=int, help="the first so many (default: all)")
    parser.add_argument("--at", help="explain this tensor, or input (default: the last map)")
    parser.add_argument("--common", help="from this tensor down one inverse serves all classes")
    parser.add_argument("--ridge", type=float, default=1e-3)
    parser.add_argument("--class-names", type=Path, help="a JSON list or object by index, or a name a line")


def run(options: argparse.Namespace) -> Told:
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "thousand.onnx"
        page = options.html or Path(folder) / "thousand.html"
        made, about = _made(options, out, page)
        sheet = Sheet(COLUMNS)
        sizes = {"file": made.bytes, "page": page.stat().st_size}
        errors = {"error": made.optimised.error, "plain": made.exact.error}
        sheet.add(common=options.common, **about, **sizes, **errors)
        print(f"\nas onnxruntime opens it: {made.optimised}\nwithout optimisations: {made.exact}")
    return {"rows": sheet.rows}


def _made(options: argparse.Namespace, out: Path, page: Path) -> tuple[Exported, dict[str, Value]]:
    """The explainer, and of what it is. fit, export: seconds of the processor."""
    model = options.model or model_path(NETWORK)
    net = mr.load(model)
    inputs = Inputs.of(net, options.images or model_path(NETWORK).with_name("calibration.npz"))
    with progress_bar(True) as begin:
        chosen = choose(net, inputs, None, None, model, Cache(None), begin)
    known = chosen.preprocessing or Preprocessing()
    data = inputs.open(known)
    samples = calibration_from(inputs, known, range(len(data)))
    print(f"{chosen.line}\n{samples.line}")
    x, at = samples.build(), None if options.at == "input" else options.at or next(iter(feature_maps(net)))
    start = time.process_time()
    given = {"ridge": options.ridge, "common": options.common, "dtype": "float32"}
    if options.classes is None:
        inverses = mr.fit(net, x, "all", at=at, progress=True, **given)
    else:
        inverses = mr.fit(net, x, range(options.classes), at=at, progress=True, **given)
    fitted = time.process_time()
    check = data[: min(len(data), SHOWN)]
    names = None if options.class_names is None else str(options.class_names)
    made = mr.export(inverses, out, preprocess=known, half=True, check=check, class_names=names, html=page)
    about: dict[str, Value] = {"fit": fitted - start, "export": time.process_time() - fitted}
    about |= {"classes": len(inverses), "at": at or "the pixels", "samples": len(x)}
    return made, {"network": name_of(model), **about}
