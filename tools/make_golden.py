"""Make the golden cases under models_onnx/, or check that they come out again.

python tools/make_golden.py            builds the tiny networks and writes every case
python tools/make_golden.py --check    makes every case anew from its model and samples, and compares; writes nothing
python tools/make_golden.py NAME ...   only these
"""

from __future__ import annotations

import argparse
import sys

import golden_layers  # noqa: F401 (enters its cases)
import golden_rules  # noqa: F401 (enters its cases)
from golden_recipe import CASES, MODELS

import mipin_ref as mr


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where a case does not come out again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (default all)")
    parser.add_argument("--check", action="store_true", help="compare with what is there")
    options = parser.parse_args(argv)
    unknown = set(options.names) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return check(options.names or list(CASES)) if options.check else write(options.names or list(CASES))


def write(names: list[str]) -> int:
    total = 0
    for name in names:
        folder = MODELS / name
        model = folder / "model.onnx"
        recipe = CASES[name]()
        if recipe.model is not None:
            folder.mkdir(parents=True, exist_ok=True)
            model.write_bytes(recipe.model)
        mr.golden.make(model, recipe.x, recipe.target, folder / "golden", labels=recipe.labels, **recipe.options)
        size = sum(path.stat().st_size for path in (folder / "golden").iterdir())
        total += size
        print(f"{name}: {size / 1e3:,.0f} kB", flush=True)
    print(f"{len(names)} cases, {total / 1e6:.1f} MB")
    return 0


def check(names: list[str]) -> int:
    wrong, worst = 0, 0.0
    for name in names:
        found = mr.golden.remake(MODELS / name / "golden")
        wrong, worst = wrong + (not found.ok), max(worst, found.worst)
        print(found, flush=True)
    print(f"{len(names)} cases, {wrong} of them off; the largest error is {worst:.2g} of its tolerance")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
