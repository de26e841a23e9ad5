"""The networks of spec.py in torch, tensors held at the values that onnxruntime gave them.

What autograd finds is then the product of the layers' Jacobians at just the recorded values, so that a gradient of the
package agrees with it to the rounding of double precision, however ill-conditioned the forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tests.oracles.recurrent_torch import recurrent
from tests.oracles.spec import (
    GRU,
    LRN,
    LSTM,
    Activation,
    Add,
    Array,
    Attention,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Difference,
    Extremum,
    Gate,
    Gather,
    GlobalAveragePool,
    MaxPool,
    Negative,
    Norm,
    Op,
    Pad,
    Part,
    Reduce,
    Reshape,
    Resize,
    Scores,
    Slice,
    SoftmaxWeights,
    TokenDense,
    Transpose,
    Where,
    Written,
    aligned,
    input_name,
    output_name,
)
from tests.oracles.spellings import SPELLINGS

Tensor = Any
Activate = Callable[[Tensor], Tensor]

CONVS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MAX_POOLS: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def activation(op: Activation, relu: Activate) -> Activate:
    """relu: what stands in for it, so that methods that change its backward pass can be told apart."""
    alpha = op.alpha
    found: dict[str, Activate] = {
        "Relu": relu,
        "LeakyRelu": lambda x: F.leaky_relu(x, 0.01 if alpha is None else alpha),
        "ThresholdedRelu": lambda x: F.threshold(x, 1.0 if alpha is None else alpha, 0.0),
        # hardtanh has no slope at its bounds, clamp has.
        "Clip": lambda x: F.hardtanh(x, op.low, op.high),
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Elu": lambda x: F.elu(x, 1.0 if alpha is None else alpha),
        # ONNX gives its constants in single precision.
        "Selu": lambda x: 1.05070102214813232421875 * F.elu(x, 1.67326319217681884765625),
        "Softplus": F.softplus,
        "Softsign": F.softsign,
        "HardSigmoid": lambda x: F.hardtanh((0.2 if alpha is None else alpha) * x + 0.5, 0.0, 1.0),
        "HardSwish": F.hardswish,
        "Identity": lambda x: x,
        "Dropout": lambda x: x,
    }
    return found[op.kind]


def _pads(begins: Sequence[int], ends: Sequence[int]) -> list[int]:
    return [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair]


def _framed(x: Tensor, op: MaxPool | AveragePool, fill: float) -> Tensor:
    """Padded so that a pool without padding and without ceil_mode has the op's output map."""
    geometry, size = op.window, tuple(x.shape[2:])
    after = []
    for n, j, s, b, k, d in zip(
        size,
        geometry.output_size(size),
        geometry.strides,
        geometry.begins,
        geometry.kernel,
        geometry.dilations,
        strict=True,
    ):
        # Negative where the stride leaves the end of the map out.
        after.append((j - 1) * s + (k - 1) * d + 1 - b - n)
    return F.pad(x, _pads(geometry.begins, after), value=fill)


def _average(op: AveragePool, x: Tensor) -> Tensor:
    """Sums of windows, by a depthwise convolution with ones, over sums of ones where they count."""
    geometry, channels = op.window, x.shape[1]
    rank = x.ndim - 2
    ones = torch.ones((channels, 1, *geometry.kernel), dtype=x.dtype)

    def summed(a: Tensor) -> Tensor:
        framed = _framed(a, op, 0.0)
        return CONVS[rank](framed, ones, stride=geometry.strides, dilation=geometry.dilations, groups=channels)

    counted = torch.ones_like(x)
    if not op.count_include_pad:
        return summed(x) / summed(counted)
    # The declared padding counts: ones there too, and zeros where ceil_mode reaches beyond.
    wide = F.pad(counted, _pads(geometry.begins, geometry.ends), value=1.0)
    size = geometry.output_size(tuple(x.shape[2:]))
    reach = [
        (j - 1) * s + (k - 1) * d + 1
        for j, s, k, d in zip(size, geometry.strides, geometry.kernel, geometry.dilations, strict=True)
    ]
    after = [r - w for r, w in zip(reach, wide.shape[2:], strict=True)]
    wide = F.pad(wide, _pads([0] * rank, after))
    counts = CONVS[rank](wide, ones, stride=geometry.strides, dilation=geometry.dilations, groups=channels)
    return summed(x) / counts


def extreme(op: Extremum, xs: Sequence[Tensor]) -> Tensor:
    """The first of the largest or smallest: torch's own maximum of two shares the gradient of equals."""
    best = xs[0]
    for other in xs[1:]:
        better = other > best if op.function == "Max" else other < best
        best = torch.where(better, other, best)
    return best


