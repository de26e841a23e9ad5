"""What is evaluated on what: a network, samples with a class each, and the methods in turn."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.cli.asked import methods_asked
from mipin_ref.cli.evaluate.refused import check_measurable
from mipin_ref.cli.files import labels_of, open_calibration, opened, preprocessing_of
from mipin_ref.cli.method_options import method_options
from mipin_ref.cli.model import open_model
from mipin_ref.cli.pictures import image_size
from mipin_ref.cli.places import Places
from mipin_ref.cli.tokens import Tokens, text_run_of
from mipin_ref.data import Samples, first
from mipin_ref.errors import InvalidData, MipinError
from mipin_ref.explain.inputs import reads_tokens
from mipin_ref.explain.predict import Net, predicted
from mipin_ref.explain.texts import TextRun
from mipin_ref.graph.explained import AUTO, explained
from mipin_ref.graph.feature_maps import last_feature_map
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.inverse.options import Options
from mipin_ref.memory import memory_bytes
from mipin_ref.methods.method import Method
from mipin_ref.panel.registry import METHODS, fit_is_asked
from mipin_ref.progress import progress_bar

LAST_MAP = "last-map"
BATCH_BYTES = 64 << 20
LARGEST_BATCH = 64
"""Noise of SmoothGrad depends on a sample's place in its batch, so that batches depend on the network alone."""

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Study:
    """options: of the command; data: all samples; labels: [len(data)], or None; at: the tensor that MIP-IN explains
    and is fitted down to, None for the input; calibrated: what methods are fitted on; method_options: those given, by
    method; left_out: methods that run only where they are named; without: those left out of a file of which there is
    but the forward pass; run: of texts, None where there are none.
    """

    options: Namespace
    net: Net
    panel: mr.Panel
    data: Samples
    labels: Ints | None
    at: str | None
    calibrated: Samples | None
    method_options: dict[str, dict[str, Any]]
    left_out: Sequence[str] = ()
    without: Sequence[str] = ()
    run: TextRun | None = None

    @cached_property
    def tokens(self) -> Tokens | None:
        """Of ids what they stand for, of the samples at `rows`; None of anything else."""
        ids = self.places.kind == "tokens"
        return Tokens.of(self.data[self.rows], self.rows.tolist(), self.run) if ids else None

    @cached_property
    def logits(self) -> Array:
        """[len(data), classes] of all samples."""
        size = self.batch
        cuts = self.cuts(len(self.data))
        return np.concatenate([predicted(self.net, self.data[rows], size)[0] for rows in cuts])

    @cached_property
    def known(self) -> Ints:
        """[len(data)] the label of each sample, or its prediction."""
        return np.argmax(self.logits, axis=1).astype(np.int64) if self.labels is None else self.labels

    @cached_property
    def rows(self) -> Ints:
        """Positions of the samples whose class is among `--classes`. Raises InvalidData where one has none."""
        wanted = self.options.classes
        if wanted is None:
            return np.arange(len(self.data))
        if missing := sorted(set(wanted) - set(self.known.tolist())):
            raise InvalidData(f"--classes: no sample is {self.named} as class {', '.join(map(str, missing))}")
        return np.flatnonzero(np.isin(self.known, wanted))

    @property
    def targets(self) -> Ints:
        """[len(rows)]."""
        return self.known[self.rows]

    @property
    def named(self) -> str:
        return "predicted" if self.labels is None else "labelled"

    @cached_property
    def places(self) -> Places:
        """What maps are of: the pixels of an image, or the features, steps or tokens of anything else."""
        return Places.of(self.net, "tokens" if reads_tokens(self.net) else None)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input. Raises InvalidData where it is no image."""
        size = image_size(self.net, self.net.input)
        if size is None:
            raise InvalidData(
                f"{self.options.metric} measures maps of images, and the input {self.net.input!r} of shape "
                f"{list(self.net.input_shape)} is no image; deletion and sensitivity measure what is none"
            )
        return size

    @property
    def batch(self) -> int:
        """Samples that are explained at a time: a value, a signal, an attribution and their product stay small."""
        shapes = [self.net.input_shape, *([] if self.at is None else [self.net.shapes[self.at]])]
        return max(1, min(LARGEST_BATCH, BATCH_BYTES // (4 * 8 * max(map(prod, shapes)))))

    def held(self, samples: int, *each: tuple[int, ...]) -> None:
        """Raises InvalidData where arrays of these shapes a sample would not fit into `--memory`."""
        needed = 8 * samples * sum(map(prod, each))
        if needed > memory_bytes(self.options.memory):
            raise InvalidData(
                f"{self.options.metric} of {samples:,} samples holds {needed / 1e9:.1f} GB at a time, more than "
                f"--memory {self.options.memory}; give a --limit or more memory"
            )

    def explained(
        self, name: str, x: Readable, targets: Ints | int, reduce: Callable[[mr.Attribution, slice], Part]
    ) -> list[Part] | None:
        """What `reduce` makes of one method's attribution of each batch; None where the method fails.

        x: [N, *input_shape]; targets: [N], or a class for all; reduce: (of a batch, its rows), may fail as the
        method may.
        """
        parts: list[Part] = []
        with self.failing(name):
            # A fit shows a bar of its own.
            self.panel.ready(name, np.unique(targets).tolist())
        with progress_bar(True) as begin:
            advance = begin(name, len(x))
            for rows in self.cuts(len(x)):
                wanted = targets if isinstance(targets, int) else targets[rows]
                res = self.panel.attempt(name, x[rows], wanted)
                if res is not None:
                    with self.failing(name):
                        parts.append(reduce(res, rows))
                if name in self.panel.failures:
                    return None
                advance(rows.stop - rows.start)
        return parts

    @contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """A block in which an error of this package is the method's failure, after which all goes on."""
        try:
            yield
        except MipinError as error:
            self.panel.failures.setdefault(name, str(error))

    def cuts(self, count: int) -> Iterator[slice]:
        for start in range(0, count, self.batch):
            yield slice(start, min(start + self.batch, count))

    def maps(self, res: mr.Attribution, positive: bool, size: tuple[int, int] | None) -> Array:
        """[n, H, W] of the kind that suits the method."""
        return mr.saliency(res, self.kind(res.method), positive, size)

    def placed(self, res: mr.Attribution, positive: bool) -> Array:
        """[n, H, W] of the same kind, as large as the sample."""
        return self.places.maps(res, self.kind(res.method), positive=positive)

    def kind(self, name: str) -> Any:
        """The kind of a method's maps: as asked for by `--map`, but where A is the same at every location."""
        return "contribution" if METHODS[name].even else self.options.map

    def described(self, positive: bool) -> str:
        """Which maps are measured, in words."""
        sign = "positive part of the " if positive else "signed "
        of = {"contribution": "channel sum of the contribution", "attribution": "channel mean of A"}
        what = f"values of {self.places.part}s" if self.places.flat else "maps"
        told = f"{what}: {sign}{of[self.options.map]}"
        others = [name for name in self.panel.names if self.kind(name) != self.options.map]
        if others:
            told += f" (of {', '.join(others)} the {of['contribution']})"
        return told if self.at is None else f"{told}, of {', '.join(fit_is_asked(METHODS))} at {self.at!r}"

    def samples(self, rows: Ints) -> Readable:
        """The samples at these positions, read on access."""
        return _Rows(self.data, rows)

    @property
    def network(self) -> mr.Network:
        """The network, of measures that need its layers."""
        assert isinstance(self.net, mr.Network)
        return self.net

    def panel_of(self, net: mr.Network, name: str) -> mr.Panel:
        """One of the methods, with the same options, on another network."""
        given = {name: self.method_options[name]} if name in self.method_options else {}
        return _panel(self.options, net, self.calibrated, self.at, given, [name], False)


