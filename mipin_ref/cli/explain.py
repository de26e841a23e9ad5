"""`mipin explain`: what a model sees in images: a page, pictures and arrays of any number of them, batch by batch."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from math import prod
from pathlib import Path

import mipin_ref as mr
from mipin_ref.cli.compare_input import MOST
from mipin_ref.cli.explain_asked import asked_of
from mipin_ref.cli.files import tell_broken, told_of, told_of_turned
from mipin_ref.cli.following import OF_CALIBRATION, OF_DATA, OF_TOKENS, following, preprocessing_flags
from mipin_ref.cli.model import open_model
from mipin_ref.cli.outputs import claim_folder
from mipin_ref.cli.pictures import image_size
from mipin_ref.cli.tokens import print_tokens, text_run_of
from mipin_ref.errors import InvalidData
from mipin_ref.explain.cache import Cache, cache_folder
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.feature_names import given_feature_names, names_for
from mipin_ref.explain.said import stored_tokens
from mipin_ref.explain.settle import settle
from mipin_ref.explain.shown import (
    Maps,
    header_of,
    joined_maps,
    maps_of,
    shown_kind,
    shown_samples,
    stored_arrays,
    told_of_run,
)
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.progress import progress_bar
from mipin_ref.report.explained import NAMES, ExplainedFolder, ShownSample
from mipin_ref.report.explained.earlier import earlier_set

LARGEST_MAP = 2048
BATCH_BYTES = 256 << 20
ROWS = 10
PAGES = 10
"""The most tens of samples in one batch."""
LISTED = 20
"""Files whose paths are printed; of more, the first and the last."""


def explain(options: Namespace) -> int:
    """Write a folder: index.html, a picture a sample, attribution.npz.

    Broken image files are named and left out. Returns 1 where there are such.
    """
    out = f"{Path(options.model).stem}-explained" if options.out is None else options.out
    folder = claim_folder(options, out, NAMES, pictures=True)
    earlier_set(folder)
    run = text_run_of(options, options.images)
    net = open_model(options, run)
    size = _size(net, options)
    asked = asked_of(options, net)
    if run is not None:
        asked = replace(asked, images=run.images, calibration=run.calibration, texts=run.texts)
    for line in () if run is None else run.lines:
        print(line)
    features = None if options.feature_names is None else given_feature_names(net, options.feature_names, asked.at)
    explainer = settle(
        net,
        Path(options.model),
        asked,
        lambda line: print(line, flush=True),
        Cache(cache_folder() if options.cache else None),
    )
    for line in told_of(options.images, explainer.data):
        print(line)
    maps = _maps(net, explainer.tensor, size, options)
    texts: list[ShownSample] = []
    paths = _written(explainer, folder, maps, options, names_for(net, explainer.tensor, features), texts)
    for sample in texts:
        print_tokens(sample)
    code = tell_broken(explainer.failures, len(explainer.data))
    for path in paths if len(paths) <= LISTED else [*paths[:4], paths[-1]]:
        print(path)
    if len(paths) > LISTED:
        print(f"and {len(paths) - 5:,} pictures between the last two")
    for line in told_of_turned(options.images, explainer.data):
        print(line)
    print(f"next: open {paths[0]} in a browser; other methods beside this one: {_comparing(explainer, options)}")
    return code


def _comparing(explainer: Explainer, options: Namespace) -> str:
    """The command that shows the same samples under other methods."""
    fitted = options.inverse is not None or options.patterns is not None
    known = preprocessing_flags(explainer.data.source.preprocessing) if fitted else []
    keep = [*(("key",) if fitted else OF_DATA), *OF_TOKENS, "class_names"]
    keep += [] if fitted else OF_CALIBRATION
    keep += [] if (options.limit or 0) > MOST else ["limit"]
    return following("compare", options, options.images, keep=keep, more=[*known, "-o", "report.html"])


def _written(
    explainer: Explainer,
    folder: Path,
    maps: Maps | None,
    options: Namespace,
    features: Sequence[str] | None,
    texts: list[ShownSample],
) -> list[Path]:
    """The paths of what is written. texts: takes the first of them."""
    header = header_of(explainer, None if maps is None else asdict(maps))
    told = told_of_run(explainer, Path(options.model).name)
    count, size = len(explainer.rows), _batch(explainer, maps)
    with ExitStack() as stack:
        begin = stack.enter_context(progress_bar(not explainer.shows_progress))
        advance = begin(f"explaining {explainer.tensor}, {_classes(explainer)}", count)
        made: ExplainedFolder | None = None
        for start in range(0, count, size):
            x, results = explainer.explain(start, start + size)
            drawn = [maps_of(explainer, res) for res in results]
            if made is None:
                kind = shown_kind(explainer, drawn[0])
                opened = ExplainedFolder(folder, told, kind=kind, feature_names=features, header=header)
                made = stack.enter_context(opened)
            stored = results[: explainer.stored]
            arrays = stored_arrays(explainer, stored, start) | stored_tokens(explainer, x, start)
            if maps is not None:
                arrays["map"] = joined_maps([maps.of(res) for res in stored])
            shown = shown_samples(explainer, x, results, drawn, start)
            made.add(shown, arrays)
            texts += shown[: max(0, LISTED - start)] if kind == "tokens" else ()
            advance(len(x))
        assert made is not None
        return made.finish()


def _classes(explainer: Explainer) -> str:
    classes = {int(c) for c in explainer.targets.ravel()}
    return explainer.names.of(min(classes)) if len(classes) == 1 else f"{len(classes)} classes"


def _size(net: mr.Network | ForwardOnly, options: Namespace) -> tuple[int, int] | None:
    """The size of stored maps that `--size` asks for, None for the tensor's own."""
    if options.size is None:
        return None
    size = image_size(net, net.input) if options.size == "input" else _height_and_width(options.size)
    if options.at in net.shapes and image_size(net, options.at) is None:
        raise _no_map(net, options.at)
    if size is None:
        raise InvalidData(f"--size input: the input {net.input!r} of shape {list(net.input_shape)} is no image")
    return size


def _maps(net: mr.Network | ForwardOnly, tensor: str, size: tuple[int, int] | None, options: Namespace) -> Maps | None:
    """The maps to store: signed ones of the input, the positive part inside; None where the tensor is no image."""
    if tensor not in net.shapes or image_size(net, tensor) is None:
        if size is not None:
            raise _no_map(net, tensor)
        return None
    return Maps(options.map, tensor != net.input, size)


def _no_map(net: mr.Network | ForwardOnly, tensor: str) -> InvalidData:
    return InvalidData(f"--size: tensor {tensor!r} of shape {list(net.shapes[tensor])} has no map to resize")


def _height_and_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= min(size) <= max(size) <= LARGEST_MAP:
        raise InvalidData(
            f"--size must be 'input' or HxW in pixels, from 1x1 to {LARGEST_MAP}x{LARGEST_MAP}, not {text!r}"
        )
    return size


def _batch(explainer: Explainer, maps: Maps | None) -> int:
    """Samples in a batch: tens whose arrays stay small, ten at least."""
    net, ranks = explainer.net, explainer.targets.shape[1]
    height, width = (maps and maps.size) or explainer.inputs.picture or (0, 0)
    # Value, source, attribution, contribution; the maps.
    values = 4 * prod(net.shapes.get(explainer.tensor, net.input_shape)) + 2 * height * width
    ten = ROWS * 8 * ranks * values
    return int(ROWS * max(1, min(PAGES, BATCH_BYTES // max(1, ten))))
