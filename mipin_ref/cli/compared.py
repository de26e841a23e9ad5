"""What each method of a comparison gives on the images: its maps for the page, and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.cli.places import Places
from mipin_ref.cli.tokens import Tokens
from mipin_ref.errors import InvalidData, MipinError
from mipin_ref.explain.predict import Net
from mipin_ref.explain.targets import told_targets
from mipin_ref.layers import HostArray
from mipin_ref.panel.mip_in import InverseFitting
from mipin_ref.panel.registry import METHODS
from mipin_ref.progress import progress_bar
from mipin_ref.report.signed_png import SignedPng, block_means, contrast_scale, signed_png

ROWS = 8
"""Images explained at once, so that attributions of all channels are held of few, and the noisy copies that SmoothGrad
makes of an image for one class are remembered for the next."""
STEPS, FEW_STEPS = 32, 8
"""Into which pixels go and come for the areas under curves; the fewer of large images, whose forward passes would take
most of the time of a comparison."""
LARGE = 64
"""Pixels of a side above which an image is large."""
TOKEN_STEPS = 128
"""Into which tokens go and come at most: up to there each by itself, as a word says more of a text than a pixel of an
image.
"""


Keep = Callable[[HostArray], Iterable[Any]]


def as_pictures(factor: int) -> Keep:
    """Keeps maps as small pictures; factor: input pixels along a side of a pixel of these."""

    def keep(maps: HostArray) -> Iterable[SignedPng]:
        return (signed_png(one, contrast_scale([one])) for one in (maps if factor == 1 else block_means(maps, factor)))

    return keep


@dataclass(frozen=True, eq=False)
class Seen:
    """x: [N, *input_shape]; targets: [N, R] classes to explain, those of the R highest logits; places: those rated;
    tokens: of ids those that they stand for, None of anything else.
    """

    net: Net
    x: HostArray
    targets: npt.NDArray[np.int64]
    places: Places
    tokens: Tokens | None = None

    @property
    def ranks(self) -> int:
        return len(self.targets[0])

    @property
    def steps(self) -> int:
        """In how many places go and come for the areas under curves."""
        if self.tokens is not None:
            return min(TOKEN_STEPS, self.tokens.longest)
        return min(FEW_STEPS if max(self.places.size) > LARGE else STEPS, prod(self.places.size))

    @property
    def start(self) -> float | Literal["blur"]:
        """What insertion begins with: of an image the blurred one, of anything else what deletion ends with."""
        return "blur" if self.places.pictured else self.fill

    @property
    def fill(self) -> float:
        """What stands for what is deleted, in the scale of the network's input."""
        return 0.0 if self.tokens is None else float(self.tokens.fill)

    @property
    def among(self) -> Any:
        """Which places go and come, None for all: of texts those that do not only fill them up."""
        return None if self.tokens is None else self.tokens.among(self.places.grid)

    @property
    def output(self) -> Literal["logit", "probability"]:
        """What curves are of."""
        return "logit" if self.net.probability is None else "probability"


@dataclass(frozen=True, eq=False)
class Compared:
    """maps: [N][R] as the page keeps them; deletion, insertion: mean AUC for the predicted class; sensitivity: of that
    against the second; each None where it has no meaning, of which `notes` tells; fit, seconds: what the fit and all
    maps took.
    """

    name: str
    maps: Sequence[Sequence[Any]]
    deletion: float | None
    insertion: float | None
    sensitivity: float | None
    fit: float | None
    seconds: float
    notes: Sequence[str]


def run_panel(panel: mr.Panel, seen: Seen, keep: Keep, at: str | None) -> list[Compared]:
    """The methods that work, in the panel's order; `panel.failures` tells of the others.

    keep: what the page keeps of maps [n, H, W], one of each; at: the tensor that all explain, None for each its own
    default.
    """
    fits = _fitted(panel, seen)
    compared = []
    with progress_bar(True) as begin:
        advance = begin("maps and metrics, by method", len(panel.names))
        for name in panel.names:
            one = None if name in panel.failures else _compared(panel, name, seen, keep, at, fits.get(name))
            if one is not None:
                compared.append(one)
            advance(1)
    return compared


def _fitted(panel: mr.Panel, seen: Seen) -> dict[str, float]:
    """Fit what must be fitted, ahead of the maps: each fit has a progress bar of its own. Seconds by method."""
    taken: dict[str, float] = {}
    classes = [seen.net.target(int(c)) for c in np.unique(seen.targets)]
    for fitting in dict.fromkeys(METHODS[name].fitting for name in panel.fitted if name not in panel.failures):
        names = [name for name in panel.fitted if METHODS[name].fitting is fitting]
        start = perf_counter()
        try:
            if fitting is InverseFitting:
                panel.share(classes)
            panel.ready(names[0], classes)
            if fitting is InverseFitting and (told := panel.inverse(classes[0]).report.told_common) is not None:
                print(f"the inverses of {len(classes)} classes: fitted; {told}", flush=True)
        except MipinError as error:
            panel.failures.update(dict.fromkeys(names, str(error)))
        taken |= dict.fromkeys(names, perf_counter() - start)
    return taken