class Readable(Protocol):
    """Samples that come as arrays where they are sliced."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> Array: ...


class _Rows:
    """Samples at some positions of others."""

    def __init__(self, data: Samples, rows: Ints) -> None:
        self._data, self._rows = data, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: slice, /) -> Array:
        return self._data[self._rows[index]]


def make_study(options: Namespace, takes: Callable[[type[Method]], bool], *, needs_layers: bool) -> Study:
    """Everything up to the first method, of all that the measure takes where the user names none.

    needs_layers: whether the measure goes through the layers of the network, or only its methods may.
    Raises MipinError where model, data and options do not fit.
    """
    # What no method can do without is told at once, and not as every method's failure.
    get_backend(options.backend, options.dtype)
    memory_bytes(options.memory)
    run = text_run_of(options, options.data)
    net = open_model(options, run)
    check_measurable(options.metric, net, needs_layers=needs_layers)
    at = _tensor(net, getattr(options, "at", None))
    given_data = options.data if run is None else run.images
    data = opened(net, given_data, options.key, preprocessing_of(options, net))
    data = data if options.limit is None else first(data, options.limit)
    for c in options.classes or ():
        net.check_target(c)
    Options(options.ridge, options.conv_bias, at, fit_on=options.fit_on, dtype=options.dtype)
    calibration, given = open_calibration(options, net, run), method_options(options.option, options.methods)
    alone = net.reason if isinstance(net, ForwardOnly) else None
    layers = net if isinstance(net, mr.Network) else None
    asked = methods_asked(options.methods, given, takes, alone=alone, net=layers)
    panel = _panel(options, net, calibration, at, given, asked.names, True)
    labels = labels_of(options, net, len(data))
    return Study(options, net, panel, data, labels, at, calibration, given, asked.left_out, asked.without, run)


def _panel(
    options: Namespace,
    net: Net,
    calibration: Samples | None,
    at: str | None,
    given: Mapping[str, Mapping[str, Any]],
    names: Sequence[str] | None,
    progress: bool,
) -> mr.Panel:
    return mr.Panel(
        net,
        calibration,
        names=names,
        fit_options=fit_options(options, at),
        method_options=given,
        backend=options.backend,
        dtype=options.dtype,
        memory=options.memory,
        progress=progress,
    )


def fit_options(options: Namespace, at: str | None) -> Any:
    return {"ridge": options.ridge, "conv_bias": options.conv_bias, "fit_on": options.fit_on, "at": at}


def _tensor(net: Net, at: str | None) -> str | None:
    if at is None:
        return None
    if isinstance(net, ForwardOnly):
        raise InvalidData(f"--at is for mip-in, which needs the layers of the network, {net.reason}")
    tensor = last_feature_map(net) if at == LAST_MAP else explained(net, at if at == AUTO else net.told_tensor(at))
    if image_size(net, tensor) is None:
        raise InvalidData(f"--at: tensor {tensor!r} of shape {list(net.shapes[tensor])} has no map")
    return tensor
