"""What layers are written to as ONNX: forward, and on the way back of signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy.typing as npt

HostArray = npt.NDArray[Any]
Shape = tuple[int, ...]
Switches = Literal["taps", "places"]
"""How switches are told: as taps [n, *out_shape] in the network's dtype, or as places, flat indices (int64) into both
signals at the input [2n, *in_shape], one for each of those at the output [2n, *out_shape], or into the one signal.
"""


class Writer(Protocol):
    """Takes the ONNX form of one layer."""

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        """Store a constant in the network's dtype and return its name."""
        ...

    def whole(self, role: str, *values: int) -> str:
        """Store a vector of int64 and return its name."""
        ...

    def inner(self, role: str) -> str:
        """Name a tensor between the nodes of the layer."""
        ...

    def append(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Append a node."""
        ...

    def several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append a node of several outputs, '' where one is not asked for."""
        ...

    def node(self, operator: str, *constants: str, **attributes: Any) -> None:
        """Append the node that reads all inputs of the layer, then the constants, and makes its output."""
        ...


class BackWriter(Protocol):
    """Takes the ONNX form of a layer's way back.

    Both signals are rows of one tensor [2n, ...], the source signals first, then the attributions; a gradient is one
    signal [n, ...]. What was recorded of the samples has n rows. Whether a recorded value is made in the same graph or
    is an input of it, and how many signals there are, the layer cannot tell.
    """

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        """Store a constant in the network's dtype and return its name."""
        ...

    def whole(self, role: str, *values: int) -> str:
        """Store a vector of int64 and return its name."""
        ...

    def single(self, role: str, *values: float) -> str:
        """Store a vector in single precision, as some operators ask for, and return its name."""
        ...

    def append(self, operator: str, inputs: Sequence[str], role: str, **attributes: Any) -> str:
        """Append a node and return the name of its output; role: a word for it, which need not be the only one."""
        ...

    def block(self, form: Callable[[HostArray], HostArray]) -> str:
        """The name of the block of weights, as `form` makes it of its array: of the fitted one, of each target's if
        several, and of the layer's own on the way back of a gradient.
        """
        ...

    @property
    def portable(self) -> bool:
        """Whether other runtimes than onnxruntime must take what is written; then no switches are recorded."""
        ...

    def value(self, tensor: str) -> str:
        """The name of a recorded value [n, ...]."""
        ...

    def switches(self, form: Switches) -> str:
        """The name of the layer's recorded switches."""
        ...

    def ones(self, condition: str, role: str) -> str:
        """Ones in the network's dtype where a condition holds, else zeros."""
        ...

    def state(self) -> str:
        """The name of what `emit_state` wrote for the layer and its input."""
        ...

    def times(self, signal: str, factor: str, shape: Shape, made: Shape | None = None) -> str:
        """Both signals [2n, *shape], or the one, times a factor [n, ...]: [2n, *made], by default of the signals'
        shape.
        """
        ...
