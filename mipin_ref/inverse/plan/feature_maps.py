"""Which tensors are worth explaining besides the input: the last feature map of each resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mipin_ref.graph.explained import deepest
from mipin_ref.graph.feature_maps import feature_maps, signs
from mipin_ref.graph.network import Network
from mipin_ref.layers import Shape


@dataclass(frozen=True)
class FeatureMap:
    """A tensor to explain.

    tensor: its name, for `at=`; shape: per sample; kind: of map that suits it (method of the paper, 6.1.2):
    "attribution" where no value can be negative, else "contribution".
    """

    tensor: str
    shape: Shape
    kind: Literal["attribution", "contribution"]


def maps_to_explain(net: Network) -> list[FeatureMap]:
    """The feature maps of a network (see `feature_maps`) that inverses reach, the last one first.

    The input ends the list, or the tensor furthest down that inverses reach.
    """
    floored, _ = signs(net)
    last = net.input if net.input not in net.blocked else deepest(net)
    names = [name for name in feature_maps(net) if name not in net.blocked and name != last]
    return [
        FeatureMap(name, net.shapes[name], "attribution" if name in floored else "contribution")
        for name in [*names, last]
    ]
