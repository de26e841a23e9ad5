"""The self-check of a quantised file: each layer, given what the file computed in front of it, must make what the file
computed behind it, to a step.

Over the whole network steps add up and would hide a layer that is read wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from mipin_ref.beside import like
from mipin_ref.errors import OverflowWarning, UnsupportedModel, outside
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.emit import emit
from mipin_ref.graph.exact_sums import with_exact_sums
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.front import Front
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.graph.network import Network
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.rewrites.affines import stretch
from mipin_ref.graph.runtime import session
from mipin_ref.graph.steps import Blur, Held, Step
from mipin_ref.layers import HostArray, Layer, Wired
from mipin_ref.threads import BLAS_THREADS

FLOATING = 1e-4
"""Share of the largest value that rounding in float32 may cost."""

SAMPLES = 2

AT_ONCE = 1 << 25
"""Elements a sample of the tensors that are compared in one run."""

UNCUT = 0.75
"""Share of the values that must agree where steps between a layer and its output are gone: in the file some of these
values were beyond what the integers there reach.
"""


@dataclass(frozen=True, eq=False)
class Steps:
    """What a quantised file may be off. held: tensors of layers that it holds as integers; blurred: products whose
    operand it quantises by its range; drafted: the layers before any was folded; bound: its inputs.
    """

    held: Mapping[str, Held]
    blurred: Mapping[str, Blur]
    drafted: tuple[Wired, ...]
    bound: Bound


def verify_by_layer(net: Network, steps: Steps, seed: int = 0) -> float:
    """The largest difference between a layer and the file, in what it may be. Raises UnsupportedModel beyond one.

    What agrees with the file alone where its sums of products are exact is explained as onnxruntime computes it here:
    OverflowWarning says where it is something else.
    """
    assert net.file is not None
    worst, apart = _compared(net, steps, seed)
    if apart is None:
        return worst
    exact = with_exact_sums(net.file.model)
    if exact != net.file.model:
        try:
            worst, still = _compared(replace(net, file=replace(net.file, model=exact)), steps, seed)
        except UnsupportedModel:
            # As of signed activations by unsigned weights, of which onnxruntime has no product.
            still = apart
        if still is None:
            warnings.warn(
                f"onnxruntime's sums of eight-bit products overflow on this processor, as on others without VNNI: "
                f"{apart}; what is explained is what it computes here, and elsewhere the file gives something else "
                "(weights of seven bits, reduce_range of its quantiser, are the same everywhere)",
                OverflowWarning,
                outside(),
            )
            return worst
    raise UnsupportedModel(f"{apart}: it is read wrong, or onnxruntime computes something else")


@dataclass(frozen=True)
class _Apart:
    """A layer that differs from the file by more than it may."""

    layer: Layer
    off: float
    allowed: float

    def __str__(self) -> str:
        return (
            f"{self.layer.kind} {self.layer.name!r} differs from the quantised file by {self.off:.1e} where its steps "
            f"allow {self.allowed:.1e}"
        )


def _compared(net: Network, steps: Steps, seed: int) -> tuple[float, _Apart | None]:
    """The largest difference between a layer and the file, in what it may be; and the first layer beyond one."""
    assert net.file is not None
    x = _samples(net, steps, net.file.apart or SAMPLES, seed)
    # What the reader puts between two layers is compared with nothing: steps in front of it are for the layer behind.
    swallowed = _swallowed(steps, net.shapes.keys() & {net.input, *net.file.tensors})
    operands = _operands(net, steps, x)
    worst = 0.0
    for some in _groups([layer for layer in net.layers if layer.output in net.file.tensors]):
        recorded, made = _computed(net, some, x)
        for layer, value in zip(some, made, strict=True):
            file, held = recorded[layer.output], steps.held.get(layer.output)
            gone = swallowed.get(layer.output, ())
            share = UNCUT if any(isinstance(one.one, Step) for one in gone) else 1.0
            off = _off(value, file, None if held is None else held.step, share)
            allowed = FLOATING * float(np.max(np.abs(file), initial=1e-30)) + (0.0 if held is None else held.step.scale)
            allowed += sum(_allowed(one, operands, file) for one in gone)
            worst = max(worst, off / allowed)
            if not off <= allowed:
                return worst, _Apart(layer, off, allowed)
    return worst, None


def _groups(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers whose tensors can be held at once."""
    some, held = list[Layer](), 0
    for layer in layers:
        size = 2 * prod(layer.out_shape) + sum(map(prod, layer.in_shapes))
        if some and held + size > AT_ONCE:
            yield some
            some, held = [], 0
        some.append(layer)
        held += size
    if some:
        yield some


