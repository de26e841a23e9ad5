"""What each command of `mipin` does: read, call the library, write, say what was written."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.arguments import integers
from mipin_ref.cli.files import open_samples, told_of_turned
from mipin_ref.cli.fit_options import fit_options
from mipin_ref.cli.outputs import PICTURES, claim_file, claim_files, claim_folder
from mipin_ref.cli.pictures import Maps, write_heatmaps, write_pages
from mipin_ref.data import builtin, open_labels
from mipin_ref.errors import InvalidData
from mipin_ref.files import check_folder, make_folder
from mipin_ref.inverse.cluster.client import connect
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.checkpoint import discard
from mipin_ref.inverse.plan import plan_for
from mipin_ref.inverse.plan.describe import describe_inverses
from mipin_ref.inverse.plan.feature_maps import maps_to_explain
from mipin_ref.table import format_table

DEMO_SAMPLES = 1000


def demo(options: Namespace) -> None:
    """Fit all ten classes of the built-in digit network on the embedded sample, explain one digit a class, show APC."""
    out = claim_folder(options, options.out, PICTURES, pictures=True)
    example = builtin("mnist_cnn")
    net = mr.load(example.model)
    print(net)
    with np.load(example.calibration, allow_pickle=False) as stored:
        x, x_test, y_test = (stored[key] for key in ("x", "x_test", "y_test"))
    x, x_test = (a.astype(np.float32) / 255 for a in (x[:DEMO_SAMPLES], x_test))
    print(f"fitting {net.classes} classes on {len(x)} embedded digits, one inverse a layer")
    inverses = mr.fit(net, x, list(range(net.classes)), dtype="float32", progress=True)
    print(inverses[3].report)
    results = {c: inv.attribute(x_test[y_test == c]) for c, inv in inverses.items()}
    print(f"\nAPC of {len(x_test)} test digits, each explained for its own class (paper, Eq. 10 and 11):")
    print(mr.metrics.apc(net, results))
    make_folder(out)
    firsts = [res[:1] for res in results.values()]
    paths = write_heatmaps(np.concatenate([Maps().of(res) for res in firsts]), out)
    for path in [*paths, *write_pages(net, firsts, out, [f"digit {c}" for c in results])]:
        print(path)


def inspect(options: Namespace) -> None:
    """Print the layer table with each layer's inverse, and the tensors that are worth explaining."""
    net = mr.load(options.model, output=options.output)
    plan = plan_for(net, Options())
    print(net.table(("inverse: unknowns", describe_inverses(net, plan))))
    print("\ntensors to explain (--at):")
    rows = [[f"  {one.tensor}", "×".join(map(str, one.shape)), f"--map {one.kind}"] for one in maps_to_explain(net)]
    print(format_table(["  tensor", "shape", "map"], rows))


def fit(options: Namespace) -> None:
    """Fit and save one inverse a class."""
    targets = _targets(options.target)
    # Of all classes there are the names only when the network is read.
    paths = claim_files(options, _inverse_paths(options.out, [0, 1] if targets is None else targets))
    if options.checkpoint is not None:
        check_folder(options.checkpoint, ())
    net = mr.load(options.model, output=options.output)
    if targets is None:
        targets = list(range(net.classes))
        paths = claim_files(options, _inverse_paths(options.out, targets))
    beside = Path(options.out).with_name(f".{Path(options.out).name}.checkpoint")
    data = open_samples(options, options.data, net)
    labels = None if options.labels is None else open_labels(options.labels)[: options.limit]
    with nullcontext() if options.dask is None else connect(options.dask) as client:
        inverses = mr.fit(
            net,
            data,
            targets,
            labels=labels,
            **fit_options(options),
            backend=options.backend,
            batch_size=options.batch_size,
            memory=options.memory,
            checkpoint=beside if options.resume else options.checkpoint,
            progress=True,
            client=client,
        )
    for line in told_of_turned(options.data, data):
        print(line)
    for target, path in zip(targets, paths, strict=True):
        inverses[target].save(path)
        print(f"class {target}: {path}")
        print(inverses[target].report)
    if os.path.isdir(beside):
        # Of no more use, whether this fit went on from it or one that was killed left it there.
        discard(beside)


def patterns(options: Namespace) -> None:
    """Fit and save the patterns of PatternNet and PatternAttribution."""
    path = claim_file(options, options.out)
    net = mr.load(options.model, output=options.output)
    data = open_samples(options, options.data, net)
    fitted = mr.fit_patterns(
        net,
        data,
        at=options.at,
        backend=options.backend,
        dtype=options.dtype,
        batch_size=options.batch_size,
        memory=options.memory,
        progress=True,
    )
    fitted.save(path)
    for line in told_of_turned(options.data, data):
        print(line)
    print(f"patterns of {len(fitted.weights)} layers down to {fitted.at!r}, from {fitted.samples} samples: {path}")


def _targets(text: str) -> list[int] | None:
    """The classes; None for all."""
    if text == "all":
        return None
    try:
        return integers(text)
    except ArgumentTypeError:
        raise InvalidData(
            f"--target must be a class index, several separated by commas, or 'all', not {text!r}"
        ) from None


def _inverse_paths(pattern: str, targets: Sequence[int]) -> list[str]:
    """One path a class."""
    if len(targets) > 1 and "{target}" not in pattern:
        raise InvalidData("for several classes the file name must hold {target}, as in name-{target}.mipin")
    return [pattern.replace("{target}", str(target)) for target in targets]
