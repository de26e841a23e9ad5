"""The arguments of `mipin evaluate`."""

from __future__ import annotations

import argparse
from typing import Any

from mipin_ref.cli.arguments import (
    add_calibration,
    add_output,
    add_preprocessing,
    index,
    integers,
    names,
    not_negative,
    number,
    numbers,
    positive,
)


def add_evaluate(commands: Any) -> None:
    """Adds the command; commands: what add_subparsers returned."""
    evaluate = commands.add_parser("evaluate", help="measure MIP-IN and the other methods side by side")
    metrics = evaluate.add_subparsers(dest="metric", required=True, metavar="METRIC")

    apc = metrics.add_parser("apc", help="how far the logit moves when the source signal takes the input's place")
    _add_common(apc)

    box = metrics.add_parser("box", help="share of the highest-scored pixels that lie in a bounding box")
    _add_common(box)
    box.add_argument(
        "--boxes",
        required=True,
        metavar="FILE",
        help="x0, y0, x1, y1 of each sample, ends excluded: .npz (key box, else boxes) or .npy in pixels of the "
        'network\'s input; or .json, {"file name": [x0, y0, x1, y1]}, in pixels of each image of the folder DATA',
    )
    box.add_argument("--box-key", metavar="NAME", help="array of an .npz")
    _add_maps(box)

    sensitivity = metrics.add_parser("sensitivity", help="how far apart the maps of two classes lie")
    _add_common(sensitivity)
    sensitivity.add_argument(
        "--target", type=index, metavar="A", help="a class for all (default each sample's highest)"
    )
    sensitivity.add_argument("--against", type=index, metavar="B", help="the other (default each sample's second)")
    _add_maps(sensitivity)

    grid = metrics.add_parser("grid", help="whether maps point at the target's cell of a mosaic")
    _add_common(grid)
    grid.add_argument("--grid", type=index, default=2, metavar="K", help="cells along each side (default 2)")
    grid.add_argument("--mosaics", type=positive, default=100, metavar="N", help="how many (default 100)")
    _add_seed(grid)
    _add_maps(grid, signed=False)

    randomization = metrics.add_parser("randomization", help="whether maps change as layers are redrawn from the top")
    _add_common(randomization)
    randomization.add_argument(
        "--tensors", type=names, metavar="T[,T...]", help="outputs of the layers to compare at (default all)"
    )
    randomization.add_argument("--no-ssim", dest="ssim", action="store_false", help="rank correlations alone")
    _add_seed(randomization)
    _add_maps(randomization, signed=False)

    deletion = metrics.add_parser("deletion", help="deletion and insertion: area under the target's output")
    _add_common(deletion)
    for kind, default in (("deletion", 0.0), ("insertion", "blur")):
        deletion.add_argument(
            f"--{kind}-fill",
            type=_fill,
            default=default,
            metavar="V[,V...]|blur",
            help=f"for a missing pixel, in the scale of the network's input (default {default})",
        )
    deletion.add_argument("--steps", type=positive, default=100, metavar="N", help="of each curve (default 100)")
    deletion.add_argument("--score", choices=("probability", "logit"), default="probability")
    _add_maps(deletion, signed=False)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA", help=".npy, .npz, IDX (.gz), CIFAR-10 binary, or a folder of images")
    parser.add_argument("--labels", metavar="FILE", help="classes of DATA (default: as the network predicts)")
    parser.add_argument("--label-key", metavar="NAME", help="array of an .npz (default y, else y_train)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N samples of DATA")
    parser.add_argument("--classes", type=integers, metavar="C[,C...]", help="only samples of these classes")
    parser.add_argument("--methods", type=names, metavar="M[,M...]", help="default mip-in and all others")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="of a method, as smoothgrad.samples=100; may be given several times",
    )
    add_calibration(parser, "mip-in and the pattern methods")
    parser.add_argument("--ridge", type=number, default=1e-3, help="of mip-in: λ, absolute, on sums (default 1e-3)")
    parser.add_argument("--conv-bias", action="store_true", help="of mip-in: an intercept in convolutional inverses")
    parser.add_argument(
        "--fit-on", choices=("all", "target_class"), default="all", help="of mip-in: classes as predicted"
    )
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB", help="what a fit, and the maps of a method, may hold (default 2GB)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the JSON here too, anew after every method")
    add_output(parser)
    add_preprocessing(parser)


def _add_maps(parser: argparse.ArgumentParser, *, signed: bool = True) -> None:
    """signed: whether the metric leaves a choice."""
    parser.add_argument("--map", choices=("contribution", "attribution"), default="contribution", help="A·X, or A")
    parser.add_argument("--at", metavar="last-map|TENSOR", help="what mip-in explains (default the input)")
    if signed:
        parser.add_argument("--signed", action="store_true", help="keep negative values (default: maps' positive part)")


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N", help="of what is drawn (default 0)")


def _fill(text: str) -> str | float | tuple[float, ...]:
    return text if text == "blur" else numbers(text)
