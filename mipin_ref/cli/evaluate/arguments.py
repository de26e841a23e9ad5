"""The arguments of `mipin evaluate`: those of every metric here, a metric's own as its measure declares them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mipin_ref.cli.arguments import (
    METHODS_HELP,
    add_calibration,
    add_model,
    add_preprocessing,
    add_tokens,
    integers,
    names,
    positive,
    ridge,
)
from mipin_ref.cli.evaluate.measure import MEASURES, measure_of
from mipin_ref.cli.parser import Parser


class MeasureParser(Parser):
    """The parser of one metric, which takes what the measure declares; that is imported where it is asked for."""

    def __init__(self, *args: Any, metric: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._metric: str | None = metric
        _add_common(self)

    def take_arguments(self) -> None:
        """Import the measure and take its arguments, if that is not done yet."""
        metric, self._metric = self._metric, None
        if metric is not None:
            for argument in measure_of(metric).arguments:
                argument.add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.take_arguments()
        return super().parse_known_args(args, namespace)


def add_evaluate(commands: Any, examples: Sequence[str]) -> None:
    """Adds the command; commands: what add_subparsers returned; examples: that its help opens with."""
    evaluate = commands.add_parser(
        "evaluate", examples=examples, help="measure MIP-IN and the other methods side by side"
    )
    metrics = evaluate.add_subparsers(dest="metric", required=True, metavar="METRIC", parser_class=MeasureParser)
    for metric, (_, said) in MEASURES.items():
        lines = (
            f"mipin evaluate {metric} model.onnx data.npz --calibration data.npz",
            f"mipin evaluate {metric} model.onnx photos/ --methods grad-cam,gradient",
        )
        metrics.add_parser(metric, help=said, metric=metric, examples=lines)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", help=".npy, .npz, IDX (.gz), CIFAR-10 binary, a folder of images, or texts"
    )
    add_tokens(parser, "DATA")
    parser.add_argument("--labels", metavar="FILE", help="classes of DATA (default: as the network predicts)")
    parser.add_argument("--label-key", metavar="NAME", help="array of an .npz (default y, else y_train)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N samples of DATA")
    parser.add_argument("--classes", type=integers, metavar="C[,C...]", help="only samples of these classes")
    parser.add_argument("--methods", type=names, metavar="M[,M...]", help=METHODS_HELP)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="of a method, as smoothgrad.samples=100; may be given several times",
    )
    add_calibration(parser, "mip-in and the pattern methods")
    parser.add_argument(
        "--ridge",
        type=ridge,
        default=1e-3,
        metavar="L",
        help="of mip-in: λ, absolute, on sums, or held-out (default 1e-3)",
    )
    parser.add_argument("--conv-bias", action="store_true", help="of mip-in: an intercept in convolutional inverses")
    parser.add_argument(
        "--fit-on", choices=("all", "target_class"), default="all", help="of mip-in: classes as predicted"
    )
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB", help="what a fit, and the maps of a method, may hold (default 2GB)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the JSON here too, anew after every method")
    add_preprocessing(parser)