def told_of_fits(panel: mr.Panel, seen: Seen) -> list[str]:
    """A line where next to nothing comes back through the inverses of some class; none where something does."""
    using = [name for name in panel.fitted if METHODS[name].fitting is InverseFitting and name not in panel.failures]
    classes = np.unique(seen.targets) if using else ()
    told = (panel.inverse(seen.net.target(int(c))).report.told_outweighed for c in classes)
    return [f"{', '.join(using)}: {one}" for one in [*filter(None, told)][:1]]


def _compared(panel: mr.Panel, name: str, seen: Seen, keep: Keep, at: str | None, fit: float | None) -> Compared | None:
    kept: list[list[Any]] = [[] for _ in seen.x]
    highest: list[list[HostArray]] = [[] for _ in range(min(2, seen.ranks))]
    start, besides = perf_counter(), 0.0
    for first in range(0, len(seen.x), ROWS):
        # All classes of some images in turn, while what the network computes of these is remembered.
        for rank in range(seen.ranks):
            maps = _maps(panel, name, seen, slice(first, first + ROWS), rank, at)
            if maps is None:
                return None
            before = perf_counter()
            for number, one in enumerate(keep(maps), first):
                kept[number].append(one)
            if rank < len(highest):
                highest[rank].append(maps)
            besides += perf_counter() - before
    seconds = perf_counter() - start - besides
    of_class = [np.concatenate(some) for some in highest]
    told: list[str] = []
    deletion = _measured(name, told, lambda: _area(mr.metrics.deletion, seen, of_class[0], seen.fill))
    insertion = _measured(name, told, lambda: _area(mr.metrics.insertion, seen, of_class[0], seen.start))
    sensitivity = None
    if len(of_class) > 1:
        sensitivity = _measured(name, told, lambda: mr.metrics.class_sensitivity(*of_class).mean)
    return Compared(name, kept, deletion, insertion, sensitivity, fit, seconds, told)


def _maps(panel: mr.Panel, name: str, seen: Seen, rows: slice, rank: int, at: str | None) -> HostArray | None:
    """[n, H, W] of some images, for their classes of one rank; None where the method fails."""
    at = tensor_for(name, seen, at)
    res = panel.attempt(name, seen.x[rows], told_targets(seen.net, seen.targets[rows, rank]), at=at)
    if res is None:
        return None
    try:
        return seen.places.maps(res)
    except InvalidData as error:
        panel.failures[name] = str(error)
        return None


def tensor_for(name: str, seen: Seen, at: str | None) -> str | None:
    """The tensor that a method explains of those that all do: one that covers tokens covers them in the input."""
    return None if seen.tokens is not None and METHODS[name].forward_only else at


def _area(
    curve: Callable[..., mr.metrics.PixelCurve], seen: Seen, maps: HostArray, fill: float | Literal["blur"]
) -> float:
    rated = seen.places.as_grid(maps)
    targets = told_targets(seen.net, seen.targets[:, 0])
    told = {"fill": fill, "steps": seen.steps, "output": seen.output, "among": seen.among}
    return curve(seen.net, seen.x, rated, targets, **told).mean


def _measured(name: str, told: list[str], measure: Callable[[], float]) -> float | None:
    """A metric, or None and, in `told`, why it has no meaning for these maps."""
    try:
        return measure()
    except InvalidData as error:
        told.append(f"{name}: {error}")
        return None


HEAD = ("method", "deletion AUC", "insertion AUC", "class sensitivity", "fit, s", "maps, s")


def metrics_table(compared: Sequence[Compared]) -> tuple[Sequence[str], list[list[str]]]:
    """Head and rows of texts."""

    def text(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    rows = [
        [
            one.name,
            text(one.deletion, ".4f"),
            text(one.insertion, ".4f"),
            text(one.sensitivity, ".3f"),
            text(one.fit, ".2f"),
            text(one.seconds, ".2f"),
        ]
        for one in compared
    ]
    return HEAD, rows


def metrics_notes(compared: Sequence[Compared], seen: Seen) -> list[str]:
    """What the columns are, and why a value is missing."""
    told = "" if seen.net.probability is None else f" ({seen.net.probability})"
    back = "a blurred image" if seen.start == "blur" else "a sample of zeros"
    gone = "0 in the scale of the network's input"
    if seen.tokens is not None:
        gone, back = seen.tokens.called(seen.fill), "a text of these alone, under the mask of its own"
    notes = [
        f"Deletion and insertion: mean area under the {seen.output}{told} of the predicted class as "
        f"{seen.places.part}s go, replaced by {gone}, or come back to {back}, in the order of the map, "
        f"{seen.places.stepped(seen.steps, None if seen.tokens is None else seen.tokens.longest)}; "
        "lower is better for deletion, higher for insertion. Class sensitivity: mean L2 distance between the maps of "
        "the predicted and of the second class, each divided by its largest absolute value; 0 where a method ignores "
        "the class. Seconds: of one fit, shared by patternnet and pattern-attribution, and of all maps on this page. "
        f"Few samples ({len(seen.x)}) make these figures rough."
    ]
    return notes + [note for one in compared for note in one.notes]
