"""`mipin compare`: one HTML page of the maps of several methods, and their metrics, on a few images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import version
from math import ceil, prod
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli.compare_input import (
    Shown,
    check_options,
    left_out_line,
    make_panel,
    open_calibration,
    read_images,
    stored_inputs,
    tensor_of,
)
from mipin_ref.cli.compare_texts import as_tokens, text_rows
from mipin_ref.cli.compared import Compared, Seen, as_pictures, metrics_notes, metrics_table, run_panel, told_of_fits
from mipin_ref.cli.cost import told_of_cost
from mipin_ref.cli.failures import alike, failing
from mipin_ref.cli.files import labels_of
from mipin_ref.cli.following import OF_CALIBRATION, OF_TOKENS, following, preprocessing_flags
from mipin_ref.cli.model import open_model
from mipin_ref.cli.outputs import claim_file
from mipin_ref.cli.places import Places
from mipin_ref.cli.tokens import text_run_of
from mipin_ref.data import Samples
from mipin_ref.errors import InvalidData
from mipin_ref.explain.class_names import ClassNames, class_names_of
from mipin_ref.explain.feature_names import feature_names_of
from mipin_ref.explain.predict import Net, predicted
from mipin_ref.explain.targets import highest, is_classifier
from mipin_ref.explain.texts import TextRun
from mipin_ref.files import written_whole
from mipin_ref.graph.explained import told_of
from mipin_ref.graph.remembered import Remembered, remembering
from mipin_ref.layers import HostArray
from mipin_ref.memory import memory_bytes
from mipin_ref.report.compare_page import Comparison, Row, ShownClass, cell_of, compare_page
from mipin_ref.report.picture import channels_last, to_picture
from mipin_ref.report.signed_png import png_bytes
from mipin_ref.report.template import RANKS
from mipin_ref.report.texts_page import texts_page
from mipin_ref.table import format_table

MAP_PIXELS = 6_000_000
"""Pixels of all maps of a page, at most: each takes about 1.4 bytes where maps are noise, which compresses worst."""
BATCH = 32
"""Images that are run at once."""
PICTURE = 128
"""Pixels that the longer side of an input has in the page at most."""


def compare(options: Namespace) -> int:
    """Write the page, print its metrics and the methods that fail. Returns 1 where images could not be read."""
    out = claim_file(options, options.out)
    check_options(options)
    run = text_run_of(options, options.images)
    net = open_model(options, run)
    # The same images again and again: for every method, for each of their classes, for both metrics.
    with remembering(net, Remembered(memory_bytes(options.memory))):
        return _compare(options, out, net, run)


def _compare(options: Namespace, out: Path, net: Net, run: TextRun | None) -> int:
    names = class_names_of(net, options.class_names, Path(options.model))
    inputs = stored_inputs(options, net, run)
    places = Places.of(net, inputs.kind, inputs.picture)
    tensor, alone = tensor_of(options, net, places)
    if isinstance(net, mr.Network) and alone is None:
        print(told_of(net, tensor), flush=True)
    images = read_images(options, net, inputs, run)
    for line in () if run is None else run.lines:
        print(line)
    told: str | None = None
    fitted_on = 0

    def calibration() -> Samples:
        nonlocal told, fitted_on
        samples, told = open_calibration(options, net, images, run)
        fitted_on = len(samples)
        return samples

    panel = make_panel(options, net, tensor, alone, calibration)
    x, count = images.x, images.count
    labels = labels_of(options, net, count if options.limit is None else min(options.limit, count))
    if images.first < count:
        print(f"showing the first {images.first} of {count} {inputs.noun}s (--limit)", flush=True)
    began = perf_counter()
    scores, shares = predicted(net, x, BATCH)
    forward = (perf_counter() - began) / len(x)
    seen = Seen(net, x, highest(scores, len(RANKS)), places, images.tokens)
    factor = 1 if places.flat else whole_factor(len(panel.names) * seen.targets.size, places.size)
    # Of the input each method explains its own default: grad-cam has no meaning there.
    at = None if tensor == net.input else tensor
    if cost := told_of_cost(panel, seen, fitted_on, forward, at):
        print(cost, flush=True)
    compared = run_panel(panel, seen, as_pictures(factor) if seen.tokens is None else as_tokens, at)
    failures = alike(panel.names, panel.failures)
    if not compared:
        raise InvalidData("every method fails: " + "; ".join(f"{together}: {reason}" for together, reason in failures))
    rows = _rows(seen, compared, scores, shares, names, labels, images)
    shown = Comparison(
        model=_model_name(options.model),
        facts=_facts(options, net, images, told, tensor, alone),
        methods=[one.name for one in compared],
        failures=failures,
        rows=rows,
        factor=factor,
        metrics=metrics_table(compared),
        notes=[*told_of_fits(panel, seen), *metrics_notes(compared, seen), *left_out_line(options, alone)],
        noun=inputs.noun,
        part=places.part,
        names=feature_names_of(net) or (),
    )
    page = compare_page(shown) if seen.tokens is None else texts_page(shown, text_rows(seen, compared, rows))
    with written_whole(out) as file:
        file.write(page.encode("utf-8"))
    print(format_table(*shown.metrics))
    for note in (note for one in compared for note in one.notes):
        print(f"no value: {note}")
    for together, reason in failures:
        print(f"{failing(together)}: {reason}")
    if factor > 1:
        print(f"maps are stored as means of {factor}x{factor} pixels; fewer images or methods give finer ones")
    print(out)
    print(f"next: open {out} in a browser{_measuring(options, seen, images, panel, tensor)}")
    return images.code


def _measuring(options: Namespace, seen: Seen, images: Shown, panel: mr.Panel, tensor: str) -> str:
    """The command that measures the same methods on the images; nothing where some of these cannot be read, or
    the output is no classifier's.
    """
    if images.code or not is_classifier(seen.net):
        return ""
    more = [*preprocessing_flags(images.preprocessing), "--limit", str(images.first), "--steps", str(seen.steps)]
    more += ["--score", seen.output] if seen.output == "logit" else []
    # Of ids every method explains the rows that they look up unless it is told otherwise.
    more += ["--at", tensor] if tensor != seen.net.input and seen.tokens is None else []
    if options.calibration is None and panel.fitted:
        more += ["--calibration", options.images, "--calibration-limit", str(images.first)]
        more += [] if options.key is None else ["--calibration-key", options.key]
    keep = ("key", *OF_TOKENS, "labels", "label_key", "methods", "backend", "dtype", "memory", *OF_CALIBRATION)
    return f"; measured: {following('evaluate deletion', options, options.images, keep=keep, more=more)}"


def whole_factor(maps: int, size: tuple[int, int]) -> int:
    """The least side of blocks that leaves so many maps of (H, W) at most MAP_PIXELS pixels."""
    factor = 1
    while maps * ceil(size[0] / factor) * ceil(size[1] / factor) > MAP_PIXELS and factor < max(size):
        factor += 1
    return factor


def _rows(
    seen: Seen,
    compared: Sequence[Compared],
    scores: HostArray,
    shares: HostArray | None,
    names: ClassNames,
    labels: HostArray | None,
    shown: Shown,
) -> list[Row]:
    images = _pictures(seen)
    rows = []
    for number, (image, targets) in enumerate(zip(images, seen.targets, strict=True)):
        position = shown.positions[number]
        # Of a single sigmoid there is one target, so that labels tell nothing.
        label = None if labels is None or names.net.classes == 1 else int(labels[position])
        classes = [
            ShownClass(names.of(int(c)), f"{scores[number, c]:.3g}" if shares is None else _percent(shares[number, c]))
            for c in targets
        ]
        row = Row(
            title=f"{shown.inputs.noun} {position}" + ("" if shown.names is None else f": {shown.names[number]}"),
            picture=image,
            classes=classes,
            maps={one.name: one.maps[number] for one in compared},
            label="" if label is None else names.of(label),
            right=label == targets[0],
        )
        rows.append(row)
    return rows


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _pictures(seen: Seen) -> list[bytes]:
    """What people see of each sample, as a PNG file: of what is no image a line of grey, one place beside another; of
    texts nothing.
    """
    if seen.tokens is not None:
        return [b""] * len(seen.x)
    if not seen.places.flat:
        x = seen.x
        if seen.places.size != seen.places.grid:
            x = x.reshape(len(x), *seen.places.size)
            return [_picture(one) for one in x[..., None]]
        return [_picture(one) for one in channels_last(x, seen.net.channel_axis(seen.net.input), "images")]
    axis = seen.net.channel_axis(seen.net.input)
    values = seen.x.astype(np.float64)
    lines = (values if axis is None else values.mean(axis=axis)).reshape(len(values), -1)
    # A feature is dark or light among its values in the rows shown; a signal's step among those of the signal.
    across = 0 if seen.places.kind == "table" else 1
    low, high = lines.min(axis=across, keepdims=True), lines.max(axis=across, keepdims=True)
    grey = np.rint(255 * (lines - low) / np.where(high > low, high - low, 1)).astype(np.uint8)
    width, height = cell_of(seen.places.size)
    # As high as the page draws its maps.
    rows = max(1, round(height * grey.shape[1] / width))
    return [png_bytes(Image.fromarray(np.repeat(one[None], rows, 0))) for one in grey]


def _picture(image: HostArray) -> bytes:
    picture = Image.fromarray(to_picture(image, image))
    picture.thumbnail((PICTURE, PICTURE), Image.Resampling.BOX)
    return png_bytes(picture)


def _size(net: Net, seen: Shown) -> str:
    """What the network reads of a sample, in words."""
    size = "×".join(map(str, net.input_shape))
    if seen.tokens is None:
        return size
    longest = seen.tokens.longest
    return f"{size} tokens" + ("" if longest == prod(net.input_shape) else f", {longest:,} in the longest text shown")


def _model_name(path: str) -> str:
    """The file's name, with its folder's: many are called model.onnx."""
    return "/".join(Path(path).absolute().parts[-2:])


def _facts(
    options: Namespace, net: Net, seen: Shown, calibration: str | None, tensor: str, alone: str | None
) -> list[tuple[str, str]]:
    shown, count = len(seen.x), seen.count
    images = f"{shown if shown == count else f'the first {shown} of {count}'} in {Path(options.images).name}"
    if options.key is not None:
        images += f", {options.key}"
    facts = [(f"{seen.inputs.noun}s", images), ("input", _size(net, seen))]
    facts += [("classes", str(net.classes)), ("score", net.probability or "the logit")]
    if isinstance(net, mr.Network) and alone is None:
        facts.append(("explained", told_of(net, tensor).removeprefix("explained at ")))
    else:
        facts.append(("explained", f"{tensor!r}, the input, by methods of the forward pass alone, {alone}"))
    facts.append(("model SHA-256", net.sha256[:16]))
    if seen.line:
        facts.append(("preprocessing", seen.line.removeprefix("preprocessing ")))
    if calibration is not None:
        facts.append(("calibration", calibration))
    facts += [("option", text) for text in options.option]
    facts += [("given", f"{name}={value}") for name, value in options.given]
    return [*facts, ("dtype", options.dtype), ("mipin_ref", version("mipin_ref"))]