def apply_op(op: Op, xs: Sequence[Tensor], relu: Activate, detached: bool = False) -> Tensor:
    """One op's output from its inputs, differentiable; detached: with divisors and gates as constants."""
    x = xs[0]
    match op:
        case Conv():
            padded = F.pad(x, _pads(op.window.begins, op.window.ends))
            bias = None if op.bias is None else torch.tensor(op.bias, dtype=x.dtype)
            return CONVS[x.ndim - 2](
                padded,
                torch.tensor(op.weight, dtype=x.dtype),
                bias,
                stride=op.window.strides,
                dilation=op.window.dilations,
                groups=op.groups,
            )
        case ConvTranspose():
            w, size = op.window, op.output_size(tuple(x.shape[2:]))
            bias = None if op.bias is None else torch.tensor(op.bias)
            turned = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[x.ndim - 3]
            # Cut by hand: torch takes equal pads alone, and no zeros behind but as output_padding.
            whole = turned(x, torch.tensor(op.weight), None, w.strides, 0, 0, op.groups, w.dilations)
            reach = zip(size, w.begins, whole.shape[2:], strict=True)
            whole = F.pad(whole, _pads([0] * len(size), [max(0, n + b - have) for n, b, have in reach]))
            whole = whole[(slice(None), slice(None), *(slice(b, b + n) for b, n in zip(w.begins, size, strict=True)))]
            return whole if bias is None else whole + bias.reshape(-1, *(1,) * len(size))
        case Resize():
            rows = torch.zeros((math.prod(op.size), math.prod(x.shape[2:])), dtype=x.dtype)
            for row, j in enumerate(np.ndindex(*op.size)):
                for i, share in op.terms(j, tuple(x.shape[2:])):
                    rows[row, int(np.ravel_multi_index(i, x.shape[2:]))] += share
            return (x.flatten(2) @ rows.T).reshape(*x.shape[:2], *op.size)
        case Gather():
            for axis, pick in enumerate(op.picks, 1):
                x = x if pick is None else x.index_select(axis, torch.tensor(pick))
            return x
        case Where():
            return torch.where(torch.tensor(op.mask), x, xs[1] if len(xs) > 1 else torch.tensor(op.fill, dtype=x.dtype))
        case Dense():
            y = x @ torch.tensor(op.weight, dtype=x.dtype)
            return y if op.bias is None else y + torch.tensor(op.bias, dtype=x.dtype)
        case MaxPool():
            geometry = op.window
            framed = _framed(x, op, -torch.inf)
            pool = MAX_POOLS[x.ndim - 2]
            return pool(framed, geometry.kernel, geometry.strides, dilation=geometry.dilations)
        case AveragePool():
            return _average(op, x)
        case GlobalAveragePool():
            return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
        case Activation():
            return activation(op, relu)(x)
        case LRN():
            return F.local_response_norm(x, op.size, op.alpha, op.beta, op.bias)
        case Reshape():
            # Of its shape, so that an exporter sees that the batch is free.
            return x.reshape(x.shape[0], *op.shape)
        case Transpose():
            return x.permute(op.perm)
        case Add():
            return sum(xs[1:], start=x)
        case Gate():
            gate = xs[1].detach() if detached else xs[1]
            return x * gate if op.function == "Mul" else x / gate
        case Attention():
            return _attention(op, x, xs[1].detach() if detached else xs[1])
        case SoftmaxWeights():
            return x.softmax(op.axis)
        case Scores():
            return x @ xs[1]
        case Difference():
            return x - xs[1]
        case Negative():
            return -x
        case Part():
            raise TypeError(f"{op.output!r} stands for several ops")
        case Extremum():
            return extreme(op, xs)
        case Written():
            return SPELLINGS[op.spelling].torch(x)
        case Concat():
            return torch.cat(list(xs), dim=op.axis)
        case Slice():
            return x[op.box]
        case Pad():
            return F.pad(x, _pads(op.begin, op.end), value=op.value)
        case ChannelAffine():
            shape = tuple(x.shape[1:])
            scale, shift = (torch.tensor(aligned(constant, shape)) for constant in (op.scale, op.shift))
            return x * scale + shift
        case TokenDense():
            y = x.movedim(op.axis, -1) @ torch.tensor(op.weight) + torch.tensor(op.bias)
            return y.movedim(-1, op.axis)
        case Norm():
            return _norm(op, x, detached)
        case LSTM() | GRU():
            return recurrent(op, xs, detached)
        case Reduce():
            return x.sum(dim=op.axes, keepdim=True) if op.total else x.mean(dim=op.axes, keepdim=True)
    assert_never(op)


