"""Patterns of a network: fitted in passes over calibration samples, saved, and read for that network alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mipin_ref.backend import Backend, get_backend
from mipin_ref.data import Calibration, Preprocessing, Seen, as_samples
from mipin_ref.data.calibration import checked_preprocessing
from mipin_ref.data.seen import Extent, channels_of
from mipin_ref.display import OneLine, brief
from mipin_ref.errors import CorruptFile, InvalidData, UnsupportedModel
from mipin_ref.graph.explained import deepest, explained
from mipin_ref.graph.forward import Recorder, check_batch, record_bytes
from mipin_ref.graph.network import Network
from mipin_ref.layers import Conv, Dense, HostArray, Shared
from mipin_ref.memory import batch_rows, checked_batch_size, memory_bytes
from mipin_ref.methods.fitting import Fitting
from mipin_ref.methods.pattern_sums import PatternSums
from mipin_ref.progress import progress_bar
from mipin_ref.reading import path_of, regular_file
from mipin_ref.store import PATTERNS, read, write

PATTERNED = frozenset({Dense, Conv})
"""The kinds of weighted layers that have a pattern: those that the method was made for."""

SUMS_SHARE = 0.5
"""The share of the memory for the sums of one pass."""


@dataclass(frozen=True, eq=False)
class Patterns(OneLine):
    """What `fit_patterns` found; immutable.

    at: the tensor that they lead down to; weights: by output of each Dense and Conv on the way, its pattern in float64
    of its weight's shape; samples: calibration samples used; calibration: their preprocessing and range, None where
    patterns were put together otherwise.
    """

    net: Network
    at: str
    weights: Mapping[str, HostArray]
    samples: int
    calibration: Calibration | None = None

    def __repr__(self) -> str:
        count = len(self.weights)
        return f"Patterns(of {count} layers down to {brief(self.at)}, fitted on {self.samples:,} samples)"

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What was done to the calibration data; None where they came as an array and nothing was said of it."""
        return None if self.calibration is None else self.calibration.source.preprocessing

    @property
    def seen(self) -> Seen | None:
        """Range and mean of every channel of the calibration data as the network saw them."""
        return None if self.calibration is None else self.calibration.seen

    def save(self, path: str | Path) -> None:
        """Write to a file, whole or not at all. Raises InvalidData where it cannot be written."""
        header = {
            "model_sha256": self.net.sha256,
            "output": self.net.output,
            "at": self.at,
            "samples": self.samples,
            "layers": list(self.weights),
            "calibration": None if self.calibration is None else self.calibration.header(),
        }
        tensors = {} if self.calibration is None else self.calibration.tensors()
        write(path_of(path), header, tensors | {str(i): a for i, a in enumerate(self.weights.values())}, PATTERNS)


def fit_patterns(
    net: Network,
    x: Any,
    *,
    at: str | None = None,
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    progress: bool = False,
    preprocess: Preprocessing | None = None,
) -> Patterns:
    """The patterns of every Dense and Conv between the logits and the input, or the inner tensor `at`.

    x: calibration samples [N, *input_shape], N >= 2: array, path, or anything with len() and slicing, read batch by
    batch; dtype: of products, sums are in float64; memory: what sums and batches may hold; the patterns come on top;
    preprocess: of x, as in `fit`.
    A neuron is rectified (see pattern_sums) where activations are all that reads its layer. Makes one pass over the
    data where the sums of all layers, twice the weights in float64, fit into SUMS_SHARE of `memory`, more where not.
    Raises InvalidData (shape, dtype, NaN, Inf, N < 2, a tensor that is not there), UnsupportedModel for weighted layers
    of other kinds.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> patterns = mr.fit_patterns(net, x, at="/relu3/Relu_output_0")
    >>> mr.attribute(net, x[:4], 3, "patternnet", at="/relu3/Relu_output_0", patterns=patterns)
    Attribution('patternnet', target 3, '/relu3/Relu_output_0' float64[4, 512], with source signal)
    """
    device, limit, size = get_backend(backend, dtype), memory_bytes(memory), checked_batch_size(batch_size)
    data = as_samples(x, checked_preprocessing(x, preprocess, net.input_shape), whole=net.whole, inputs=net.inputs)
    tensor = explained(net, at)
    axis, each = channels_of(net.input_shape, net.channel_axis(net.input))
    extent: Extent | None = None
    for layer in weighted_layers(net, tensor):
        if type(layer) not in PATTERNED:
            raise UnsupportedModel(
                f"the pattern methods have no rule for layer {layer.name!r} ({type(layer).__name__}); explain a tensor "
                "behind it, or take another method"
            )
    if len(data) < 2:
        raise InvalidData(f"patterns need at least 2 calibration samples; there are {len(data)}")
    check_batch(net, data[0:1])
    weights: dict[str, HostArray] = {}
    passes = _passes(weighted_layers(net, tensor), limit)
    with progress_bar(progress) as start:
        for number, layers in enumerate(passes):
            advance = start(f"patterns, pass {number + 1} of {len(passes)}", len(data))
            sums = {layer.output: PatternSums(device, layer, rectified=_rectified(net, layer)) for layer in layers}
            recorder = Recorder(net, [name for layer in layers for name in (layer.input, layer.output)])
            rows = batch_rows(size, limit, _sample_bytes(net, device, layers))
            for first in range(0, len(data), rows):
                stop = min(first + rows, len(data))
                batch = data[first:stop]
                values = recorder(batch, first).values
                if number == 0:
                    seen = Extent.of(batch, axis)
                    extent = seen if extent is None else extent.merged(seen)
                for layer in layers:
                    sums[layer.output].update(device.put(values[layer.input]), device.put(values[layer.output]))
                advance(stop - first)
            for name in list(sums):
                weights[name] = sums.pop(name).pattern()
    calibration = None if extent is None else Calibration(data.source, extent.seen(axis, each))
    return Patterns(net, tensor, weights, len(data), calibration)


