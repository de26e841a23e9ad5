"""Parsing, dispatch, and the one place where errors become a line and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from mipin_ref.cli.arguments import (
    METHODS_HELP,
    add_calibration,
    add_model,
    add_output,
    add_preprocessing,
    add_tokens,
    explained,
    names,
    positive,
    target,
)
from mipin_ref.cli.evaluate.arguments import add_evaluate
from mipin_ref.cli.fit_options import add_fit_options, add_preset
from mipin_ref.cli.parser import USAGE_ERROR, Parser, ShowVersion, StoreOnce
from mipin_ref.cli.streams import guarded_output, tell_error
from mipin_ref.cli.warned import warned_in_a_line
from mipin_ref.errors import MipinError
from mipin_ref.text import one_line

MODULES = {
    "demo": "commands",
    "inspect": "commands",
    "fit": "commands",
    "patterns": "commands",
    "explain": "explain",
    "compare": "compare",
    "evaluate": "evaluate.command",
    "export": "export",
    "golden": "golden",
}
"""Where each command lives: the others are not imported."""
EXAMPLES = {
    "demo": ("mipin demo", "mipin demo -o pictures", "mipin demo --html"),
    "inspect": ("mipin inspect model.onnx", "mipin inspect model.onnx photos/"),
    "fit": (
        "mipin fit model.onnx data.npz --target 3 -o three.mipin",
        "mipin fit model.onnx photos/ --preprocess imagenet --target 3,7 --at auto -o 'class-{target}.mipin'",
    ),
    "explain": (
        "mipin explain model.onnx photos/",
        "mipin explain model.onnx photos/ --top 5 --class-names names.txt -o explained",
    ),
    "patterns": (
        "mipin patterns model.onnx data.npz -o net.patterns",
        "mipin patterns model.onnx photos/ --preprocess imagenet --at auto -o net.patterns",
    ),
    "compare": (
        "mipin compare model.onnx photos/ --calibration photos/ -o report.html",
        "mipin compare model.onnx photos/ --methods grad-cam,lrp-epsilon -o report.html",
    ),
    "evaluate": (
        "mipin evaluate apc model.onnx data.npz --calibration data.npz",
        "mipin evaluate deletion model.onnx photos/ --methods grad-cam,gradient",
    ),
    "export": (
        "mipin export model.onnx --inverse 'class-*.mipin' -o explainer.onnx",
        "mipin export model.onnx --inverse three.mipin --preprocess imagenet --half -o explainer.onnx",
        "mipin export model.onnx --inverse 'class-*.mipin' --check photos/ -o explainer.onnx --html page.html",
    ),
    "golden": (
        "mipin golden make model.onnx data.npz --target 3 -o case",
        "mipin golden verify case values.npz",
    ),
}
"""What the help of each command opens with."""
TARGET = "class index, or indices into an output of several axes, as 5:1000"
AUTO = "'auto', the last map or as far down as inverses exist"


def run(argv: Sequence[str], ready: Callable[[], object] = lambda: None) -> int:
    """Run one command. Returns as `main` does; ready: called when its libraries are imported and the work begins."""
    with guarded_output() as output:
        options = _parser().parse_args(argv)
        command = getattr(import_module(f"mipin_ref.cli.{MODULES[options.command]}"), options.command)
        ready()
        try:
            with warned_in_a_line():
                code = command(options) or 0
            if output is not None:
                output.flush()
        except MipinError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            return _fail(f"interrupted; files already complete are kept, no partial file is left{_goes_on(options)}")
        except OSError as error:
            return _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        if output is not None and output.failure is not None:
            return _fail(f"standard output: {output.failure.strerror}; the files are complete")
        return int(code)


def _goes_on(options: Any) -> str:
    """How a fit that was interrupted is gone on with; "" of other commands."""
    if not hasattr(options, "resume"):
        return ""
    if options.resume or options.checkpoint is not None:
        return "; the same command goes on from the last finished pass"
    return "; with --resume a fit keeps each finished pass, and the same command goes on from the last"


def _fail(message: str) -> int:
    tell_error(f"mipin: {one_line(message)}")
    return USAGE_ERROR


def _parser() -> Parser:
    parser = Parser(prog="mipin", description="MIP-IN attribution of ONNX classifiers")
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", help="fit, explain and draw the built-in digits")
    demo.add_argument("-o", "--out", default="mipin-demo", metavar="DIR", help="where pictures go (default mipin-demo)")
    demo.add_argument(
        "--html",
        metavar="PAGE",
        nargs="?",
        const="digits.html",
        help="write a page to draw digits on, and nothing else (default digits.html)",
    )

    inspect = commands.add_parser(
        "inspect", examples=EXAMPLES["inspect"], help="layers, their inverses, and tensors to explain"
    )
    add_model(inspect)
    inspect.add_argument(
        "images", metavar="IMAGES", nargs="?", help="what the model makes of them under each preprocessing preset"
    )
    inspect.add_argument("--class-names", metavar="FILE", help="JSON list, JSON {index: name}, or a name a line")
    inspect.add_argument("--key", metavar="NAME", help="array of an .npz (default x, else x_train)")
    inspect.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    inspect.add_argument("--target", type=target, metavar="C", help=f"{TARGET}: only the part that it is made of")

    fit = _command(commands, "fit", help="fit the inverse of one or more classes")
    add_model(fit)
    fit.add_argument("data", metavar="DATA", help=".npy, .npz, IDX (.gz), CIFAR-10 binary, or a folder of images")
    fit.add_argument("--target", required=True, metavar="C[,C...]", help=f"{TARGET}, several, or 'all'")
    fit.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="three.mipin; for several classes name-{target}.mipin"
    )
    fit.add_argument("--labels", metavar="FILE", help="labels of DATA, for --fit-on target_class")
    add_preset(fit)
    add_fit_options(fit)
    fit.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    fit.add_argument("--memory", default="2GB", help="what the fit may hold (default 2GB), or each thread of a worker")
    fit.add_argument("--batch-size", type=positive, metavar="N")
    fit.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler whose workers do it, as tcp://host:8786")
    fit.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    again = fit.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="keep finished passes in a hidden folder beside FILE until it is saved, and go on from those found there",
    )
    again.add_argument(
        "--checkpoint", metavar="DIR", help="the same in a folder that you name; fits may share it, and it stays"
    )
    add_preprocessing(fit)

    _add_explain(commands)

    patterns = commands.add_parser(
        "patterns", examples=EXAMPLES["patterns"], help="fit the patterns of patternnet and pattern-attribution"
    )
    add_model(patterns)
    patterns.add_argument("data", metavar="DATA", help="as for fit")
    patterns.add_argument("-o", "--out", required=True, metavar="FILE")
    patterns.add_argument("--at", metavar="TENSOR", help=f"down to this inner tensor instead of the input, or {AUTO}")
    patterns.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    patterns.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    patterns.add_argument("--memory", default="2GB", help="what sums and batches may hold (default 2GB)")
    patterns.add_argument("--batch-size", type=positive, metavar="N")
    patterns.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    add_preprocessing(patterns)

    add_evaluate(commands, EXAMPLES["evaluate"])
    _add_export(commands)

    compare = commands.add_parser(
        "compare", examples=EXAMPLES["compare"], help="a web page of the maps of several methods side by side"
    )
    add_model(compare)
    compare.add_argument("images", metavar="IMAGES", help="data as for fit, or texts")
    compare.add_argument("-o", "--out", required=True, metavar="FILE", help="report.html")
    add_calibration(compare, "MIP-IN and the pattern methods")
    compare.add_argument(
        "--at",
        metavar="T",
        help=f"tensor that all methods explain: a name, 'input' or {AUTO} (default)",
    )
    compare.add_argument("--methods", type=names, metavar="M[,M...]", help=METHODS_HELP)
    compare.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="as smoothgrad.samples=100 or mip-in.ridge=10; may be given several times",
    )
    add_tokens(compare, "IMAGES")
    compare.add_argument("--labels", metavar="FILE", help="true classes of IMAGES")
    compare.add_argument("--label-key", metavar="NAME", help="their array in an .npz (default y, else y_train)")
    compare.add_argument("--class-names", metavar="FILE", help="JSON list, JSON {index: name}, or a name a line")
    compare.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N images (default 20, at most 200)"
    )
    compare.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    compare.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    compare.add_argument("--memory", default="2GB", help="what fits and methods may hold (default 2GB)")
    add_preprocessing(compare)

    _add_golden(
        commands.add_parser(
            "golden",
            examples=EXAMPLES["golden"],
            help="golden values, for other implementations to check themselves by",
        )
    )
    return parser


def _command(commands: Any, name: str, help: str) -> Parser:
    made: Parser = commands.add_parser(name, examples=EXAMPLES[name], help=help)
    return made


def _add_explain(commands: Any) -> None:
    told = "a page, pictures and arrays of what a model sees in images"
    explain = _command(commands, "explain", help=told)
    add_model(explain)
    explain.add_argument("images", metavar="IMAGES", help="a folder or file of images, arrays as for fit, or texts")
    explain.add_argument(
        "--target",
        type=explained,
        metavar="C",
        help="predicted (default), a class by index or name, several for every image as 3,7, or indices as 5:1000",
    )
    explain.add_argument(
        "--top", type=positive, default=1, metavar="K", help="the K highest classes of each image, not the first alone"
    )
    explain.add_argument("--class-names", metavar="FILE", help="JSON list, JSON {index: name}, or a name a line")
    how = explain.add_mutually_exclusive_group()
    how.add_argument(
        "--inverse", action=StoreOnce, metavar="FILE", help="what fit wrote, or several as 'class-*.mipin'"
    )
    how.add_argument("--method", action=StoreOnce, metavar="NAME", help="such as grad-cam (default mip-in)")
    explain.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="[METHOD.]NAME=VALUE",
        help="of the method, as ridge=10 or smoothgrad.samples=50; may be given several times",
    )
    add_preset(explain)
    explain.add_argument("-o", "--out", metavar="DIR", help="a folder (default MODEL's name with -explained)")
    explain.add_argument(
        "--at",
        metavar="TENSOR",
        help=f"explain this tensor: 'input', the pixels; {AUTO} (default of mip-in); or one by name",
    )
    explain.add_argument("--map", choices=("contribution", "attribution"), default="contribution", help="stored")
    explain.add_argument(
        "--size", metavar="input|HxW", help="of the stored maps, resized bilinearly (default the tensor's)"
    )
    explain.add_argument("--dtype", choices=("float64", "float32"), help="default float32 of mip-in, float64 of others")
    explain.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    explain.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    explain.add_argument("--patterns", metavar="FILE", help="what patterns wrote, for patternnet, pattern-attribution")
    explain.add_argument("--feature-names", metavar="FILE", help="of table rows: a name a line, or a JSON list")
    add_tokens(explain, "IMAGES")
    explain.add_argument(
        "--no-cache", dest="cache", action="store_false", help="neither use nor keep what was fitted before"
    )
    add_calibration(explain, "the method")
    add_preprocessing(explain)


def _add_export(commands: Any) -> None:
    export = _command(commands, "export", help="inverses as one ONNX file that explains without this package")
    add_model(export)
    export.add_argument(
        "--inverse", action=StoreOnce, required=True, metavar="FILE", help="what fit wrote, several as 'class-*.mipin'"
    )
    export.add_argument("-o", "--out", required=True, metavar="FILE", help="explainer.onnx")
    export.add_argument("--at", metavar="TENSOR", help="that it explains, on the inverses' way (default their own)")
    export.add_argument("--target", metavar="C[,C...]", help="classes of the inverses that it takes (default all)")
    export.add_argument("--html", metavar="PAGE", help="a page too that explains pictures in a browser, from disk")
    export.add_argument("--half", action="store_true", help="store the weights of inverses in half precision")
    export.add_argument(
        "--precision",
        choices=["int8"],
        help="in place of --half: inverses in eight bits, the network's weights in fourteen; small pages, maps a "
        "little off",
    )
    export.add_argument(
        "--check",
        metavar="DATA",
        help="samples to compare it on before it is written (default drawn ones), and for the page to begin with",
    )
    export.add_argument("--class-names", metavar="FILE", help="JSON list, JSON {index: name}, or a name a line")
    add_preprocessing(export)


def _add_golden(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="make|verify")
    make = commands.add_parser(
        "make", examples=EXAMPLES["golden"], help="write the golden values of one class of a model into a folder"
    )
    make.add_argument("model", metavar="MODEL")
    make.add_argument("data", metavar="DATA", help="few samples, as for fit")
    make.add_argument("--target", type=target, required=True, metavar="C", help=TARGET)
    make.add_argument("-o", "--out", required=True, metavar="DIR")
    make.add_argument("--labels", metavar="FILE", help="labels of DATA, for --fit-on target_class")
    add_fit_options(make, but=["common", "dtype"])
    make.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    add_output(make)
    add_preprocessing(make)
    verify = commands.add_parser(
        "verify",
        help="compare arrays of another implementation; exit code 1 where one is off",
    )
    verify.add_argument("case", metavar="CASE", help="the folder of a case")
    verify.add_argument("candidate", metavar="CANDIDATE", help=".npz or .safetensors under the manifest's names")
    verify.add_argument("--stage", action="append", metavar="NAME", help="only this one; may be given several times")
    verify.add_argument("--dtype", choices=("float64", "float32"), help="computed in (default: each array's dtype)")
    verify.add_argument("--json", action="store_true", help="print everything as JSON")