def _attention(op: Attention, content: Tensor, weights: Tensor) -> Tensor:
    apart = content.unflatten(-1, (op.heads, content.shape[-1] // op.heads)).transpose(-2, -3)
    return (weights @ apart).transpose(-2, -3).flatten(-2)


def _norm(op: Norm, x: Tensor, detached: bool) -> Tensor:
    """detached: with the divisor as a constant."""
    grouped = x.reshape(len(x), op.groups, -1) if op.groups else x
    axes = (2,) if op.groups else op.axes
    z = grouped - grouped.mean(dim=axes, keepdim=True) if op.centred else grouped
    root = ((z * z).mean(dim=axes, keepdim=True) + op.epsilon).sqrt()
    normed = (z / (root.detach() if detached else root)).reshape(x.shape)
    return normed * torch.tensor(op.scale) + torch.tensor(op.shift)


class Held(torch.autograd.Function):  # type: ignore[misc]
    """A value in place of a computed one; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, computed: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Twin(torch.nn.Module):  # type: ignore[misc]
    """The network as a module from its input [n, ...] to the logits [n, classes], in float64.

    Activations and max-pools that captum changes backwards are modules of their own. inner: tensors as modules that
    hand on what they are given, for captum's layer methods. held: values [n, ...] that tensors are held at; detached:
    see apply_op.
    """

    def __init__(self, ops: Sequence[Op], inner: Sequence[str] = (), *, detached: bool = False) -> None:
        super().__init__()
        self.detached = detached
        self.ops = list(ops)
        self.input, self.output = input_name(ops), output_name(ops)
        self.held: Mapping[str, Array] | None = None
        self._own: dict[str, Any] = {}
        for op in ops:
            made = _module(op)
            if made is not None:
                self._own[op.output] = made
                self.add_module(f"own_{op.output}".replace(".", "_"), made)
        self._at = {name: torch.nn.Identity() for name in inner}
        for name, module in self._at.items():
            self.add_module(f"at_{name}".replace(".", "_"), module)

    def at(self, name: str) -> Any:
        return self._at[name]

    def forward(self, x: Tensor, kept: dict[str, Tensor] | None = None) -> Any:
        values = {self.input: self._at[self.input](x) if self.input in self._at else x}
        for op in self.ops:
            xs = [values[name] for name in op.inputs]
            own = self._own.get(op.output)
            # captum's hooks sit on a module's input, where other readers' gradients must not come in.
            y = apply_op(op, xs, torch.relu, self.detached) if own is None else own(xs[0].clone())
            if self.held is not None and op.output in self.held:
                y = Held.apply(y, torch.tensor(np.asarray(self.held[op.output])))
            values[op.output] = self._at[op.output](y) if op.output in self._at else y
        if kept is not None:
            kept.update(values)
        return values[self.output]


def _module(op: Op) -> Any:
    """What captum tells by its class; None for ops that it leaves to autograd."""
    if isinstance(op, MaxPool):
        geometry = op.window
        small = all(2 * b <= k for b, k in zip(geometry.begins, geometry.kernel, strict=True))
        plain = small and geometry.begins == geometry.ends and not geometry.ceil_mode and set(geometry.dilations) == {1}
        kind = (torch.nn.MaxPool1d, torch.nn.MaxPool2d, torch.nn.MaxPool3d)[len(geometry.kernel) - 1]
        return kind(geometry.kernel, geometry.strides, geometry.begins) if plain else None
    if not isinstance(op, Activation):
        return None
    made: dict[str, Callable[[], Any]] = {
        "Relu": torch.nn.ReLU,
        "LeakyRelu": lambda: torch.nn.LeakyReLU(0.01 if op.alpha is None else op.alpha),
        "Elu": lambda: torch.nn.ELU(1.0 if op.alpha is None else op.alpha),
        "Sigmoid": torch.nn.Sigmoid,
        "Tanh": torch.nn.Tanh,
        "Softplus": torch.nn.Softplus,
    }
    return made[op.kind]() if op.kind in made else None


def gradients(
    ops: Sequence[Op], values: Mapping[str, Array], target: npt.ArrayLike, *, detached: bool = False
) -> dict[str, Array]:
    """The gradient of the target logit by every tensor that leads to it, at the recorded values [N, ...].

    values: of every tensor but those that are another under a second name; detached: see apply_op.
    """
    twin, kept = Twin(ops, detached=detached), dict[str, Tensor]()
    twin.held = values
    x = torch.tensor(np.asarray(values[twin.input]), requires_grad=True)
    logits = twin(x, kept)
    rows = torch.arange(len(x))
    total = logits.reshape(len(x), -1)[rows, torch.as_tensor(np.broadcast_to(np.asarray(target), len(x)).copy())].sum()
    found = torch.autograd.grad(total, list(kept.values()), allow_unused=True)
    return {name: np.asarray(g) for name, g in zip(kept, found, strict=True) if g is not None}
