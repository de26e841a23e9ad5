"""The ways of scoring the tokens of a sentence: every method, and MIP-IN with some options of its fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.token_ranks import drops
from training.planted import ID, UNKNOWN, Sentences

MIP_IN: dict[str, dict[str, Any]] = {
    "mip-in": {},
    # The preset `localise` is this ridge here: its other option is about maps that are read flattened.
    "mip-in, ridge 10": {"ridge": 10.0},
    "mip-in, ridge 100": {"ridge": 100.0},
    "mip-in, ridge 1000": {"ridge": 1000.0},
    "mip-in, ridge held-out": {"ridge": "held-out"},
    "mip-in, norm sigma": {"norm": "sigma"},
    "mip-in, norm sigma, ridge 100": {"norm": "sigma", "ridge": 100.0},
    "mip-in, no mask": {"local": False},
}
"""Row -> options of the fit."""
BY_DELETION = "mip-in, ridge by deletion"
RIDGES = tuple(10.0**power for power in range(-3, 7))
"""Those of which one is chosen by deletion: the same as `held-out` picks from."""
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in mr.methods() if name not in ("mip-in", "gradient")},
    "lrp-epsilon, attn-lrp": ("lrp-epsilon", {"attention": "attn-lrp"}),
    # What is covered becomes the word that stands for unknown ones in training.
    "occlusion": ("occlusion", {"window": 1, "baseline": float(ID[UNKNOWN])}),
    "kernel-shap": ("kernel-shap", {"baseline": float(ID[UNKNOWN])}),
    "rise": ("rise", {"baseline": float(ID[UNKNOWN])}),
}
"""Row -> method and options. A gradient by itself says nothing of a token."""
FITTED = ("patternnet", "pattern-attribution")
RANDOM = "random order"
ABOUT = {
    "mip-in, norm sigma": "Norm",
    "mip-in, norm sigma, ridge 100": "Norm",
    "mip-in, no mask": "Activation",
    "lrp-epsilon, attn-lrp": "Attention",
}
"""Row -> the kind of layer that its options are about: a network without one has no such row."""

Way = Callable[[Sentences], NDArray[Any]]


class Inverses:
    """The inverses of all classes of a network, fitted once for each set of options, whoever asks for them."""

    def __init__(self, net: mr.Network, calibration: NDArray[np.int64]) -> None:
        self.net, self.calibration = net, calibration
        self._fitted: dict[tuple[tuple[str, Any], ...], Mapping[int, mr.Inverse]] = {}

    def __call__(self, **options: Any) -> Mapping[int, mr.Inverse]:
        key = tuple(sorted(options.items()))
        if key not in self._fitted:
            classes = list(range(self.net.classes))
            self._fitted[key] = mr.fit(self.net, self.calibration, classes, **options)
        return self._fitted[key]


def scored(
    net: mr.Network, ids: NDArray[np.int64], targets: NDArray[np.int64], method: str, **options: Any
) -> NDArray[Any]:
    """The score of every token [N, T]: Σ over features of A ⊙ X."""
    made = mr.attribute(net, ids, [int(c) for c in targets], method, **options).oriented.contribution
    return made if made.ndim == 2 else made.sum(axis=-1)


def ridge_by_deletion(fitted: Inverses, ids: NDArray[np.int64]) -> float:
    """The ridge of RIDGES, of equal ones the smallest, by whose scores deletions take most from the predicted class's
    logit, on the mean over sentences [N, T] that were not fitted on: this asks for neither classes nor evidence.
    """
    net = fitted.net
    targets = net.predict(ids)[1].argmax(axis=1)
    taken = [
        drops(net, scored(net, ids, targets, "mip-in", inverse=fitted(ridge=ridge)), ids, targets).mean()
        for ridge in RIDGES
    ]
    return RIDGES[int(np.argmax(taken))]


def ways(net: mr.Network, calibration: NDArray[np.int64], ridge: Callable[[Inverses], float]) -> dict[str, Way]:
    """Row -> scores of tokens [N, T]; ridge: chosen where its row is asked for."""
    fitted = Inverses(net, calibration)
    kinds = {layer.kind for layer in net.layers}

    def inverse(options: Mapping[str, Any], data: Sentences) -> NDArray[Any]:
        return scored(net, data.ids, data.classes, "mip-in", inverse=fitted(**options))

    def by_deletion(data: Sentences) -> NDArray[Any]:
        return inverse({"ridge": ridge(fitted)}, data)

    def other(name: str, options: Mapping[str, Any], data: Sentences) -> NDArray[Any]:
        # What it is fitted on is given as patterns, which a network may have none of.
        given = {"patterns": mr.fit_patterns(net, calibration)} if name in FITTED else {}
        return scored(net, data.ids, data.classes, name, **options, **given)

    def random(data: Sentences) -> NDArray[Any]:
        return np.random.default_rng(0).random(data.ids.shape)

    made: dict[str, Way] = {row: partial(inverse, options) for row, options in MIP_IN.items()}
    made[BY_DELETION] = by_deletion
    made |= {row: partial(other, name, options) for row, (name, options) in OTHERS.items()}
    made[RANDOM] = random
    return {row: way for row, way in made.items() if row not in ABOUT or ABOUT[row] in kinds}
