"""What several kinds of layer have in common: how their signal comes back, whether they are linear, what they leave."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, Layer, Mask, Recording, Shape, States
from mipin_ref.window import Window


class Linear(Layer, group=True):
    """A kind that is linear in its one input, but for what it adds.

    averages: whether its weights are those of a mean: all positive, and of one window equal.
    """

    averages: ClassVar[bool]

    @property
    @abstractmethod
    def constant(self) -> HostArray:
        """What `product` takes as the layer's own weight."""

    @property
    @abstractmethod
    def offset(self) -> HostArray | None:
        """What is added, as it broadcasts to the output; None where nothing is."""

    @abstractmethod
    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        """x [n, *in_shape] -> [n, *out_shape] without the offset. weight: `constant`, or another of its shape."""

    @abstractmethod
    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        """signal [n, *out_shape] -> [n, *in_shape], the adjoint of `product` with the same weight."""

    @abstractmethod
    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        """Write `adjoint` with the layer's own weight as ONNX: the name of signals [n, *in_shape] of [n, *out_shape].

        What `writer` takes for a block is that weight.
        """

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        y = self.product(backend, inputs[0], backend.put(self.constant))
        return y if self.offset is None else y + backend.put(self.offset)


class Shared(Linear, group=True):
    """A kind whose inverse is its adjoint with one fitted block of weights for all channels (paper, Eq. 6 and 7).

    weight, bias: what was trained; output_axis: that of the weight which counts outputs.
    """

    inverse = "shared"
    cut = None
    paths = (0,)
    mask = "nonzero"
    output_axis: ClassVar[int]
    weight: HostArray
    bias: HostArray

    def never_negative(self, inputs: bool) -> bool:
        return False

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {"weight": self.weight, "bias": self.bias}

    @property
    def constant(self) -> HostArray:
        return self.weight

    @abstractmethod
    def block_shape(self, *, column: bool) -> Shape:
        """The shape of the block of weights. column: whether one output alone is a regressor."""

    @property
    @abstractmethod
    def block_axes(self) -> tuple[str, ...]:
        """What the axes of the block are called."""

    @abstractmethod
    def correlate(self, backend: Backend, x: Array, signal: Array) -> Array:
        """Sum x [n, *in_shape] times signal [n, *out_shape] over samples and locations, an entry a weight, in float64.

        Products are in the dtype of x and signal, sums of batches in float64.
        """

    @abstractmethod
    def workspace_bytes(self, backend: Backend) -> int:
        """What `adjoint` holds beside signal and result, however many the samples."""

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        return self.emit_back(writer, signal, 0)


@dataclass(frozen=True)
class Part:
    """A convolution whose adjoint takes a signal [n, outputs, *locations] to the input's grid."""

    window: Window
    locations: Shape
    outputs: int


class Located(Shared, group=True):
    """A Shared kind that does the same at every location, which are the rows of its fit (paper, Eq. 7).

    window: how its locations meet those of the input, over the axes of the sample but that of the channels; groups: of
    channels, each with weights of its own. Its inverse is the adjoint of one convolution, or the sum of several, one a
    part; to these all shapes have the channels in front, whatever their axis.
    """

    sample_rows = False
    groups: int
    window: Window

    @abstractmethod
    def block_of(self, kernel: HostArray) -> HostArray:
        """The block of weights that a kernel [out, in / groups, *window.kernel] of the one part means."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The convolutions whose adjoints the inverse is the sum of."""
        return (Part(self.window, self.out_shape[1:], self.out_shape[0]),)

    def divided(self, backend: Backend, signal: Array) -> tuple[Array, ...]:
        """signal [n, out, *locations], the channels in front -> what each part takes of it [n, outputs, *locations]."""
        return (signal,)

    def assembled(self, kernels: Sequence[HostArray]) -> HostArray:
        """The block of weights, of each part's kernel [outputs, in / groups, *kernel]."""
        (kernel,) = kernels
        return self.block_of(kernel)


