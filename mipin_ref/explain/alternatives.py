"""The classes that a page shows beside the one that each sample is taken for, where that is cheap."""

from __future__ import annotations

import numpy as np

from mipin_ref.explain.asked import Asked, Read
from mipin_ref.explain.fits import Fits
from mipin_ref.explain.targets import PREDICTED, Indices, highest
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import faced
from mipin_ref.inverse.targets import weight_bytes
from mipin_ref.report.template import RANKS

SAMPLES, CLASSES = 100, 32
"""Samples, and classes of all of them together, up to which the next classes of each sample are shown too. The 90
classes of twenty photographs take a first run of EfficientNet-Lite0 from 12.7 to 21.9 seconds of the processor, a
second one from 3.1 to 4.4 (`mipin explain` with and without `--top 5`)."""
NEAR = 6
"""Fitted tensors, nearest to the logits, of which a class more costs little."""
LITTLE = 64 << 20
"""Bytes of the weights of all these classes, at most."""


def with_next(net: Network, asked: Asked, read: Read, targets: Indices, fits: Fits) -> Indices:
    """The classes [n, k] to show of each sample: those asked for, and, where nothing but the predicted one [n, 1] is
    asked for, the next highest, where inverses of all of them are cheap: near the logits, where a class more costs
    little beside the forward passes.
    """
    predicted = isinstance(asked.target, str) and asked.target == PREDICTED and asked.top == 1
    if not predicted or len(targets) > SAMPLES or fits.given.get("common") is not None:
        return targets
    more = highest(read.scores, len(RANKS))
    plan, classes = fits.plan(int(targets[0, 0])), np.unique(more)
    cheap = len(plan.fitted) <= NEAR and len(classes) <= CLASSES and weight_bytes(plan, len(classes)) <= LITTLE
    return more if cheap and faced(net, classes)[0] is faced(net, np.unique(targets))[0] else targets
