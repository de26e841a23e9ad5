"""What each command of `mipin` does: read, call the library, write, say what was written."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.pictures import write_pictures
from mipin_ref.data import Preprocessing, Samples, builtin, first, open_data, open_labels
from mipin_ref.errors import InvalidData
from mipin_ref.files import written_whole
from mipin_ref.inverse.blocks import describe_inverse

DEMO_SAMPLES = 1000


def demo(options: Namespace) -> None:
    """Fit all ten classes of the built-in digit network on the embedded sample, explain one digit a class, show APC."""
    found = builtin("mnist_cnn")
    net = mr.load(found.model)
    print(net)
    with np.load(found.calibration, allow_pickle=False) as stored:
        x, x_test, y_test = (stored[key] for key in ("x", "x_test", "y_test"))
    x, x_test = (a.astype(np.float32) / 255 for a in (x[:DEMO_SAMPLES], x_test))
    print(f"fitting {net.classes} classes on {len(x)} embedded digits, one inverse a layer")
    inverses = mr.fit(net, x, list(range(net.classes)), dtype="float32", progress=True)
    print(inverses[3].report)
    results = {c: inv.attribute(x_test[y_test == c]) for c, inv in inverses.items()}
    print(f"\nAPC of {len(x_test)} test digits, each explained for its own class (paper, Eq. 10 and 11):")
    print(mr.metrics.apc(net, results))
    out = _folder(options.out)
    for path in write_pictures(net, [r[:1] for r in results.values()], out, titles=[f"digit {c}" for c in results]):
        print(path)


def inspect(options: Namespace) -> None:
    """Print the layer table with each layer's inverse."""
    net = mr.load(options.model, output=options.output)
    print(net.table(("inverse", [describe_inverse(layer) for layer in net.layers])))


def fit(options: Namespace) -> None:
    """Fit and save one inverse a class."""
    net = mr.load(options.model, output=options.output)
    targets = _targets(options.target, net.classes)
    paths = _inverse_paths(options.out, targets)
    data = _open(options, options.data, net)
    labels = None if options.labels is None else open_labels(options.labels)[: options.limit]
    inverses = mr.fit(
        net,
        data,
        targets,
        labels=labels,
        ridge=options.ridge,
        conv_bias=options.conv_bias,
        at=options.at,
        input_mask=options.input_mask,
        local=options.local,
        fit_on=options.fit_on,
        backend=options.backend,
        dtype=options.dtype,
        batch_size=options.batch_size,
        memory=options.memory,
        progress=True,
    )
    for target, path in zip(targets, paths, strict=True):
        inverses[target].save(path)
        print(f"class {target}: {path}")
        print(inverses[target].report)


def explain(options: Namespace) -> None:
    """Write attribution.npz and, where the explained tensor has an image shape, pictures."""
    net = mr.load(options.model, output=options.output)
    inverse = mr.load_inverse(options.inverse, net, target=options.target, backend=options.backend)
    data = _open(options, options.images, net)
    res = inverse.attribute(data)
    out = _folder(options.out)
    arrays = out / "attribution.npz"
    with written_whole(arrays) as file:
        np.savez(
            file,
            value=res.value,
            source=res.source,
            attribution=res.attribution,
            contribution=res.contribution,
            output=res.output,
            header=json.dumps({"target": res.target, "tensor": res.tensor, "model_sha256": net.sha256}),
        )
    print(arrays)
    if res.value.ndim != (3 if res.channel_axis is None else 4):
        print(f"tensor {res.tensor!r} of shape {list(res.value.shape)} has no image shape: no pictures")
        return
    for path in write_pictures(net, [res], out, titles=[f"#{i}, class {res.target}" for i in range(len(res.value))]):
        print(path)


def _open(options: Namespace, path: str, net: mr.Network) -> Samples:
    preprocessing = Preprocessing(options.scale, options.mean, options.std, net.input_shape)
    print(f"{path}: {preprocessing.describe()}", flush=True)
    data = open_data(path, key=options.key, preprocessing=preprocessing)
    return data if options.limit is None else first(data, options.limit)


def _targets(text: str, classes: int) -> list[int]:
    if text == "all":
        return list(range(classes))
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidData(
            f"--target must be a class index, several separated by commas, or 'all', not {text!r}"
        ) from None


def _inverse_paths(pattern: str, targets: Sequence[int]) -> list[Path]:
    """One path a class, whose folder exists: a fit must not end with nowhere to go."""
    if len(targets) > 1 and "{target}" not in pattern:
        raise InvalidData("for several classes the file name must hold {target}, as in name-{target}.mipin")
    paths = [Path(pattern.replace("{target}", str(target))) for target in targets]
    for path in paths:
        if not path.parent.is_dir():
            raise InvalidData(f"there is no folder {str(path.parent)!r} to write to")
        if path.is_dir():
            raise InvalidData(f"{str(path)!r} is a folder")
    return paths


def _folder(path: str) -> Path:
    out = Path(path)
    out.mkdir(parents=True, exist_ok=True)
    return out
