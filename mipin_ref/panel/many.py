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

FEW = 32
"""Classes up to which each is fitted by itself: looking for where they can share costs about as much as so many fits.
EfficientNet-Lite0 down to the pixels, 24 samples that are taken for 20 classes, seconds of the processor: 12 of one
class, 22 of two, 62 of six; "auto" more than 250 (`python tools/bench.py classes --model ... --classes 6`)."""
NEAR = 6
"""Fitted tensors up to which each class is fitted by itself: those nearest to the logits are what differs between
classes, and are the cheapest of a fit (to the last map, 200 samples: 5.9 of one class, 7.2 of 20, 12.9 of 80; "auto" 53
of 5 to 40)."""


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
