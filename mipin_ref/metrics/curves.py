"""Deletion and insertion: how the score of a class moves as pixels go, or come, in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from mipin_ref.beside import joined, others_of
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward import check_batch, with_others
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.ids import check_stand_in, no_id, table_rows
from mipin_ref.graph.network import Network
from mipin_ref.graph.targets import checked_targets
from mipin_ref.metrics.checks import Maps, as_array, checked_maps
from mipin_ref.metrics.record import Record, Row
from mipin_ref.options import checked_choice, checked_integer
from mipin_ref.table import format_table

OUTPUTS = ("probability", "logit")

BLUR = 5
"""Standard deviation and reach in pixels of the blur, which is that of RISE: 11×11."""


@dataclass(frozen=True, eq=False)
class PixelCurve(Record):
    """kind: "deletion" or "insertion"; output: "probability" or "logit"; of: what that is of this network, in words;
    fill: what stands for a missing pixel;
    fractions: [S + 1] share of the pixels that are deleted, or inserted, from 0 to 1; scores: [N, S + 1] the target's
    output there; auc: [N] area under each curve; curve: [S + 1] and mean: the means of scores and auc over samples;
    flat: maps that are equal everywhere, whose pixels went in pixel order.
    """

    kind: str
    output: str
    of: str
    fill: str
    fractions: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    auc: npt.NDArray[np.float64]
    curve: npt.NDArray[np.float64]
    mean: float
    flat: int

    def rows(self) -> list[Row]:
        """One a sample and fraction: sample, fraction, score, and the sample's auc."""
        return [
            {"sample": number, "fraction": fraction, "score": score, "auc": area}
            for number, (scores, area) in enumerate(zip(self.scores.tolist(), self.auc.tolist(), strict=True))
            for fraction, score in zip(self.fractions.tolist(), scores, strict=True)
        ]

    def __str__(self) -> str:
        shown = np.unique(np.linspace(0, len(self.fractions) - 1, 11).round().astype(int))
        done = "deleted" if self.kind == "deletion" else "inserted"
        rows = [[f"{self.fractions[i]:.1%}", f"{self.curve[i]:.4f}"] for i in shown]
        line = f"{self.kind} AUC {self.mean:.4f} (mean of {len(self.auc)} samples, {self.of}, fill {self.fill}"
        line += f", {self.flat} maps equal everywhere, taken in the order of places)" if self.flat else ")"
        return f"{format_table([done, self.output], rows)}\n{line}"


def deletion(
    net: Network | ForwardOnly,
    x: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
    maps: npt.ArrayLike,
    target: int | npt.ArrayLike,
    *,
    fill: float | npt.ArrayLike = 0.0,
    steps: int = 100,
    output: str = "probability",
    batch_size: int = 64,
    among: npt.ArrayLike | None = None,
) -> PixelCurve:
    """The target's score as the pixels that a map scores highest are replaced first (Petsiuk, Das, Saenko, RISE, BMVC
    2018; pixel flipping in Samek et al., Evaluating the Visualization of What a Deep Neural Network Has Learned,
    TNNLS 2017). A lower area under the curve is better.

    x: [N, *input_shape]; maps: [N, H, W], the input's shape without its channels; target: a class, or [N] classes.
    fill: what replaces a pixel, in the scale of x: a number, a value for each channel, or "blur" for x itself behind a
    Gaussian of 5 pixels cut off at 11×11, its edges mirrored, rounded where the network reads integers. 0 means a
    grey or black pixel only where x is scaled so. Where the network reads ids, whose tokens go: the id that takes their
    place, one that its table holds.
    steps: into which the pixels are divided evenly, fewer where there are not so many pixels; pixels of equal score go
    in pixel order, row by row from the top. output: the target's "probability" as `Network.probabilities` gives it, by
    the head of the file, or its "logit"; of a file that is run as it is, its output, or what stands in front of the one
    Softmax or Sigmoid that it ends in. batch_size: altered images that are held and run at once. among: flags [N, H, W]
    of the pixels that go or come at all, where others stay as they are, such as places that only fill up a text.
    Raises InvalidData for NaN or Inf, shapes that do not fit, a target out of range, an option's value, and where all
    maps are equal everywhere, so that nothing is ranked.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> maps = mr.saliency(mr.attribute(net, x[:2], [0, 1], "input-x-gradient"))
    >>> curve = mr.metrics.deletion(net, x[:2], maps, target=[0, 1], steps=4)
    >>> curve.fractions.tolist(), len(curve.auc)
    ([0.0, 0.25, 0.5, 0.75, 1.0], 2)
    """
    return _curve("deletion", net, x, maps, target, fill, steps, output, batch_size, among)


