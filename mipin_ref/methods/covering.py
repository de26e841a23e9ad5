"""Methods that need the forward pass alone: they cover parts of a sample and look at what the network then says."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.beside import like
from mipin_ref.data import as_samples
from mipin_ref.errors import InvalidData
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.graph.targets import checked_targets, is_one
from mipin_ref.layers import HostArray, Shape
from mipin_ref.memory import batch_rows
from mipin_ref.methods.method import Method, Run
from mipin_ref.methods.options import baseline_of
from mipin_ref.options import check_size
from mipin_ref.progress import progress_bar

Ints = npt.NDArray[np.int64]


class Masks:
    """Which parts of a sample are kept, the same for every sample, and what is made of the scores.

    count: how many masks there are; the rest is asked of the kind.
    """

    count: int

    @abstractmethod
    def kept(self, numbers: Ints) -> HostArray:
        """The masks of these numbers [m, *places], from 0, covered, to 1, kept."""

    @abstractmethod
    def relevance(self, scores: HostArray, whole: float, none: float) -> HostArray:
        """The relevance of each place [*places] of one sample.

        scores: [count] of the target under each mask; whole, none: of the sample itself, and of the baseline.
        """


class CoveringMethod(Method):
    """A method whose relevance is made of the scores of samples under masks.

    What is covered takes the values of the option `baseline`. The channels of a place are covered together and share
    its relevance equally, so that the sum over channels is that of the place.
    """

    forward_only = True
    many_passes = True

    @abstractmethod
    def masks(self, places: Shape, whole: bool) -> Masks:
        """The masks for samples of these places; whole: whether a place is kept or covered, and nothing in between.

        Raises InvalidData for options that do not fit.
        """

    def explained(self, net: Network | ForwardOnly, at: str | None) -> str:
        """The input. Raises InvalidData for another tensor: it cannot be covered."""
        if at not in (None, AUTO) and net.tensor(at) != net.input:
            raise InvalidData(
                f"method {self.name!r} needs the forward pass alone and explains the input {net.input!r}, not {at!r}"
            )
        return net.input

    def passes(self, net: Network | ForwardOnly, at: str) -> int:
        # Beside those under masks the sample, and the baseline.
        return self.masks(places_of_input(net), net.whole).count + 2

    def attribute(self, net: Network | ForwardOnly, x: Any, target: Any, at: str | None, run: Run) -> Attribution:
        """See `Method.attribute`. Masks are the same for every sample, so that each is explained alike in any batch."""
        data = as_samples(x, whole=net.whole, inputs=net.inputs)
        count = len(data)
        check_size("x", count * prod(net.input_shape))
        asked = checked_targets(net, target, count)
        one = net.target(int(asked[0])) if is_one(target) and count else None
        tensor = self.explained(net, at)
        check_batch(net, data)
        cover = _Cover(net, baseline_of(net, self.options.baseline))
        masks = self.masks(cover.places, net.whole)
        rows = batch_rows(run.batch_size, run.memory, net.forward_bytes + 4 * 8 * prod(net.input_shape))
        dtype = run.backend.dtype
        value, attribution = (np.empty((count, *net.input_shape), dtype) for _ in range(2))
        output, delta = np.empty(count, dtype), np.empty(count, dtype)
        with progress_bar(run.progress) as begin:
            advance = begin(f"{self.name}, {masks.count:,} masks", count * masks.count)
            for number in range(count):
                sample, c = data[number : number + 1], int(asked[number])
                score, nothing = cover.ends(sample, number)[:, c]
                scores = np.empty(masks.count)
                for start in range(0, masks.count, rows):
                    some = np.arange(start, min(start + rows, masks.count))
                    scores[some] = cover(sample, masks.kept(some), number)[:, c]
                    advance(len(some))
                found = cover.spread(masks.relevance(scores, float(score), float(nothing)))
                value[number], attribution[number], output[number] = sample[0], found, score
                delta[number] = found.sum() - (score - nothing)
        return Attribution(
            value,
            None,
            attribution,
            output,
            asked if one is None else one,
            tensor,
            net.channel_axis(tensor),
            self.name,
            self.multiplier,
            self.follows_logit,
            delta if self.completes else None,
            net.input_size,
        )


def places_of_input(net: Network | ForwardOnly) -> Shape:
    """The axes of a sample that are no channels, as sizes."""
    axis = net.channel_axis(net.input)
    return tuple(size for number, size in enumerate(net.input_shape, 1) if number != axis)


class _Cover:
    """Samples under masks, and what the network says of them."""

    def __init__(self, net: Network | ForwardOnly, baseline: HostArray) -> None:
        self._net, self._scoring = net, net.scoring()
        self._dtype = np.dtype(np.float64) if net.reads is None else net.reads
        self._baseline = baseline.astype(self._dtype)
        self._axis = net.channel_axis(net.input)
        self.places = places_of_input(net)

    def __call__(self, sample: HostArray, kept: HostArray, first: int) -> HostArray:
        """The scores [m, classes] of one sample [1, *input_shape] under masks [m, *places]."""
        masks = kept if self._axis is None else np.expand_dims(kept, self._axis)
        given = np.asarray(sample, self._dtype)
        if self._net.whole:
            covered = np.where(masks.astype(np.bool_), given, self._baseline)
        else:
            covered = given * masks + self._baseline * (1 - masks)
        return self._scores(like(covered, sample), first)

    def ends(self, sample: HostArray, first: int) -> HostArray:
        """The scores [2, classes] of the sample and of the baseline."""
        return np.concatenate([self._scores(sample, first), self._scores(like(self._baseline, sample), first)])

    def spread(self, relevance: HostArray) -> HostArray:
        """The relevance of places [*places], shared by the channels of each [*input_shape]."""
        if self._axis is None:
            return relevance
        channels = self._net.input_shape[self._axis - 1]
        shared = np.expand_dims(relevance / channels, self._axis - 1)
        return np.broadcast_to(shared, self._net.input_shape)

    def _scores(self, x: HostArray, first: int) -> HostArray:
        typed = like(np.asarray(x, self._net.dtype if self._net.reads is None else self._dtype), x)
        return np.asarray(self._scoring(typed, first), np.float64)
