"""The other end of timing.in_child: python -m benchmarks.child MODULE:FUNCTION ARGUMENTS FILE."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    name, arguments, file = sys.argv[1:]
    module, function = name.split(":")
    value = getattr(import_module(module), function)(**json.loads(arguments))
    Path(file).write_text(json.dumps(value))


if __name__ == "__main__":
    main()
