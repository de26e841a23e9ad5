"""Make the embedded networks and the composed scenes that they are trained on: one command a module of tools/training.

python tools/train.py paper --mnist mnist.npz --fashion fashion.npz          the paper's three networks
python tools/train.py clutter --mnist mnist.npz --fashion fashion.npz        four networks on boxed clutter
python tools/train.py rgb32-scenes --fashion fashion.npz --out rgb32.npz     the scenes alone
python tools/train.py clutter-scenes --mnist mnist.npz --fashion fashion.npz --out clutter.npz
python tools/train.py cards                                                  what was reached
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "paper": ("training.paper_models", "train and export the paper's three networks"),
    "clutter": ("training.clutter_models", "train and export four networks on boxed clutter"),
    "rgb32-scenes": ("training.rgb32", "compose small colour scenes of garments, with boxes, both splits"),
    "clutter-scenes": ("training.clutter", "compose boxed clutter, one split"),
    "cards": ("training.cards", "tell the accuracies of the embedded networks, by their cards"),
}
"""Command -> its module, and what it does."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    modules = {}
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        # Only the chosen module is imported: scenes need no torch.
        if given[:1] == [name]:
            try:
                modules[name] = import_module(module)
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                parser.error(f"{name} needs torch: pip install 'mipin_ref[train]'")
            modules[name].add_arguments(command)
    options = parser.parse_args(given)
    try:
        modules[options.command].run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
