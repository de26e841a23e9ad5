"""The public function: from a model and images to maps of the classes that they are taken for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from mipin_ref.backend import Backend
from mipin_ref.explain.asked import Asked
from mipin_ref.explain.cache import Cache, cache_folder
from mipin_ref.explain.explanation import Explanation, explanation_of
from mipin_ref.explain.settle import settle
from mipin_ref.explain.texts import check_no_texts, open_for, text_run
from mipin_ref.graph.asked_inputs import asked_inputs
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.load import Model
from mipin_ref.graph.network import Network
from mipin_ref.options import checked_flag


def explain(
    model: Network | ForwardOnly | Model,
    images: Any,
    target: Any = "predicted",
    method: str = "mip-in",
    at: str | None = "auto",
    calibration: Any = None,
    inverse: Any = None,
    top: int = 1,
    preprocess: Any = None,
    class_names: Any = None,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    output: str | None = None,
    given: Mapping[str, Any] | None = None,
    progress: bool = True,
    *,
    preset: str | None = None,
    tokenizer: Any = None,
    cache: bool = True,
    dtype: str | None = None,
    memory: str | int = "2GB",
    backend: str | Backend = "numpy",
    **options: Any,
) -> Explanation:
    """Explain what a classifier sees in images: the class that each is taken for, and the map of it.

    model: a path, bytes, a ModelProto or a Network; images: a folder, a file, a list of image files, or an array
    [N, ...], of bytes as pixels or of floats as the network takes them (signals, table rows and tokens too);
    target: "predicted"; an index, a class name, or a tuple of indices where the output has more axes; a list of these,
    one a sample; or integers [N, k], several a sample; top: the so many highest classes of each instead of the first;
    method: one of `methods()`; at: a tensor, "input" for the pixels, "auto" for the last map where the network has one,
    else as far down as inverses reach, None for the method's own;
    calibration: samples that MIP-IN is fitted on, a path or an array; by default crops, flips and mosaics of the images
    themselves, made with a seed; inverse: what was fitted before, an Inverse, several by class, or their files;
    preprocess: "unit", "imagenet", "inception", "caffe", "raw", a pair (mean, std) of pixels divided by 255, or a
    Preprocessing; by default that of the inverse, else what the model's metadata or a file beside it tell, else the
    preset under which the network is clearly surest, which is said as a guess (`told`);
    class_names: a file (a JSON list or object by index, or a name a line), a list or mapping; by default the model's;
    tokenizer: of a network that reads ids of tokens, so that `images` and `calibration` may be texts: a file of one a
    line, or a list; a tokenizer.json, a vocabulary (a token a line, a JSON list, a JSON object of ids), or a tokenizer
    of the packages `tokenizers` and `transformers`; texts of different lengths are filled up to one, under a mask where
    the network reads one; without it, ids are shown as they are;
    input_shape, output, given: see `load`; progress: say on stderr what is chosen and guessed, and show a bar on a
    terminal; cache: keep what was fitted in the user's cache folder, by content, so that the next call takes it from
    there; preset: options of MIP-IN's fit by one name, "localise", see `fit`;
    dtype: of a fit, "float32" by default, or of another method, "float64"; memory, backend: see `attribute`;
    options: of the method, as ridge=10.
    Image files that cannot be read are left out and told (`left_out`). Raises InvalidData, CorruptFile and
    UnsupportedModel, each in a sentence. Warns where samples are too few for a layer.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> ex = mr.explain(digits.model, x[:3], method="grad-cam", at=None, progress=False)
    >>> ex.names, ex.maps.shape
    (['0', '1', '2'], (3, 28, 28))
    """
    checked_flag("progress", progress)
    checked_flag("cache", cache)
    run = None
    if tokenizer is None:
        check_no_texts(images)
    else:
        run = text_run(asked_inputs(model), images, calibration, tokenizer, input_shape, given)
        images, calibration, input_shape = run.images, run.calibration, run.input_shape
    net = open_for(model, run, output=output, input_shape=input_shape, given=given)
    path = Path(model) if isinstance(model, str | PathLike) else None
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if progress:
            print(line, file=sys.stderr, flush=True)

    asked = Asked(
        images=images,
        target=target,
        method=method,
        at=at,
        calibration=calibration,
        inverse=inverse,
        top=top,
        preprocess=preprocess,
        class_names=class_names,
        options=options,
        preset=preset,
        dtype=dtype,
        memory=memory,
        backend=backend,
        progress=progress,
        texts=None if run is None else run.texts,
    )
    for line in () if run is None else run.lines:
        tell(line)
    explainer = settle(net, path, asked, tell, Cache(cache_folder() if cache else None))
    for failure in explainer.failures:
        tell(f"left out: {failure}")
    return explanation_of(explainer, told, "the model" if path is None else path.name)
