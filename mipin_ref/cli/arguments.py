"""Arguments that several commands take, and how their texts are read."""

from __future__ import annotations

import argparse
import re

from mipin_ref.inverse.options import HELD_OUT

Target = int | tuple[int, ...]
"""A class, or indices into an output of several axes."""

Bound = int | float | str
"""What an input is bound to: a number, or the path of a file."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """MODEL, and what a file may leave open: `cli.model.load_model` reads them."""
    parser.add_argument("model", metavar="MODEL")
    add_output(parser)
    parser.add_argument(
        "--input-shape",
        type=sizes,
        action="append",
        default=[],
        metavar="NAME:1xC[xH...]",
        help="sizes of an input whose axes the file leaves open, with a batch of 1 in front, as image:1x3x224x224; may "
        "be given several times",
    )
    parser.add_argument(
        "--given",
        type=bound,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="bind another input of the model to a number, or to the array in a .npy or .npz file (its key NAME, else "
        "x); may be given several times",
    )
    parser.add_argument(
        "--input",
        metavar="NAME",
        help="which input is explained, of several that each sample has values of: data are then one .npz file whose "
        "keys are the inputs' names",
    )


def add_tokens(parser: argparse.ArgumentParser, data: str) -> None:
    """What cuts texts into the ids that a network reads; data: what the samples are called."""
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument(
        "--tokenizer", metavar="FILE", help=f"of networks that read ids: a tokenizer.json; {data} is a text a line"
    )
    tokens.add_argument(
        "--vocabulary", metavar="FILE", help="the same of words: a token a line, a JSON list, or JSON {token: id}"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="NAME", help="which output of the model, where it has several")


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", metavar="NAME", help="array of an .npz (default x, else x_train)")
    parser.add_argument(
        "--preprocess",
        metavar="PRESET|M,S",
        help="of pixels: unit (/255), imagenet (torchvision's), inception (-1..1), caffe (BGR less means), raw "
        "(0..255), or mean,std behind /255",
    )
    parser.add_argument("--scale", type=number, metavar="S", help="divide by S (default 255 for bytes, else 1)")
    parser.add_argument("--mean", type=numbers, metavar="M[,M...]", help="then subtract, one number or one a channel")
    parser.add_argument("--std", type=numbers, metavar="S[,S...]", help="then divide, one number or one a channel")
    parser.add_argument(
        "--no-exif", dest="exif", action="store_false", help="do not turn image files as their EXIF orientation says"
    )


def add_calibration(parser: argparse.ArgumentParser, what: str) -> None:
    """Samples that methods are fitted on; what: which methods."""
    parser.add_argument("--calibration", metavar="DATA", help=f"samples to fit {what} on, preprocessed as the others")
    parser.add_argument("--calibration-key", metavar="NAME", help="array of an .npz (default x, else x_train)")
    parser.add_argument("--calibration-limit", type=positive, metavar="N", help="only the first N of them")


METHODS_HELP = (
    "mip-in and others; without it all that take part but those of hundreds of forward passes a sample, `all` for "
    "these too"
)

DIGITS = 18
"""Digits of a whole number, at most: what is counted here fits into 64 bits."""


def index(text: str) -> int:
    """A whole number of at most DIGITS digits; whether there is such a class is for the network to say."""
    if not re.fullmatch(rf"[+-]?[0-9]{{1,{DIGITS}}}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {DIGITS} digits, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    value = index(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def not_negative(text: str) -> int:
    value = index(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


def number(text: str) -> float:
    """A number; whether one that is not finite will do is for what takes it to say."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def ridge(text: str) -> float | str:
    """A number, or the word for one that is picked for every tensor."""
    if text == HELD_OUT:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or {HELD_OUT}, not {text!r}") from None


def numbers(text: str) -> float | tuple[float, ...]:
    values = tuple(number(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def names(text: str) -> list[str]:
    return text.split(",")


def target(text: str) -> Target:
    """A class, or indices into an output of several axes, as 5:1000."""
    indices = tuple(index(part) for part in text.split(":"))
    return indices[0] if len(indices) == 1 else indices


def targets(text: str) -> list[Target]:
    return [target(part) for part in text.split(",")]


def explained(text: str) -> str:
    """A target of `explain` as it is: numbers are checked, a name is for the network to know."""
    if re.fullmatch(r"[-+0-9,:]+", text, re.ASCII):
        targets(text)
    return text


def sizes(text: str) -> tuple[str, tuple[int, ...]]:
    """An input, and the sizes of a sample."""
    name, _, given = text.rpartition(":")
    parts = re.split("[x×]", given)
    if not name or len(parts) < 2 or not all(re.fullmatch(rf"[0-9]{{1,{DIGITS}}}", part, re.ASCII) for part in parts):
        raise argparse.ArgumentTypeError(f"must look like image:1x3x224x224, not {text!r}")
    batch, *sample = map(int, parts)
    if batch != 1:
        raise argparse.ArgumentTypeError(f"the first size is the batch, which is free: write 1 there, not {batch}")
    return name, tuple(sample)


def bound(text: str) -> tuple[str, Bound]:
    """An input, and the number or the file that it is bound to."""
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise argparse.ArgumentTypeError(f"must look like rate=16000 or state=FILE.npy, not {text!r}")
    for read in (index, number):
        try:
            return name, read(value)
        except argparse.ArgumentTypeError:
            continue
    return name, value


def integers(text: str) -> list[int]:
    return [index(part) for part in text.split(",")]
