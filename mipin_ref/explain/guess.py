"""Which preprocessing a network was trained with, guessed from how sure it is of images under each preset.

Its top-1 probability alone misleads: a network is surer of a larger input, whatever it was trained with, and presets
stretch pixels by up to 4.4 times as much as others. How far the top logit stands out, in standard deviations of all
logits, does not grow with them. Of twelve networks that were looked at, well trained under a known preset, it was
highest under that one for all, the top-1 probability for eight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.data import PRESETS, Preprocessing, Samples
from mipin_ref.errors import InvalidData
from mipin_ref.explain.class_names import ClassNames
from mipin_ref.explain.predict import Net, logits_like, predicted
from mipin_ref.layers import HostArray
from mipin_ref.progress import Advance
from mipin_ref.table import format_table

AHEAD = 0.03
"""Share by which the top logit must stand out more than under any other preset (see `Tried.stands_out`); of fewer than
ENOUGH images √(ENOUGH / n) times as much."""
BOTH = 1 / 3
"""The part of it that will do where the top-1 probability is ahead by MARGIN as well."""
MARGIN = 0.03
"""Mean top-1 probability that a preset must be ahead of another; of networks of so few classes that logits have no
spread, where it decides alone, times how much larger the preset makes the input."""
ENOUGH = 8
FEW = 3
"""Classes from which on logits have a spread: the higher of two always stands out by one standard deviation."""
BLIND = 0.1
"""Mean total variation between the probabilities of images and those of even grey, below which a network does not see
the images: so it is where pixels are 255 times as small as in training."""
LARGE = frozenset({"caffe", "raw"})
"""Presets that leave pixels as large as bytes. Almost any network is surer of an input 255 times as large, so they are
taken only of a network that sees nothing in smaller ones."""
IMAGES = 20
"""Images that are tried, at most."""
DEFAULT = "unit"


@dataclass(frozen=True, eq=False)
class Tried:
    """What a network says under one preset.

    probability: mean of the top-1 probability; stands_out: mean of how far the top logit lies above the mean of an
    image's logits, in their standard deviations, None of fewer than FEW classes; sees: mean total variation between the
    probabilities of an image and those of even grey, 0 to 1; classes: top-1 class of each image.
    """

    preset: str
    probability: float
    stands_out: float | None
    sees: float
    classes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Guess:
    """The preset that was chosen, whether it is clearly ahead, and what all of them gave, the chosen one first."""

    preset: str
    clear: bool
    tried: tuple[Tried, ...]

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the preset."""
        return PRESETS[self.preset]

    def line(self) -> str:
        """The guess in a sentence, as one."""
        first = self.tried[0]
        images = f"{len(first.classes)} image{'s' if len(first.classes) > 1 else ''}"
        sure = ", ".join(f"{one.preset} {one.probability:.2f}" for one in self.tried)
        if not self.clear:
            return (
                f"preprocessing not known, and no preset stands out on {images} (mean top-1 probability: {sure}): "
                f"taken as {self.preset}, which may be wrong; say which, option 'preprocess'"
            )
        told = f"mean top-1 probability: {sure}"
        if first.stands_out is not None:
            out = ", ".join(f"{one.preset} {one.stands_out:.2f}" for one in self.tried if one.stands_out is not None)
            told = f"by {out} standard deviations; {told}"
        most = "the network is surest" if first.stands_out is None else "the top class stands out most"
        return f"preprocessing guessed: {self.preset}, under which {most} in {images} ({told})"

    def table(self, names: ClassNames) -> str:
        """A row a preset: its name, the mean top-1 probability, and the top-1 class of each image, or the commonest."""
        rows = [
            [
                one.preset,
                f"{one.probability:.3f}",
                "" if one.stands_out is None else f"{one.stands_out:.2f}",
                _classes(one.classes, names),
            ]
            for one in self.tried
        ]
        return format_table(["preset", "mean top-1 probability", "top logit stands out by (std)", "top-1 class"], rows)


def guess(
    net: Net,
    opened: Callable[[Preprocessing], Samples],
    rows: Sequence[int],
    advance: Advance = lambda n: None,
    *,
    every: bool = False,
) -> Guess | None:
    """The preset under which the network is clearly surest of images; None where it has no probability.

    opened: the images under a preprocessing; rows: those that can be read, of which IMAGES are tried, evenly spread;
    advance: is told how many images were run; every: try all presets, even where fewer decide. Of the
    presets that leave pixels small the surest is taken, unless the network does not see the images in any of them (see
    BLIND); then the surest of the others.
    """
    if net.probability is None:
        return None
    some = np.asarray(rows)[np.unique(np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).astype(int))]
    tried: list[Tried] = []
    for preset in sorted(PRESETS, key=lambda name: name in LARGE):
        if preset in LARGE and not every and any(one.sees >= BLIND for one in tried if one.preset not in LARGE):
            continue
        try:
            x = opened(PRESETS[preset])[some]
            tried.append(_tried(net, preset, x, _grey(x, PRESETS[preset])))
        except InvalidData:
            if not PRESETS[preset].bgr and not isinstance(PRESETS[preset].mean, tuple):
                raise
            continue  # three channels, where the images have one
        advance(len(x))
    return _chosen(tried)


