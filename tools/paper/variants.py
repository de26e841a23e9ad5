"""What Table 1 is measured with, one thing at a time: trainings, options of the fit, images and how they are scaled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.paper_variants import Training


@dataclass(frozen=True)
class Variant:
    """One thing that differs. training: None for the embedded network; fit: options; factor, trained_on: times the
    images that are fitted on, and that a network is trained on where it is anew; recentred: whether the embedded one is
    rewritten for inputs less their mean over their deviation.
    """

    training: Training | None = None
    fit: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    trained_on: float = 1.0
    recentred: bool = False


CONV_BIAS = "conv_bias"
VARIANTS = {
    "as in Table 1": Variant(),
    "fit_on target_class": Variant(fit={"fit_on": "target_class"}),
    "a tenth of the images": Variant(factor=0.1),
    "ridge 50": Variant(fit={"ridge": 50.0}),
    "ridge 10000": Variant(fit={"ridge": 10_000.0}),
    "ridge held-out": Variant(fit={"ridge": "held-out"}),
    "input_mask": Variant(fit={"input_mask": True}),
    "local False": Variant(fit={"local": False}),
    CONV_BIAS: Variant(fit={"conv_bias": True}),
    "inputs centred, same function": Variant(recentred=True),
    "trained again": Variant(Training()),
    "no dropout": Variant(Training(dropout=0.0)),
    "dropout 0.5": Variant(Training(dropout=0.5)),
    "weight decay 0.001": Variant(Training(weight_decay=1e-3)),
    "a quarter of the epochs": Variant(Training(epochs=0.25)),
    "normalised inputs": Variant(Training(normalised=True)),
    "five times the training images, a quarter of the epochs": Variant(Training(epochs=0.25), trained_on=5.0),
}


def variants_of(name: str) -> dict[str, Variant]:
    """The MLP has no convolution: an intercept, and so the mean of its inputs, is in its fits anyway."""
    if name != "mnist_mlp":
        return VARIANTS
    return {
        title: variant for title, variant in VARIANTS.items() if not (variant.fit.get(CONV_BIAS) or variant.recentred)
    }