def _computed(net: Network, layers: Sequence[Layer], x: HostArray) -> tuple[Mapping[str, HostArray], list[HostArray]]:
    """What the file computes of the tensors around some layers, and what each layer makes of its inputs there."""
    around = dict.fromkeys(name for layer in layers for name in (*layer.inputs, layer.output))
    recorded = Recorder(net, [*around])(x if net.whole else like(x.astype(net.dtype), x)).values
    ending = ":again"
    while any(name.endswith(ending) for name in net.shapes):
        ending += "'"
    again = [replace(layer, output=f"{number}{ending}") for number, layer in enumerate(layers)]
    apart = LayerList(
        layers=tuple(again),
        input=net.input,
        input_shape=net.input_shape,
        dtype=net.dtype,
        logits=again[-1].output,
        sources={name: shape for name, shape in net.shapes.items() if name != net.input},
    )
    beside: dict[str, HostArray] = {}
    names = [one.output for one in again]
    runtime = session(emit(apart, names, beside=beside).SerializeToString(), weights=beside)
    return recorded, list(runtime.run(names, {value.name: recorded[value.name] for value in runtime.get_inputs()}))


def _samples(net: Network, steps: Steps, count: int, seed: int) -> HostArray:
    """Inputs between the smallest and the largest that the file tells apart, where it quantises its input."""
    held = steps.held.get(net.input)
    if held is None:
        return plausible(steps.bound, count, seed)
    random = np.random.default_rng(seed)
    drawn: HostArray = random.uniform(held.step.low, held.step.high, (count, *net.input_shape))
    return like(drawn.astype(steps.bound.dtype), plausible(steps.bound, count, seed))


def _off(made: HostArray, file: HostArray, step: Step | None, share: float) -> float:
    """The difference that so large a share of the values does not exceed, what the integers do not reach left out."""
    reached = made if step is None else np.clip(made, step.low, step.high)
    return float(np.quantile(np.abs(reached.astype(np.float64) - file), share)) if file.size else 0.0


@dataclass(frozen=True)
class _Gone:
    """What quantises a tensor that no layer makes any more. stretch: of constant scales behind it, the largest."""

    one: Step | Blur
    stretch: float = 1.0

    def behind(self, layer: Wired) -> _Gone:
        """The same where a layer behind it is gone too."""
        return _Gone(self.one, self.stretch * stretch(layer))


def _swallowed(steps: Steps, kept: Iterable[str]) -> dict[str, list[_Gone]]:
    """The steps of tensors that no layer makes any more, by the first tensors of layers that are made of them."""
    names, found = {*kept}, dict[str, list[_Gone]]()
    carried: dict[str, list[_Gone]] = {}
    for layer in steps.drafted:
        before = [one for name in layer.inputs if name not in names for one in carried.get(name, ())]
        own = [one.behind(layer) for one in before]
        if layer.output in steps.blurred:
            own.append(_Gone(steps.blurred[layer.output]))
        if layer.output in names:
            found[layer.output] = own
        elif layer.output in steps.held:
            carried[layer.output] = [*own, _Gone(steps.held[layer.output].step)]
        else:
            carried[layer.output] = own
    return found


def _operands(net: Network, steps: Steps, x: HostArray) -> Mapping[str, HostArray]:
    """What products quantise by its range, as the file computes it."""
    assert net.file is not None
    names = list(dict.fromkeys(one.tensor for one in steps.blurred.values() if one.tensor in net.file.tensors))
    return {net.input: x} | (Front(net.file, names, BLAS_THREADS.count)(x, net.dtype) if names else {})


def _allowed(gone: _Gone, operands: Mapping[str, HostArray], output: HostArray) -> float:
    """What a step in front of an output is there: of a tensor that is gone, its share of the range, doubled, or the
    step itself, where values take little of the range.
    """
    one = gone.one
    if isinstance(one, Step):
        share = 2 * one.scale / (one.high - one.low) * float(np.max(np.abs(output), initial=0.0))
        return max(share, one.scale * gone.stretch)
    values = operands[one.tensor]
    return one.gain * gone.stretch * (float(values.max(initial=0.0)) - float(values.min(initial=0.0))) / 255
