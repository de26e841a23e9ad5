"""Every method by its name, and the one place that lists them."""

from __future__ import annotations

from difflib import get_close_matches

from mipin_ref.errors import InvalidData
from mipin_ref.methods.deep_taylor import DeepTaylor
from mipin_ref.methods.excitation import ExcitationBackprop
from mipin_ref.methods.gradient import Gradient, InputTimesGradient
from mipin_ref.methods.lrp import LrpAlphaBeta, LrpEpsilon
from mipin_ref.methods.method import Method
from mipin_ref.methods.pattern import PatternAttribution, PatternNet

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Gradient,
        InputTimesGradient,
        LrpEpsilon,
        LrpAlphaBeta,
        DeepTaylor,
        ExcitationBackprop,
        PatternNet,
        PatternAttribution,
    )
}


def methods() -> list[str]:
    """The names that `attribute` takes."""
    return list(METHODS)


def method_named(name: str) -> type[Method]:
    """Raises InvalidData, with the nearest names, where there is none."""
    if name in METHODS:
        return METHODS[name]
    near = get_close_matches(str(name), METHODS, n=3)
    raise InvalidData(
        f"there is no method {name!r}; "
        + (f"did you mean {', '.join(map(repr, near))}?" if near else f"there are {', '.join(METHODS)}")
    )