def insertion(
    net: Network | ForwardOnly,
    x: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
    maps: npt.ArrayLike,
    target: int | npt.ArrayLike,
    *,
    fill: float | npt.ArrayLike = "blur",
    steps: int = 100,
    output: str = "probability",
    batch_size: int = 64,
    among: npt.ArrayLike | None = None,
) -> PixelCurve:
    """The target's score as an image that is all `fill` gets its pixels back, those first that a map scores highest
    (Petsiuk, Das, Saenko, RISE, BMVC 2018). A higher area under the curve is better.

    Options and errors are those of `deletion`; the image begins blurred by default, as in RISE.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> maps = mr.saliency(mr.attribute(net, x[:2], [0, 1], "input-x-gradient"))
    >>> curve = mr.metrics.insertion(net, x[:2], maps, target=[0, 1], steps=4)
    >>> bool(curve.curve[-1] > curve.curve[0])
    True
    """
    return _curve("insertion", net, x, maps, target, fill, steps, output, batch_size, among)


def _curve(
    kind: str,
    net: Network | ForwardOnly,
    x: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
    maps: npt.ArrayLike,
    target: int | npt.ArrayLike,
    fill: float | npt.ArrayLike,
    steps: int,
    output: str,
    batch_size: int,
    among: npt.ArrayLike | None,
) -> PixelCurve:
    x = with_others(net, x)
    check_batch(net, x)
    others = others_of(x)
    with np.errstate(over="ignore"):  # what is too large for the network's dtype is told as Inf
        x = np.asarray(x, net.dtype)
    if not len(x) or not np.isfinite(x).all():
        raise InvalidData(f"{kind}: the data {'hold NaN or Inf' if len(x) else 'hold no sample'}")
    checked_choice(f"{kind}: output", output, OUTPUTS)
    steps, batch_size = checked_integer(f"{kind}: steps", steps), checked_integer(f"{kind}: batch_size", batch_size)
    targets = checked_targets(net, target, len(x), kind)
    if output == "probability" and net.probability is None:
        raise InvalidData(
            f"{kind}: one logit without a Softmax or Sigmoid behind it has no probability; measure the logit instead"
        )
    of = "the logit" if output == "logit" or net.probability is None else f"probability: {net.probability}"
    axis = net.channel_axis(net.input)
    scores = _fitting(kind, maps, x, axis)
    taken = _taken(kind, among, x, axis)
    flat = np.array([np.ptp(one[own]) == 0 for one, own in zip(scores, taken, strict=True)])
    if flat.all():
        raise InvalidData(f"{kind}: every map has the same score everywhere, so that nothing is ranked")
    filler = _Fill(kind, fill, x, axis, net)
    pixels = taken.sum(axis=1)
    steps = min(steps, int(pixels.max()))
    counts = np.arange(steps + 1) * pixels[:, None] // steps
    judge = net.probable() if output == "probability" else net.scoring()
    outputs = np.empty(counts.shape)
    for number, one in enumerate(scores):
        own = np.flatnonzero(taken[number])
        # What does not go keeps a rank that no count reaches.
        rank = np.full(len(one), len(one), np.int64)
        rank[own[np.argsort(-one[own], kind="stable")]] = np.arange(len(own))
        there, absent = x[number], filler(number)
        grid = _spatial(x.shape[1:], axis)
        for first, done in _batches(counts[number], batch_size):
            gone = rank < done[:, None]
            changed = (gone if kind == "deletion" else taken[number] & ~gone).reshape(-1, *grid)
            if axis is not None:
                changed = np.expand_dims(changed, axis)
            alike = {name: np.repeat(one[number : number + 1], len(done), 0) for name, one in others.items()}
            values = judge(joined(np.where(changed, absent, there), alike), 0)
            outputs[number, first : first + len(done)] = values[:, targets[number]]
    shares = counts / pixels[:, None]
    auc, fractions = np.trapezoid(outputs, shares, axis=1), shares[pixels.argmax()]
    return PixelCurve(
        kind, output, of, str(filler), fractions, outputs, auc, outputs.mean(axis=0), float(auc.mean()), int(flat.sum())
    )


