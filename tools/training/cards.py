"""What the cards of the embedded networks say of their accuracy."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.tables import Sheet
from training.files import MODELS, write_json

COLUMNS = {"network": "{network}", "test": "{test:.1%}", "validation": "{validation:.1%}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(options: argparse.Namespace) -> None:
    """A row a network; values: its accuracy on the test images by its name."""
    sheet = Sheet(COLUMNS)
    for path in sorted(MODELS.glob("*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        sheet.add(network=card["name"], **{split: card["accuracy"].get(split) for split in ("test", "validation")})
    if options.json is not None:
        values = {row["network"]: row["test"] for row in sheet.rows}
        write_json(options.json, {"rows": sheet.rows, "values": values})
