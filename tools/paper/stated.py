"""What the paper states of its Tables 1 and 2 and Appendix B, as numbers for the pages that set ours beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

from paper.page import fact
from paper.published import APC, BOX_ACCURACY, MARGINS, MIPIN, SENSITIVITY
from training.files import write_json

NAME = "published"
HELP = "the paper's own figures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="where they go too")


def values() -> dict[str, float]:
    """APC and positive APC by network; box accuracy of MIP-IN, of the best other method and what lies between them;
    class sensitivity by method.
    """
    told = {
        fact(name, key): one for name, both in APC.items() for key, one in zip(("apc", "positive"), both, strict=True)
    }
    for number, network in enumerate(("vgg", "resnet")):
        mine = BOX_ACCURACY[MIPIN][number]
        others = [one[number] for method, one in BOX_ACCURACY.items() if method != MIPIN]
        assert mine is not None
        told[f"{network}_mip_in"] = mine
        told[f"{network}_rival"] = max(one for one in others if one is not None)
        told[f"{network}_margin"] = MARGINS[number]
    return told | {fact("sensitivity", method): one for method, one in SENSITIVITY.items()}


def run(options: argparse.Namespace) -> None:
    """Print them, a line each."""
    told = values()
    for key, value in told.items():
        print(f"{key} {value:g}")
    if options.json is not None:
        write_json(options.json, {"rows": [], "values": told})
