"""What each command of `mipin` does: read, call the library, write, say what was written."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from glob import escape
from pathlib import Path
from shlex import quote

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.arguments import Target, targets
from mipin_ref.cli.digit_page import write_digit_page
from mipin_ref.cli.files import open_samples, told_of_turned
from mipin_ref.cli.fit_options import fit_options
from mipin_ref.cli.following import FEW, following
from mipin_ref.cli.model import load_model, open_model, told_of_end
from mipin_ref.cli.outputs import PICTURES, claim_file, claim_files, claim_folder
from mipin_ref.cli.pictures import write_heatmaps, write_pages
from mipin_ref.data import builtin, open_labels
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.errors import InvalidData
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.chosen import guess_of
from mipin_ref.explain.class_names import class_names_of, told_target
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.known import known_preprocessing
from mipin_ref.explain.targets import is_classifier
from mipin_ref.files import check_folder, make_folder
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.cluster.client import connect
from mipin_ref.inverse.family import Family
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.checkpoint import discard
from mipin_ref.inverse.plan import plan_for
from mipin_ref.inverse.plan.describe import describe_inverses
from mipin_ref.inverse.plan.feature_maps import maps_to_explain
from mipin_ref.progress import progress_bar
from mipin_ref.table import format_table

DEMO_SAMPLES = 1000
ALL_TARGETS = "this is of all targets at once: --target shows the part that one of them is made of"


def demo(options: Namespace) -> None:
    """Fit all ten classes of the built-in digit network on the embedded sample, explain one digit a class, show APC.

    Where a page is asked for, the page alone.
    """
    if options.html is not None:
        write_digit_page(options)
        return
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
    paths = write_heatmaps(np.concatenate([mr.saliency(res, positive=False) for res in firsts]), out)
    for path in [*paths, *write_pages(net, firsts, out, [f"digit {c}" for c in results])]:
        print(path)
    digits = [example.model, example.calibration, "--key", "x_test", "--limit", FEW, "-o", f"{out}-explained"]
    print(f"next: mipin explain {' '.join(quote(str(word)) for word in digits)}")


def inspect(options: Namespace) -> None:
    """Print the layer table with each layer's inverse, how far down these reach, and the tensors worth explaining."""
    if options.images is not None:
        _inspect_images(open_model(options), options)
        return
    net = load_model(options)
    target = None
    if options.target is not None:
        net, target = facing(net, net.check_target(options.target))
    maps, joined = maps_to_explain(net), options.target is None and isinstance(net.target(0), tuple)
    last = maps[-1].tensor
    try:
        plan = plan_for(net, Options(at=last), target)
    except InvalidData:
        # What parts of an output are made of may reach further than what all of them are made of.
        if not joined:
            raise
        print(f"{net}\n{ALL_TARGETS}")
        return
    print(net.table(("inverse: unknowns", describe_inverses(net, plan))))
    if last != net.input:
        print(f"explained at {last!r} at most: inverses reach no further down")
    if joined:
        print(ALL_TARGETS)
    print("\ntensors to explain (--at):")
    rows = [[f"  {one.tensor}", "×".join(map(str, one.shape)), f"--map {one.kind}"] for one in maps]
    print(format_table(["  tensor", "shape", "map"], rows))
    asked = [] if target is None else ["--target", told_target(options.target)]
    if not asked and not is_classifier(net):
        asked = ["--target", told_target(net.target(net.classes // 2))]
    pictured = image_geometry(net.input_shape) is not None
    print(f"next: {following('explain', options, 'IMAGES' if pictured else 'DATA', more=asked)}")


def _inspect_images(net: mr.Network | ForwardOnly, options: Namespace) -> None:
    """Print what the network makes of images under each preset, and which preprocessing `explain` would take."""
    names = class_names_of(net, options.class_names, Path(options.model))
    inputs = Inputs.of(net, options.images, key=options.key, limit=options.limit)
    if not inputs.pixels:
        raise InvalidData(f"{options.images}: holds no bytes, which presets are for: numbers are taken as they are")
    if net.whole:
        raise InvalidData(f"input {net.input!r} reads pixels as integers, as they are: there is no preset to choose")
    with progress_bar(True) as begin:
        made = guess_of(net, inputs, Cache(None), begin, every=True)
    if made is None:
        raise InvalidData(f"output {net.output!r} has no probability to tell presets by")
    print(made.table(names))
    known = known_preprocessing(net, Path(options.model))
    if known is not None:
        print(f"{known.origin} says: {known.preprocessing.describe()}")
    else:
        print(made.line())
    kept = ("key", "limit", "class_names")
    asked = [] if is_classifier(net) else ["--target", told_target(net.target(net.classes // 2))]
    print(f"next: {following('explain', options, options.images, keep=kept, more=asked)}")


def fit(options: Namespace) -> None:
    """Fit and save one inverse a class."""
    asked, how = _targets(options.target), fit_options(options)
    # Of all classes there are the names only when the network is read.
    # Inverses that share a part lie in one file, unless the name asks for one each.
    together = how["common"] is not None and "{target}" not in options.out and (asked is None or len(asked) > 1)
    paths = claim_files(
        options, [options.out] if together else _inverse_paths(options.out, [0, 1] if asked is None else asked)
    )
    if options.checkpoint is not None:
        check_folder(options.checkpoint, ())
    net = load_model(options)
    if asked is None:
        asked = [net.target(index) for index in range(net.classes)]
        paths = paths if together else claim_files(options, _inverse_paths(options.out, asked))
    beside = Path(options.out).with_name(f".{Path(options.out).name}.checkpoint")
    data = open_samples(options, options.data, net)
    labels = None if options.labels is None else open_labels(options.labels)[: options.limit]
    with nullcontext() if options.dask is None else connect(options.dask) as client:
        inverses = mr.fit(
            net,
            data,
            asked,
            labels=labels,
            **how,
            backend=options.backend,
            batch_size=options.batch_size,
            memory=options.memory,
            checkpoint=beside if options.resume else options.checkpoint,
            progress=True,
            client=client,
        )
    for line in told_of_turned(options.data, data):
        print(line)
    # Not all of them: what a class has alone may be fitted only when it is asked for.
    first = next(iter(inverses.values()))
    for line in told_of_end(net, first.plan.explained, how["at"]):
        print(line)
    out = options.out
    if isinstance(inverses, Family) and together:
        inverses.save(paths[0])
        print(f"{len(inverses):,} classes: {paths[0]}")
        print(first.report)
    else:
        if together:
            # Classes that depend on different tensors or locations share nothing that one file could hold.
            out = _one_each(out)
            paths = claim_files(options, _inverse_paths(out, asked))
        for target, inverse, path in zip(asked, inverses.values(), paths, strict=True):
            inverse.save(path)
            print(f"class {target}: {path}")
            print(inverse.report)
    # A class that an image is taken for has an inverse only where all are there, or where there is but one to take.
    told = ["--target", ",".join(map(told_target, asked))] if 1 < len(asked) < net.classes else []
    print(f"next: {_explaining(options, ['--inverse', _pattern(out), *told])}")
    if os.path.isdir(beside):
        # Of no more use, whether this fit went on from it or one that was killed left it there.
        discard(beside)


def patterns(options: Namespace) -> None:
    """Fit and save the patterns of PatternNet and PatternAttribution."""
    path = claim_file(options, options.out)
    net = load_model(options)
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
    for line in told_of_end(net, fitted.at, options.at):
        print(line)
    print(f"patterns of {len(fitted.weights)} layers down to {fitted.at!r}, from {fitted.samples} samples: {path}")
    end = [] if fitted.at == net.input else ["--at", fitted.at]
    asked = [] if is_classifier(net) else ["--target", told_target(net.target(net.classes // 2))]
    print(f"next: {_explaining(options, ['--method', 'patternnet', '--patterns', str(path), *end, *asked])}")


def _explaining(options: Namespace, more: Sequence[str]) -> str:
    """The command that explains a few of the samples that something was fitted on."""
    few = str(min(FEW, FEW if options.limit is None else options.limit))
    # What was fitted carries its preprocessing.
    return following("explain", options, options.data, keep=("key", "exif"), more=["--limit", few, *more])


def _pattern(out: str) -> str:
    """What fits the files of all classes that `--out` names."""
    return "*".join(map(escape, out.split("{target}"))) if "{target}" in out else out


def _targets(text: str) -> list[Target] | None:
    """The classes, or tuples of indices; None for all."""
    if text == "all":
        return None
    try:
        return targets(text)
    except ArgumentTypeError:
        raise InvalidData(
            f"--target must be a class index, or indices into an output of several axes as 5:1000, several of these "
            f"separated by commas, or 'all', not {text!r}"
        ) from None


def _one_each(out: str) -> str:
    """The name of a file with the place of its class in front of the ending."""
    path = Path(out)
    return str(path.with_name(f"{path.stem}-{{target}}{path.suffix}"))


def _inverse_paths(pattern: str, asked: Sequence[Target]) -> list[str]:
    """One path a class."""
    if len(asked) > 1 and "{target}" not in pattern:
        raise InvalidData("for several classes the file name must hold {target}, as in name-{target}.mipin")
    # Not the colons of the command line: some systems have no such names.
    names = ["-".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in asked]
    return [pattern.replace("{target}", name) for name in names]