class PatternFitting(Fitting):
    """The patterns of one network, the same for all classes and both methods."""

    option = "patterns"
    whose = "the pattern methods"
    made = "patterns"

    def __init__(self, net: Network, samples: Any, given: Mapping[str, Any]) -> None:
        super().__init__(net, samples, given)
        self._patterns: Patterns | None = None

    def of(self, classes: Iterable[int]) -> Patterns:
        if self._patterns is None:
            net, given = self.net, dict(self.given)
            if net.input in net.blocked and given.get("at") is None:
                # As far down as inverses reach, so that whatever can be explained is on the way.
                given["at"] = deepest(net)
            self._patterns = fit_patterns(net, self.samples, **given)
        return self._patterns


def load_patterns(path: str | Path, net: Network) -> Patterns:
    """Read patterns that `Patterns.save` wrote.

    Raises InvalidData where there is no such file, CorruptFile where it is truncated, no file of patterns, of another
    version or another network.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> mr.fit_patterns(net, x, at="/relu3/Relu_output_0").save("patterns.mipin")
    >>> mr.load_patterns("patterns.mipin", net)
    Patterns(of 1 layers down to '/relu3/Relu_output_0', fitted on 50 samples)
    """
    path = regular_file(path, "a file of patterns")
    header, tensors = read(path, PATTERNS)
    if header.get("model_sha256") != net.sha256 or header.get("output") != net.output:
        raise CorruptFile(f"{str(path)!r} was fitted on another network (or another output of this one)")
    try:
        at, samples = net.tensor(header["at"]), int(header["samples"])
        layers = weighted_layers(net, at)
        if header["layers"] != [layer.output for layer in layers]:
            raise KeyError("layers")
        weights = {layer.output: tensors[str(number)] for number, layer in enumerate(layers)}
        told, axis = header["calibration"], net.channel_axis(net.input)
        calibration = None if told is None else Calibration.read(told, tensors, net.input_shape, axis)
    except (KeyError, TypeError, ValueError, OverflowError, InvalidData) as error:
        raise CorruptFile(f"the header of {str(path)!r} is incomplete or damaged: {error}") from error
    for layer in layers:
        a = weights[layer.output]
        if a.shape != layer.weight.shape or a.dtype != np.float64 or not np.isfinite(a).all():
            raise CorruptFile(
                f"{str(path)!r} holds no finite pattern of shape {layer.weight.shape} for {layer.output!r}"
            )
    return Patterns(net, at, weights, samples, calibration)


def weighted_layers(net: Network, at: str) -> list[Shared]:
    """The layers with a weight matrix or kernel on the ways from a tensor to the logits, in execution order."""
    return [layer for layer in net.behind(at) if isinstance(layer, Shared)]


def _rectified(net: Network, layer: Shared) -> bool:
    readers = net.consumers[layer.output]
    return bool(readers) and all(reader.fires for reader, _ in readers)


def _passes(layers: Sequence[Shared], limit: int) -> list[list[Shared]]:
    """The layers in groups whose sums fit into SUMS_SHARE of the memory, one at least each."""
    passes: list[list[Shared]] = []
    held = 0
    for layer in layers:
        size = 2 * 8 * layer.weight.size
        if not passes or held + size > int(SUMS_SHARE * limit):
            passes.append([])
            held = 0
        passes[-1].append(layer)
        held += size
    return passes


def _sample_bytes(net: Network, backend: Backend, layers: Sequence[Shared]) -> int:
    """Rough memory of a sample: what is recorded, and on the device the largest layer's values and products."""
    recorded = {name for layer in layers for name in (layer.input, layer.output)}
    largest = max(3 * prod(layer.in_shape) + 6 * prod(layer.out_shape) for layer in layers)
    return record_bytes(net, recorded, []) + backend.itemsize * largest