def _batches(counts: npt.NDArray[np.int64], size: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    for first in range(0, len(counts), size):
        yield first, counts[first : first + size]


def _spatial(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    """The per-sample shape without channels; axis: counted with the batch."""
    return shape if axis is None else (*shape[: axis - 1], *shape[axis:])


def _fitting(kind: str, maps: npt.ArrayLike, x: npt.NDArray[Any], axis: int | None) -> Maps:
    """The maps as [N, pixels]."""
    grid = _spatial(x.shape[1:], axis)
    wanted = (len(x), *grid)
    fitting = checked_maps(kind, maps, axes=", ".join(map(str, wanted)))
    if fitting.shape != wanted:
        raise InvalidData(
            f"{kind}: the maps have shape {list(fitting.shape)}; the data {list(x.shape)} need maps {list(wanted)}"
        )
    return fitting.reshape(len(x), prod(grid))


def _taken(kind: str, among: npt.ArrayLike | None, x: npt.NDArray[Any], axis: int | None) -> npt.NDArray[np.bool_]:
    """Which pixels go or come [N, pixels]."""
    grid = _spatial(x.shape[1:], axis)
    if among is None:
        return np.ones((len(x), prod(grid)), np.bool_)
    flags = as_array(kind, among, "among must be flags")
    if flags.dtype != np.bool_ or flags.shape != (len(x), *grid):
        raise InvalidData(
            f"{kind}: among must be flags {[len(x), *grid]}, not {flags.dtype} of shape {list(flags.shape)}"
        )
    taken: npt.NDArray[np.bool_] = flags.reshape(len(x), -1)
    if not taken.any(axis=1).all():
        raise InvalidData(f"{kind}: sample {int(np.argmin(taken.any(axis=1)))} has no place that may go")
    return taken


class _Fill:
    """What stands for the missing pixels of each sample."""

    def __init__(
        self,
        kind: str,
        fill: float | npt.ArrayLike,
        x: npt.NDArray[Any],
        axis: int | None,
        net: Network | ForwardOnly,
    ) -> None:
        self._x, self._axis, self._whole = x, axis, net.whole
        self._values: npt.NDArray[Any] | None = None
        if isinstance(fill, str):
            if (rows := table_rows(net)) is not None:
                raise no_id(f"{kind}: fill", rows, fill)
            if fill != "blur" or len(_spatial(x.shape[1:], axis)) < 2:
                raise InvalidData(
                    f"{kind}: fill must be a number, a value a channel, or, for images, 'blur', not {shown(fill)}"
                )
            self._told = "blur"
            return
        values = as_array(kind, fill, "fill must be a number, a value a channel, or 'blur'")
        channels = None if axis is None else x.shape[axis]
        fits = values.ndim == 0 or (channels is not None and values.shape == (channels,))
        if not fits or values.dtype == np.bool_ or not np.issubdtype(values.dtype, np.number):
            raise InvalidData(
                f"{kind}: fill must be a number, a value a channel"
                + ("" if channels is None else f" ({channels})")
                + f", or 'blur', not {values.dtype} of shape {list(values.shape)}"
            )
        if np.iscomplexobj(values) or not (np.abs(values) <= np.finfo(x.dtype).max).all():
            raise InvalidData(f"{kind}: fill must be real and finite in {x.dtype}")
        check_stand_in(net, values, f"{kind}: fill", fill)
        self._told = ", ".join(f"{value:g}" for value in values.ravel().tolist())
        self._values = values.astype(x.dtype)
        if values.ndim and axis is not None:
            self._values = self._values.reshape(-1, *(1 for _ in x.shape[axis + 1 :]))

    def __call__(self, number: int) -> npt.NDArray[Any]:
        """The fill of one sample, broadcastable to its shape."""
        if self._values is not None:
            return self._values
        one = self._x[number]
        axes = [a for a in range(one.ndim) if self._axis is None or a != self._axis - 1]
        blurred: npt.NDArray[Any] = gaussian_filter(one, BLUR, axes=axes, radius=BLUR)
        return np.rint(blurred) if self._whole else blurred

    def __str__(self) -> str:
        return self._told
