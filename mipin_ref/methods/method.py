"""What a method is: its options, its rules, and what it makes of one or more sweeps.

A further method is a subclass in a file of its own, and a line in registry.py. It states `name`, `multiplier` and
`follows_logit` (see Attribution), `Options` (a frozen dataclass that checks itself), `rules` (a rule a class of layer,
most of them from DERIVATIVES) and `logit` (whether the signal starts as y_c, for relevance, or as 1). Where the rule
depends on more than the class of the layer it overrides `rule`; where one sweep a batch is not all there is to do,
`explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mipin_ref.backend import Backend
from mipin_ref.data import Calibration
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray as Array
from mipin_ref.layers import Layer
from mipin_ref.methods.products import DERIVATIVES
from mipin_ref.methods.rules import Rule, Rules, rule_of
from mipin_ref.methods.sweep import Ints, Sweep


@dataclass(frozen=True)
class NoOptions:
    """A method without options."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a batch gives, on the host: see Attribution for the fields."""

    value: Array
    attribution: Array
    output: Array
    signal: Array | None = None
    delta: Array | None = None


class Method:
    """One attribution method with its options, for one call."""

    name: ClassVar[str]
    multiplier: ClassVar[bool]
    follows_logit: ClassVar[bool]
    """Whether the signal is y_c times something that does not know its sign; each method's own, never inherited."""
    Options: ClassVar[type[Any]] = NoOptions
    rules: Rules = DERIVATIVES
    logit: ClassVar[bool] = False
    frozen: ClassVar[bool] = False
    """Whether state, as gates are, is taken for constant, so that nothing comes back to it."""
    completes: ClassVar[bool] = False
    """Whether the result has a `delta`."""
    signals: ClassVar[bool] = False
    """Whether the result has a source signal."""
    needs_patterns: ClassVar[bool] = False
    """Whether it is fitted: its option `patterns` is what `fit_patterns` finds on calibration samples."""
    even: ClassVar[bool] = False
    """Whether A is the same at every location of a map, so that only the contribution tells locations apart."""

    def __init_subclass__(cls) -> None:
        """Raises TypeError for a method that does not say itself whether it follows the logit's sign."""
        super().__init_subclass__()
        if "name" in cls.__dict__ and not isinstance(cls.__dict__.get("follows_logit"), bool):
            raise TypeError(f"method {cls.name!r} must state follows_logit, True or False, in its own class")

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def calibration(self) -> Calibration | None:
        """Of what was fitted for the method; None where nothing was."""
        return None

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Any:
        """The options as `Options`. Raises InvalidData, naming the options there are, for one that is not of them."""
        known = [field.name for field in fields(cls.Options)]
        for name in given:
            if name not in known:
                there = f"its options are {', '.join(known)}" if known else "it has none"
                raise InvalidData(f"method {cls.name!r} has no option {name!r}; {there}")
        return cls.Options(**given)

    def rule(self, net: Network, layer: Layer) -> Rule:
        """The rule of one layer of a network. Raises UnsupportedModel where the method has none."""
        return rule_of(self.rules, layer, self.name)

    def default_at(self, net: Network) -> str:
        """The tensor that is explained where the user names none."""
        return net.input

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        """The way back that `explain` takes. Raises InvalidData where the method cannot explain `at`."""
        return Sweep(net, backend, at, lambda layer: self.rule(net, layer), logit=self.logit, frozen=self.frozen)

    def explain(self, sweep: Sweep, x: Array, targets: Ints, rows: int, first: int) -> Found:
        """Attribute one batch x [n, *input_shape] to targets [n].

        rows: how many samples may be swept at a time, n or more; first: the position of x in the data.
        """
        swept = sweep(x, targets, first=first)
        return Found(swept.value, sweep.backend.get(swept.signal), swept.output(targets))
