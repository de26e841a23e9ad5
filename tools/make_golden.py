"""Make the golden cases under models_onnx/, or check that they come out again.

python tools/make_golden.py            builds the tiny networks and writes every case
python tools/make_golden.py --check    makes every case anew from its model and samples, and compares; writes nothing
python tools/make_golden.py NAME ...   only these
python tools/make_golden.py --summary  how many there are, and how large their tolerances
python tools/make_golden.py --elsewhere WORK   --check on the oldest and newest packages, threads and BLAS kernels
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import mipin_ref as mr
from golden.elsewhere import check_elsewhere, together
from golden.recipe import CASES, MODELS
from golden.told import printed, summary
from training.files import write_json


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where a case does not come out again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (default all)")
    parser.add_argument("--check", action="store_true", help="compare with what is there")
    parser.add_argument(
        "--elsewhere",
        metavar="WORK",
        type=Path,
        help="check in other environments, made in this folder; those there are used again",
    )
    parser.add_argument(
        "--coretype",
        action="append",
        metavar="NAME",
        help="kernels for --elsewhere (default Haswell, Sandybridge)",
    )
    parser.add_argument("--summary", action="store_true", help="count cases and tell their tolerances")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where --summary and --elsewhere put figures, too")
    options = parser.parse_args(argv)
    unknown = set(options.names) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    names = options.names or list(CASES)
    if options.elsewhere is not None:
        runs = check_elsewhere(options.elsewhere, options.coretype or ["Haswell", "Sandybridge"], names)
        keep(options.json, {"rows": together(runs)})
        return 1 if any(run.code for run in runs) else 0
    if options.summary:
        told = summary(MODELS)
        print(f"{printed(told['rows'])}\n\n{told['values']['cases']} cases, {told['values']['bytes'] / 1e6:.1f} MB")
        keep(options.json, told)
        return 0
    return check(names) if options.check else write(names)


def keep(path: Path | None, told: dict[str, Any]) -> None:
    """Write figures where a file was named."""
    if path is not None:
        write_json(path, told)


def write(names: list[str]) -> int:
    """Write models and golden values of the cases; returns 0."""
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
    """Compute the cases anew and compare; returns 1 where one does not come out again."""
    wrong, worst = 0, 0.0
    for name in names:
        comparison = mr.golden.remake(MODELS / name / "golden")
        wrong, worst = wrong + (not comparison.ok), max(worst, comparison.worst)
        print(comparison, flush=True)
    print(f"{len(names)} cases, {wrong} of them off; the largest error is {worst:.2g} of its tolerance")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
