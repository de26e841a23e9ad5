"""The dense inverses of mnist_mlp against scikit-learn's Ridge(solver="cholesky"), on arrays in memory.

Both get the same S and X of one class in the same dtype and the same λ, and both fit an intercept.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.linear_model import Ridge

import mipin_ref as mr
from benchmarks.data import add_mnist, add_repeats, add_threads, digits, model_path
from benchmarks.signals import Floats, Regression, in_memory, regression, solve, steps
from benchmarks.tables import Sheet, Told
from benchmarks.timing import interleaved, threads

RIVAL, OURS = "scikit-learn", "mipin_ref"
COLUMNS = {
    "inverse": "{inverse}",
    "dtype": "{dtype}",
    "by": "{by}",
    "time": "{time:seconds}",
    "scikit-learn ÷ this": "{ratio:times}",
    "ΔW": "{weights:.1e}",
    "Δb": "{intercept:.1e}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 50_000)
    add_threads(parser)
    add_repeats(parser, 5)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--fit-samples", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=4096, help="rows that the engine takes at a time (%(default)s)")


def run(options: argparse.Namespace) -> Told:
    x = digits(options.mnist, options.samples)
    inverse = mr.fit(mr.load(model_path("mnist_mlp")), x[: options.fit_samples], options.target)
    ridge = inverse.options.ridge
    print(
        f"dense inverses of mnist_mlp, class {options.target}, {options.samples:,} rows, ridge {ridge:g}, "
        f"{options.threads} threads, medians of {options.repeats}; ΔW, Δb: largest difference from the engine's "
        "float64 solution over its largest entry\n"
    )
    sheet = Sheet(COLUMNS)
    for step in steps(inverse, "Dense"):
        with regression(inverse, step, x) as given, threads(options.threads):
            exact = solve(in_memory(given, "float64"), "float64", ridge, batch=options.batch).weights
            for dtype in ("float64", "float32"):
                compared = compare(in_memory(given, dtype), dtype, ridge, options)
                for name, (spent, weights, intercept) in compared.items():
                    sheet.add(
                        inverse=f"{weights.shape[1]} → {weights.shape[0]}",
                        dtype=dtype,
                        by=name,
                        time=spent,
                        ratio=compared[RIVAL][0] / spent,
                        weights=distance(weights, exact.blocks[0]),
                        intercept=distance(intercept, exact.intercept),
                    )
    ratios = {f"{row['inverse']}, {row['dtype']}": row["ratio"] for row in sheet.rows if row["by"] == OURS}
    return {"rows": sheet.rows, "values": {key.replace(" → ", "_").replace(", ", "_"): v for key, v in ratios.items()}}


def compare(
    given: Regression, dtype: str, ridge: float, options: argparse.Namespace
) -> dict[str, tuple[float, Floats, Floats]]:
    """By contestant, the rival first: median seconds, weights [in, out], intercept [in]."""

    def rival() -> tuple[Floats, Floats]:
        # In single precision it warns that the system is ill-conditioned; the table tells what that costs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)
            fitted = Ridge(alpha=ridge, solver="cholesky").fit(given.signal, given.value)
        return fitted.coef_, fitted.intercept_

    def ours() -> tuple[Floats, Floats]:
        weights = solve(given, dtype, ridge, batch=options.batch).weights
        assert weights.intercept is not None
        return weights.blocks[0], weights.intercept

    runs = interleaved({RIVAL: rival, OURS: ours}, options.repeats, warm_up=1)
    return {name: (timed.median, *timed.value) for name, timed in runs.items()}


def distance(a: Any, b: Any) -> float:
    """max |a - b| / max |b|."""
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
