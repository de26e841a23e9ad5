"""What a method is: the facts that others ask of it, its options, and how it attributes.

A further method is a subclass in a file of its own, and a line in registry.py of `panel`. It states `name`,
`multiplier` and `follows_logit` (see Attribution) and, where they are not as here, the other facts, `Options` among
them (a frozen dataclass that checks itself). Most methods take a signal back through the layers: see `BackwardMethod`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.explained import explained
from mipin_ref.graph.network import Network
from mipin_ref.methods.fitting import Fitting


@dataclass(frozen=True)
class NoOptions:
    """A method without options."""


@dataclass(frozen=True)
class Run:
    """How a method is run, whichever it is.

    batch_size: samples at a time, None for as many as fit into `memory`, in bytes; progress: show a bar on a terminal.
    """

    backend: Backend
    batch_size: int | None
    memory: int
    progress: bool


class Method:
    """One attribution method with its options, for one network."""

    name: ClassVar[str]
    multiplier: ClassVar[bool]
    follows_logit: ClassVar[bool]
    """Whether the signal is y_c times something that does not know its sign; each method's own, never inherited."""
    Options: ClassVar[type[Any]] = NoOptions
    completes: ClassVar[bool] = False
    """Whether the result has a `delta`."""
    signals: ClassVar[bool] = False
    """Whether the result has a source signal."""
    fitting: ClassVar[type[Fitting] | None] = None
    """What it must be fitted with on calibration samples; None of a method that needs none."""
    even: ClassVar[bool] = False
    """Whether A is the same at every location of a map, so that only the contribution tells locations apart."""
    forward_only: ClassVar[bool] = False
    """Whether it needs the forward pass alone, so that it runs on any file that onnxruntime runs, at the input."""
    many_passes: ClassVar[bool] = False
    """Whether a sample takes hundreds of forward passes."""

    def __init_subclass__(cls) -> None:
        """Raises TypeError for a method that does not say itself whether it follows the logit's sign."""
        super().__init_subclass__()
        if "name" in cls.__dict__ and not isinstance(cls.__dict__.get("follows_logit"), bool):
            raise TypeError(f"method {cls.name!r} must state follows_logit, True or False, in its own class")

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def suits(cls, net: Network) -> bool:
        """Whether a network has what the method looks at, so that it is one of those that a panel has unasked."""
        return True

    @classmethod
    def takes_inverses(cls) -> bool:
        """Whether it explains by inverses, one a class."""
        return cls.fitting is not None and cls.fitting.by_class

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """The options that a user may give."""
        return tuple(field.name for field in fields(cls.Options))

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Any:
        """The options as `Options`. Raises InvalidData, naming the options there are, for one that is not of them."""
        known = cls.option_names()
        for name in given:
            if name not in known:
                there = f"its options are {', '.join(known)}" if known else "it has none"
                raise InvalidData(f"method {cls.name!r} has no option {name!r}; {there}")
        return cls.Options(**given)

    def default_at(self, net: Network) -> str:
        """The tensor that is explained where the user names none."""
        return net.input

    def explained(self, net: Network, at: str | None) -> str:
        """The tensor that a user means. Raises InvalidData where the network has none of that name."""
        if at is None:
            at = self.default_at(net)
        return net.logits if isinstance(at, str) and at == net.output else explained(net, at)

    def passes(self, net: Network, at: str) -> int:
        """How many forward passes of the network a sample takes to be explained at a tensor.

        Another class of the same sample takes them again, unless they are remembered: none is of a class.
        """
        return 1

    def attribute(self, net: Network, x: Any, target: Any, at: str | None, run: Run) -> Attribution:
        """Attribute the logit of a class, or of one a sample [N], to tensor `at` of samples x [N, *input_shape].

        Raises InvalidData for what does not fit the network or the method, NaN and Inf, in the data or on the way.
        """
        raise NotImplementedError
