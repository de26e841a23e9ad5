"""Cascading parameter randomisation: whether maps change as a network forgets what it has learnt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.errors import BackendUnavailable, InvalidData, shown
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.network import Network
from mipin_ref.graph.redraw import redraw, redrawable
from mipin_ref.graph.targets import checked_targets
from mipin_ref.metrics.record import Record, Row
from mipin_ref.options import checked_choice, checked_flag, checked_integer
from mipin_ref.table import format_table

Explain = Callable[[Network, npt.NDArray[Any], int], Attribution]
Floats = npt.NDArray[np.float64]

WINDOW = 7
"""Pixels along a side of the window of SSIM, fewer on smaller maps."""


@dataclass(frozen=True)
class RandomizationStep(Record):
    """tensor: output of the layer that was redrawn last, on top of all above; kind: of that layer;
    signed, absolute: means over samples of the Spearman rank correlation of the map with the original's, and of their
    absolute values, NaN where there is none; ssim: mean structural similarity of the absolute values, None where it was
    not asked for; flat: samples left out of the two correlations, since a map of theirs, or its absolute value, is
    equal everywhere.
    """

    tensor: str
    kind: str
    signed: float
    absolute: float
    ssim: float | None
    flat: int

    def rows(self) -> list[Row]:
        """The step itself: a row by its fields."""
        return [asdict(self)]


@dataclass(frozen=True)
class Randomization(Record):
    """steps: from the logits down; samples: how many each of the means is of, but for those left out."""

    steps: tuple[RandomizationStep, ...]
    samples: int

    def rows(self) -> list[Row]:
        """One a step, by its fields."""
        return [row for step in self.steps for row in step]

    def __str__(self) -> str:
        rows = [
            [
                step.kind,
                step.tensor,
                *("-" if np.isnan(value) else f"{value:.3f}" for value in (step.signed, step.absolute)),
                "-" if step.ssim is None else f"{step.ssim:.3f}",
                str(step.flat),
            ]
            for step in self.steps
        ]
        head = ["redrawn down to", "tensor", "Spearman", "Spearman |.|", "SSIM |.|", "flat"]
        note = f"means over {self.samples} samples of the similarity to the maps before any redrawing"
        return f"{format_table(head, rows)}\n{note}"


def randomization(
    net: Network,
    explain: Explain,
    x: npt.NDArray[Any],
    target: int | npt.ArrayLike,
    *,
    kind: str = "contribution",
    tensors: Collection[str] | None = None,
    ssim: bool = True,
    seed: int = 0,
    on_step: Callable[[RandomizationStep], None] | None = None,
) -> Randomization:
    """How similar maps stay to the original's as layers are redrawn, one more a step, from the logits down (Adebayo et
    al., Sanity Checks for Saliency Maps, NeurIPS 2018). A faithful method's similarity falls towards 0.

    explain: (net, x [n, *input_shape], class) -> Attribution of a tensor with two spatial axes; it is asked anew for
    each redrawn network, so a method with inverses must fit them there. x: [N, *input_shape]; target: a class, or [N].
    Maps are signed: the sum over channels of A * X (kind="contribution") or the mean of A (kind="attribution"), both
    with the logit's sign as in `saliency`; A * X keeps the outline of the input whatever the weights are. How layers
    are redrawn says mipin_ref.graph.redraw.
    tensors: outputs of those layers at which maps are compared; all above them are redrawn too; all where None.
    ssim: needs scikit-image, extra `metrics`; each map is divided by its largest absolute value first, the window is
    uniform, 7×7 or as large as the map allows. seed: of the draws. on_step: gets each step when it is done, so that
    none is lost where a later one fails.
    Raises InvalidData for data, targets, tensors or explanations that do not fit, and where all original maps are equal
    everywhere; BackendUnavailable where scikit-image is missing.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> def explain(net, x, target):
    ...     return mr.attribute(net, x, target, "gradient")
    >>> record = mr.metrics.randomization(net, explain, x[:2], [0, 1], ssim=False, tensors=[net.logits])
    >>> [(step.kind, step.tensor) for step in record.steps]
    [('Dense', '/dense2/Gemm_output_0')]
    """
    checked_flag("randomization: ssim", ssim)
    similarity = _structural_similarity() if ssim else None
    checked_choice("randomization: kind", kind, ("contribution", "attribution"))
    checked_integer("randomization: seed", seed, 0)
    if not callable(explain):
        raise InvalidData(f"randomization: explain must be a function, not {shown(explain)}")
    check_batch(net, x)
    if not len(x):
        raise InvalidData("randomization: the data hold no sample")
    targets = checked_targets(net, target, len(x), "randomization")
    order = redrawable(net)
    if tensors is not None and not isinstance(tensors, list | tuple | set | frozenset):
        raise InvalidData(f"randomization: tensors must be several names, not {shown(tensors)}")
    stops = set(order if tensors is None else map(net.tensor, tensors))
    if not stops or not stops <= set(order):
        raise InvalidData(f"randomization: tensors must be among the outputs of layers with weights, {list(order)}")
    original = _maps(net, explain, x, targets, kind)
    if all(_is_flat(np.abs(one)) for one in original):
        raise InvalidData("randomization: every map of the network as it is has the same score at all its pixels")
    if similarity is not None and min(original.shape[1:]) < 3:
        raise InvalidData(
            f"randomization: SSIM needs maps of 3×3 pixels or more, not {list(original.shape[1:])}; leave SSIM out"
        )
    kinds, steps = {layer.output: layer.kind for layer in net.layers}, []
    for number, tensor in enumerate(order):
        if tensor not in stops:
            continue
        redrawn = _maps(redraw(net, order[: number + 1], seed), explain, x, targets, kind)
        if redrawn.shape != original.shape:
            raise InvalidData(
                f"randomization: the maps have shape {list(original.shape)} for the network as it is, but "
                f"{list(redrawn.shape)} with layers redrawn down to {tensor!r}"
            )
        step = _compared(tensor, kinds[tensor], original, redrawn, similarity)
        steps.append(step)
        if on_step is not None:
            on_step(step)
    return Randomization(tuple(steps), len(x))


def _compared(
    tensor: str, kind: str, original: Floats, redrawn: Floats, similarity: Callable[..., Any] | None
) -> RandomizationStep:
    # Seldom needed, and slow to import.
    from scipy.stats import spearmanr

    signed, absolute, alike = [], [], []
    for first, second in zip(original, redrawn, strict=True):
        a, b = np.abs(first), np.abs(second)
        if not (_is_flat(a) or _is_flat(b)):
            # Where the absolute values differ, so do the values.
            signed.append(float(spearmanr(first, second, axis=None).statistic))
            absolute.append(float(spearmanr(a, b, axis=None).statistic))
        if similarity is not None:
            window = min(WINDOW, *((side - 1) // 2 * 2 + 1 for side in a.shape))
            alike.append(float(similarity(_by_largest(a), _by_largest(b), win_size=window, data_range=1.0)))
    return RandomizationStep(
        tensor,
        kind,
        float(np.mean(signed)) if signed else float("nan"),
        float(np.mean(absolute)) if absolute else float("nan"),
        float(np.mean(alike)) if similarity is not None else None,
        len(original) - len(signed),
    )


def _maps(net: Network, explain: Explain, x: npt.NDArray[Any], targets: npt.NDArray[np.int64], kind: str) -> Floats:
    """[N, H, W], each sample explained for its own target."""
    all_maps: Floats | None = None
    for target in np.unique(targets).tolist():
        rows = np.flatnonzero(targets == target)
        res = explain(net, x[rows], target)
        if not isinstance(res, Attribution):
            raise InvalidData(f"randomization: explain must return an Attribution, not {shown(res)}")
        one = _signed_maps(res, kind)
        if all_maps is None:
            all_maps = np.empty((len(x), *one.shape[1:]))
        if res.target != target or one.shape != (len(rows), *all_maps.shape[1:]):
            raise InvalidData(
                f"randomization: explain returned maps {list(one.shape)} for class {res.target}; "
                f"asked for were {[len(rows), *all_maps.shape[1:]]} for class {target}"
            )
        all_maps[rows] = one
    assert all_maps is not None
    return all_maps


def _signed_maps(res: Attribution, kind: str) -> Floats:
    values = res.oriented.contribution if kind == "contribution" else res.oriented.attribution
    if not np.isfinite(values).all():
        raise InvalidData(f"randomization: the {kind} of tensor {res.tensor!r} holds NaN or Inf")
    if values.ndim != (3 if res.channel_axis is None else 4):
        raise InvalidData(
            f"randomization: tensor {res.tensor!r} of shape {list(values.shape)} has not two spatial axes"
        )
    wide: Floats = values.astype(np.float64)
    if res.channel_axis is None:
        return wide
    return np.asarray((np.sum if kind == "contribution" else np.mean)(wide, axis=res.channel_axis))


def _is_flat(one: Floats) -> bool:
    return bool((one == one.flat[0]).all())


def _by_largest(one: Floats) -> Floats:
    largest = one.max()
    return one / largest if largest else one


def _structural_similarity() -> Callable[..., Any]:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise BackendUnavailable(
            "SSIM needs scikit-image: pip install 'mipin_ref[metrics]', or leave SSIM out"
        ) from error
    similarity: Callable[..., Any] = structural_similarity
    return similarity