def _chosen(tried: Sequence[Tried]) -> Guess:
    seen = [one for one in tried if one.sees >= BLIND]
    small = [one for one in seen if one.preset not in LARGE]
    rivals = small or seen
    if not rivals:
        return Guess(DEFAULT, False, _ordered(tried, DEFAULT))
    best = max(rivals, key=_score)
    if all(_is_ahead(best, other) for other in rivals if other is not best):
        return Guess(best.preset, True, _ordered(tried, best.preset))
    return Guess(DEFAULT, False, _ordered(tried, DEFAULT))


def _score(one: Tried) -> float:
    return one.probability if one.stands_out is None else one.stands_out


def _is_ahead(best: Tried, other: Tried) -> bool:
    few = float(np.sqrt(max(1.0, ENOUGH / len(best.classes))))
    if best.stands_out is None or other.stands_out is None:
        larger = max(1.0, _gain(best.preset) / _gain(other.preset))
        return best.probability >= other.probability + MARGIN * few * larger
    lead = best.stands_out / other.stands_out - 1 if other.stands_out else np.inf
    surer = best.probability >= other.probability + MARGIN * few
    return bool(lead >= AHEAD * few * (BOTH if surer else 1))


def _gain(preset: str) -> float:
    """By how much a preset stretches pixels 0..255."""
    known = PRESETS[preset]
    return 1.0 / ((known.scale or 1.0) * float(np.mean(known.std if known.std is not None else 1.0)))


def _ordered(tried: Sequence[Tried], chosen: str) -> tuple[Tried, ...]:
    return tuple(sorted(tried, key=lambda one: (one.preset != chosen, -_score(one))))


def _tried(net: Net, preset: str, x: HostArray, grey: HostArray) -> Tried:
    scores, probabilities = predicted(net, np.concatenate([x, grey]), 16, quick=True)
    assert probabilities is not None
    scores, shares = logits_like(net, scores), _distribution(net, probabilities)
    images, even = shares[:-1], shares[-1]
    sees = float(0.5 * np.abs(images - even).sum(axis=-1).reshape(len(images), -1).max(axis=1).mean())
    classes = scores[:-1].argmax(axis=1)
    sure = float(images.max(axis=-1).reshape(len(images), -1).max(axis=1).mean())
    return Tried(preset, sure, _stands_out(scores[:-1]), sees, tuple(int(one) for one in classes))


def _stands_out(scores: npt.NDArray[np.float64]) -> float | None:
    if scores.shape[1] < FEW:
        return None
    spread = scores.std(axis=1)
    height = scores.max(axis=1) - scores.mean(axis=1)
    return float(np.mean(np.where(spread > 0, height / np.where(spread > 0, spread, 1), 0)))


def _distribution(net: Net, probabilities: HostArray) -> npt.NDArray[np.float64]:
    """Probabilities that add up to one: [n, C] over the classes; of independent sigmoids [n, C, 2], yes and no."""
    shares = np.nan_to_num(np.asarray(probabilities, np.float64))
    return np.stack([shares, 1 - shares], axis=-1) if net.head == "sigmoid" else shares


def _grey(x: HostArray, preprocessing: Preprocessing) -> HostArray:
    """Pixels of 127 everywhere, under a preprocessing: [1, *shape] like the samples x."""
    pixels = 127.0 / (preprocessing.scale or 255.0)
    mean, std = (
        np.asarray(default if one is None else one, np.float64)
        for one, default in ((preprocessing.mean, 0.0), (preprocessing.std, 1.0))
    )
    values = (pixels - mean) / std
    if values.ndim == 0:
        return np.full_like(x[:1], values)
    if x.ndim == 4 and x.shape[1] == len(values):
        return np.broadcast_to(values[:, None, None], x[:1].shape).astype(x.dtype)
    if x.ndim == 4 and x.shape[-1] == len(values):
        return np.broadcast_to(values, x[:1].shape).astype(x.dtype)
    raise InvalidData(f"samples of shape {list(x.shape[1:])} have no {len(values)} channels")


def _classes(classes: Sequence[int], names: ClassNames) -> str:
    """Those of a few images, or the commonest of many."""
    if len(classes) <= 4:
        return "; ".join(names.of(one) for one in classes)
    common = Counter(classes).most_common(3)
    return "; ".join(f"{names.of(one)} ({count} of {len(classes)})" for one, count in common)