class Unweighted(Layer, group=True):
    """A kind whose signal comes back without weights, or before it gets one weight a channel."""

    sample_rows = False
    mask: Mask = "nonzero"

    @property
    def paths(self) -> tuple[int, ...]:
        return tuple(range(len(self.inputs)))

    @abstractmethod
    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        """The signal at input `slot` [n, *in_shapes[slot]] of that at the output [n, *out_shape]."""


class Stateful(Unweighted, group=True):
    """A kind whose way back depends on something recorded of the sample: its state."""

    @property
    @abstractmethod
    def reads(self) -> tuple[Recording, ...]:
        """What must be recorded for its state; nothing where it has none."""

    @abstractmethod
    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        """The state [n, *state_shape] of what was recorded."""

    @property
    @abstractmethod
    def state_shape(self) -> Shape:
        """The shape of a sample's state."""

    @abstractmethod
    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        """The type of the state; values: that of recorded values."""

    @abstractmethod
    def emit_state(self, writer: BackWriter, slot: int) -> str:
        """Write as ONNX what `emit_back` multiplies signals with, of recorded values, and return its name [n, ...].

        A layer without a state is not asked.
        """


class FrozenOperand(Stateful, group=True):
    """A kind that is linear in its first input, the only path, once its second is frozen at what was recorded."""

    @property
    def paths(self) -> tuple[int, ...]:
        return (0,)

    @property
    def reads(self) -> tuple[Recording, ...]:
        return (("value", self.inputs[1]),)

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        return recorded["value", self.inputs[1]]

    @property
    def state_shape(self) -> Shape:
        return self.in_shapes[1]

    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        return values


class Outdone(Layer, group=True):
    """A kind behind which, measured on networks whose evidence is known, another method points better than inverses do.

    outdone_by: the name of the method (tools/paper/text.md).
    """

    outdone_by: ClassVar[str]


class Switched(Stateful, group=True):
    """A kind that hands each value on from the place that won, which is recorded."""

    @property
    def reads(self) -> tuple[Recording, ...]:
        return (("switches", self.output),)

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        return self.taps(recorded["switches", self.output])

    @property
    def state_shape(self) -> Shape:
        return self.out_shape

    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        return self.tap_dtype

    @property
    @abstractmethod
    def tap_dtype(self) -> np.dtype[Any]:
        """The smallest integers that count the places that may win."""

    @abstractmethod
    def taps(self, switches: npt.NDArray[np.int64]) -> npt.NDArray[np.integer[Any]]:
        """Which place won each output [n, *out_shape], counted from 0; switches: as onnxruntime tells it."""

    @abstractmethod
    def adjoint(self, backend: Backend, signal: Array, taps: Array) -> Array:
        """The gradient: signal [n, *out_shape] -> [n, *in_shape], added up where one place won several outputs."""

    @abstractmethod
    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        """Write `adjoint` as ONNX: the name of signals [n, *in_shape] of those [n, *out_shape]."""


class KeepsAxes(Layer, group=True):
    """A kind whose output has the axes of its input, in their order."""

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(len(self.out_shape) + 1))


class ElementWise(KeepsAxes, group=True):
    """A kind whose signals come back element by element."""

    hands_on = True

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted


class Untrained(Layer, group=True):
    """A kind without trained numbers, whose work is to make each of its outputs once."""

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {}

    @property
    def operations(self) -> float:
        return float(prod(self.out_shape))


def stateful(layers: Iterable[Layer]) -> dict[str, Stateful]:
    """Those of the layers whose state is to be recorded, by output."""
    return {layer.output: layer for layer in layers if isinstance(layer, Stateful) and layer.reads}


def switched(layers: Iterable[Layer]) -> dict[str, Switched]:
    """The layers whose switches are to be recorded, by output."""
    return {layer.output: layer for layer in layers if isinstance(layer, Switched)}
