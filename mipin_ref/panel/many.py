"""When classes of one fit share their inverses from some tensor down without being asked to (method, section 4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import plan_for

FEW = 8
"""Classes up to which each is fitted by itself: looking for where they can share costs two of these fits, comparisons,
and what is common. Seconds of the processor, down to the input, float32, of one class, all, and all by "auto":
clutter_vgg, 120 samples, 15 classes: 1.2, 11.7, 7.8; mnist_cnn, 500 samples, 10 classes: 1.3, 8.6, 6.6."""
NEAR = 3
"""Fitted tensors up to which each class is fitted by itself: Dense heads, pools and what is behind them differ between
classes, and are the cheapest of a fit."""


def common_of_many(net: Network, classes: Collection[int], given: Mapping[str, Any]) -> str | None:
    """The option `common` of a fit of these classes, indices into the logits, where a user says nothing of it.

    given: the other options of the fit, `at` among them. "auto" where that is cheaper than a fit of each class, which
    needs many classes and a tensor far from the logits.
    """
    if "common" in given:
        return given["common"]  # type: ignore[no-any-return]
    if len(classes) <= FEW:
        return None
    part, index = facing(net, min(classes))
    known = {one.name for one in fields(Options)}
    options = Options(**{name: value for name, value in given.items() if name in known})
    return AUTO if len(plan_for(part, options, index).fitted) > NEAR else None
