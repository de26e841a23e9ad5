"""The conv inverses of mnist_cnn: the engine's exact solution against the paper's training (paper_recipe.py).

Both get the same S and X of one class, from a fit on the first `--fit-samples` images, in files of the temporary folder
(8 GB for 50,000 images); reading them is left out of both times, and so is what computed them. Reconstruction errors of
all kernels are computed by one function, in float64.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np

import mipin_ref as mr
from benchmarks.data import add_backend, add_mnist, add_repeats, add_threads, digits, model_path
from benchmarks.paper_recipe import Recipe, Trained, squared_error, train
from benchmarks.signals import Regression, Solved, regression, solve, steps
from benchmarks.tables import Rows, Sheet, Told
from benchmarks.timing import interleaved, threads
from measured.cells import Value

RECIPE = "recipe"
DTYPES = ("float32", "float64")
COLUMNS = {
    "inverse": "{inverse}",
    "by": "{by}",
    "time": "{time:seconds}",
    "recipe ÷ this": "{ratio:times}",
    "‖X - X̂‖² an image": "{error:.6g}",
    "this ÷ recipe": "{of_recipe:.5f}",
    "R²": "{r2:.4f}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 50_000)
    add_threads(parser)
    add_repeats(parser, 1)
    add_backend(parser)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--fit-samples", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=512, help="of the engine (%(default)s)")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--recipe-batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="Adam's learning rate (%(default)s)")


def run(options: argparse.Namespace) -> Told:
    x = digits(options.mnist, options.samples)
    inverse = mr.fit(mr.load(model_path("mnist_cnn")), x[: options.fit_samples], options.target, dtype="float32")
    recipe = Recipe(
        epochs=options.epochs,
        batch=options.recipe_batch,
        rate=options.rate,
        ridge=inverse.options.ridge,
        device="cuda" if options.backend == "cupy" else "cpu",
    )
    print(
        f"conv inverses of mnist_cnn, class {options.target}, {options.samples:,} images, {options.threads} threads, "
        f"backend {options.backend}; recipe: {recipe}; batches of {options.batch} for the engine\n"
    )
    sheet = Sheet(COLUMNS)
    total = dict.fromkeys([RECIPE, *DTYPES], 0.0)
    for step in steps(inverse, "Conv"):
        with regression(inverse, step, x) as given, threads(options.threads):
            for name, (spent, error, spread) in compare(given, recipe, options).items():
                total[name] += spent
                if name == RECIPE:
                    rival = spent, error
                sheet.add(
                    inverse=_geometry(given),
                    by=name,
                    time=spent,
                    ratio=rival[0] / spent,
                    error=error / given.samples,
                    of_recipe=error / rival[1],
                    r2=1 - error / spread,
                )
    for name, spent in total.items():
        ratio = total[RECIPE] / spent
        sheet.add(inverse="all", by=name, time=spent, ratio=ratio, error=None, of_recipe=None, r2=None)
    return {"rows": sheet.rows, "values": _values(sheet.rows)}


def _values(rows: Rows) -> dict[str, Value]:
    """The figures by inverse, counted from the top, and contestant. below: by what share the
    error is less than the recipe's.
    """
    names = dict(zip(dict.fromkeys(row["inverse"] for row in rows), ("first", "second", "all"), strict=True))
    told: dict[str, Value] = {}
    for row in rows:
        name, of_recipe = f"{names[row['inverse']]}_{row['by']}", row["of_recipe"]
        told |= {f"{name}_time": row["time"], f"{name}_ratio": row["ratio"]}
        told[f"{name}_below"] = 1 - of_recipe if isinstance(of_recipe, float) else None
    return told


def compare(given: Regression, recipe: Recipe, options: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """By contestant, the recipe first: median seconds, Σ‖X - X̂‖², Σ(X - mean)²."""
    layer = given.layer
    ours = partial(solve, given, ridge=recipe.ridge, batch=options.batch, backend=options.backend)
    contestants: dict[str, Any] = {RECIPE: partial(train, given.signal, given.value, layer, recipe)}
    contestants |= {dtype: partial(ours, dtype) for dtype in DTYPES}
    timed_by = interleaved(contestants, options.repeats, clock=lambda value: value.seconds)
    spread = timed_by["float64"].value.spread
    return {
        name: (timed.median, squared_error(given.signal, given.value, _kernel(timed.value), layer), spread)
        for name, timed in timed_by.items()
    }


def _kernel(value: Trained | Solved) -> np.ndarray[Any, Any]:
    return value.kernel if isinstance(value, Trained) else value.weights.blocks[0]


def _geometry(given: Regression) -> str:
    above, below = ("×".join(map(str, a.shape[1:])) for a in (given.signal, given.value))
    return f"{above} → {below}"
