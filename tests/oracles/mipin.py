"""MIP-IN (Algorithm 1) by brute force: every fit one explicit design matrix, loops for all geometry.

Written from the method's definition alone; shares no code with the package. Usable up to some hundred elements a
tensor.

Choices where the definition leaves room:
* The output of an Identity or Dropout is its input under another name: no tensor of its own, and who reads it reads
  that input.
* A tensor that differs from the explanation input by shape ops alone (Reshape, Transpose) is the explanation input as
  far as masks go; one that was sliced or padded is not. Likewise an `at` that differs from the network input by shape
  ops alone is not an inner tensor.
* Consumers are the ops that read the tensor, one a slot: Add(t, t) is two consumers of t. Disjoint Slices are one
  (consumers.py).
* Tensors that do not depend on the explanation input, or that do not reach the target, get no signal (dead.py).
* The target tensor holds y_c at index c and 0 elsewhere, for S and for A; it is not masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tests.oracles.channels import channel_axes
from tests.oracles.consumers import Consumer, consumers_of, without_copies
from tests.oracles.dead import Flags, alive, living_locations, without_dead
from tests.oracles.design import block_design, has_intercept, has_parameters, is_state, pull_back, read_back, ridge_fit
from tests.oracles.forward import all_switches
from tests.oracles.forward import forward as explicit_forward
from tests.oracles.held_out import is_held_out, pick
from tests.oracles.parts import without_parts
from tests.oracles.spec import (
    POSITIVE,
    Activation,
    Array,
    Attention,
    Conv,
    ConvTranspose,
    Dense,
    Gate,
    Integers,
    Norm,
    Op,
    Part,
    Reshape,
    Shape,
    TokenDense,
    Transpose,
    Written,
    input_name,
    output_name,
    tensor_shapes,
)
from tests.oracles.spellings import SPELLINGS


@dataclass(frozen=True, eq=False)
class Block:
    """Weights through which one consumer reconstructs a tensor.

    consumer: the consuming op's output name, that of the first of several Slices; slot: which of the op's inputs the
    tensor is.
    weight: Dense [in, out]; Conv as the forward weight [O, I/groups, *kernel]; all others [C], one scalar a channel.
    """

    consumer: str
    slot: int
    weight: Array


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted inverse of one tensor. intercept: [C] (2-D tensors: [features]), None where the rule gives none;
    ridge: that it was fitted with.
    """

    blocks: tuple[Block, ...]
    intercept: Array | None
    ridge: float


@dataclass(frozen=True, eq=False)
class OracleResult:
    """Everything by tensor name; arrays [N, ...] of the samples the inverses were applied to.

    values, switches: of all tensors and all MaxPools. source (S), attribution (A), prediction (X̂, what S was before the
    mask), attribution_prediction (A before the mask): of the tensors between the explanation input and the target,
    both included, copies by Identity or Dropout under both names. weights: of the fitted tensors among them.
    """

    values: dict[str, Array]
    switches: dict[str, Integers]
    source: dict[str, Array]
    attribution: dict[str, Array]
    prediction: dict[str, Array]
    attribution_prediction: dict[str, Array]
    weights: dict[str, Fit]


@dataclass(frozen=True, eq=False)
class Samples:
    """The values and switches of one batch of samples. axes: of the channels, counted with the batch, by tensor;
    places: of the samples in the data, as they come where None.
    """

    values: Mapping[str, Array]
    switches: Mapping[str, Integers]
    axes: Mapping[str, int]
    places: Integers | None = None

    def some(self, rows: Integers) -> Samples:
        """The samples `rows`."""
        return Samples(
            {name: value[rows] for name, value in self.values.items()},
            {name: switch[rows] for name, switch in self.switches.items()},
            self.axes,
        )

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: value.shape[1:] for name, value in self.values.items()}


def same_up_to_shape(ops: Sequence[Op], start: str) -> set[str]:
    """`start` and every tensor computed from it by shape ops."""
    same = {start}
    for op in ops:
        if isinstance(op, Reshape | Transpose) and op.inputs[0] in same:
            same.add(op.output)
    return same


def paths(op: Op) -> list[str]:
    """The inputs that signals come back to."""
    return [name for slot, name in enumerate(op.inputs) if not is_state(op, slot)]


def fires_above_zero(ops: Sequence[Op]) -> set[str]:
    """The tensors whose mask is X > 0 (section 3): behind HardSwish, and SiLU, GELU, HardSwish, Mish written out."""
    return {
        op.output
        for op in ops
        if (isinstance(op, Activation) and op.kind in POSITIVE)
        or (isinstance(op, Written) and SPELLINGS[op.spelling].positive)
        or (isinstance(op, Part) and op.positive)
    }


def tensors_between(ops: Sequence[Op], at: str, output: str) -> set[str]:
    """The tensors that depend on `at` and that `output` depends on, both included, by what is no state."""
    below = {at}
    for op in ops:
        if below.intersection(paths(op)):
            below.add(op.output)
    above = {output}
    for op in reversed(ops):
        if op.output in above:
            above.update(paths(op))
    return below & above


def fit_tensor(
    name: str,
    consumers: Sequence[Consumer],
    samples: Samples,
    source: Mapping[str, Array],
    ridge: float | str,
    conv_bias: bool,
    alive: Flags,
    together: Sequence[Sequence[int]] | None = None,
) -> Fit:
    """X_T ≈ Σ_k G_k(S_k) + b in one least-squares problem a channel (section 2).

    source: the masked signals S of the tensors above, by name; alive: [*shape], the elements that lead to the target:
    locations without any are no rows; ridge: "held-out" for the one that samples held out pick; together: channels [of
    a flat tensor, its elements] whose rows are fitted in one problem, each group with one set of weights, which all of
    them then have; None for each alone.
    """
    if isinstance(ridge, str):
        assert ridge == "held-out"
        ridge = ridge_of(name, consumers, samples, source, conv_bias, alive, together)
    kinds = {type(consumer.op) for consumer in consumers}
    if Dense in kinds and kinds & {Conv, ConvTranspose}:
        raise ValueError(f"tensor {name!r} has a Dense and a Conv consumer")
    alone = len(consumers) == 1 and isinstance(consumers[0].op, Gate | Attention)
    intercept = (conv_bias and not alone) or any(has_intercept(consumer.op, conv_bias) for consumer in consumers)
    axis = samples.axes.get(name, 1)
    x = np.moveaxis(samples.values[name], axis, 1)
    channels = x.shape[1]
    columns: list[list[Array]] = [[] for _ in consumers]
    offsets = np.zeros(channels)
    rows = np.tile(living_locations(alive, axis).reshape(-1), len(x))
    solved: dict[int, list[Array]] = {}
    for members in together or [[m] for m in range(channels)]:
        designs = {m: designs_of(consumers, samples, source, m, axis) for m in members}
        design = np.concatenate([np.concatenate(designs[m], axis=1)[rows] for m in members])
        wanted = np.concatenate([x[:, m].reshape(-1)[rows] for m in members])
        weights, offset = ridge_fit(design, wanted, ridge, intercept)
        widths = np.cumsum([part.shape[1] for part in designs[members[0]]])[:-1]
        for m in members:
            solved[m], offsets[m] = np.split(weights, widths), offset
    for m in range(channels):
        for k, part in enumerate(solved[m]):
            columns[k].append(part)
    blocks = []
    for consumer, parts in zip(consumers, columns, strict=True):
        op = consumer.op
        if isinstance(op, Dense | TokenDense):
            weight = np.stack(parts)
        elif isinstance(op, Conv):
            weight = np.zeros(op.weight.shape)
            per_group = op.weight.shape[0] // op.groups
            for m, part in enumerate(parts):
                group, local = divmod(m, op.weight.shape[1])
                weight[group * per_group : (group + 1) * per_group, local] = part.reshape(
                    per_group, *op.weight.shape[2:]
                )
        elif isinstance(op, ConvTranspose):
            weight = np.stack(parts).reshape(op.weight.shape)
        else:
            weight = np.concatenate(parts)
        blocks.append(Block(op.output, consumer.slot, weight))
    return Fit(tuple(blocks), offsets if intercept else None, ridge)


def ridge_of(
    name: str,
    consumers: Sequence[Consumer],
    samples: Samples,
    source: Mapping[str, Array],
    conv_bias: bool,
    alive: Flags,
    together: Sequence[Sequence[int]] | None,
) -> float:
    """The ridge that the samples held out pick: fitted on the others, reconstructed on these, the errors squared."""
    everything = np.arange(len(samples.values[name]))
    places = everything if samples.places is None else samples.places
    out = np.array([is_held_out(int(place)) for place in places])
    kept, kept_source = samples.some(everything[~out]), {n: s[~out] for n, s in source.items()}
    left, left_source = samples.some(everything[out]), {n: s[out] for n, s in source.items()}
    wanted = left.values[name]
    lives = without_dead(np.ones(wanted.shape), alive, samples.axes.get(name, 1)) != 0

    def error(ridge: float) -> float:
        fit = fit_tensor(name, consumers, kept, kept_source, ridge, conv_bias, alive, together)
        wrong = wanted - reconstruct(name, consumers, left, left_source, fit, False)
        return float(np.sum(wrong[lives] ** 2))

    return pick(error, float(np.sum(wanted[lives] ** 2)))


def designs_of(
    consumers: Sequence[Consumer], samples: Samples, signals: Mapping[str, Array], m: int, axis: int = 1
) -> list[Array]:
    """The regressors of each consumer, for channel m: [N · locations, unknowns]. Disjoint Slices fill one column."""
    designs = []
    for consumer in consumers:
        parts = [
            block_design(
                op,
                consumer.slot,
                signals[op.output],
                [samples.shapes[name] for name in op.inputs],
                samples.switches.get(op.output),
                m,
                [samples.values[name] for name in read_back(op)],
                axis,
            )
            for op in consumer.parts
        ]
        designs.append(np.sum(parts, axis=0))
    return designs


def channel_weights(op: Op, weight: Array, m: int) -> Array:
    """The entries of a block's weight that channel m uses, in the order of block_design's columns."""
    if isinstance(op, Dense | ConvTranspose | TokenDense):
        return np.asarray(weight[m]).reshape(-1)
    if isinstance(op, Conv):
        per_group = op.weight.shape[0] // op.groups
        group, local = divmod(m, op.weight.shape[1])
        return weight[group * per_group : (group + 1) * per_group, local].reshape(-1)
    return weight[m : m + 1]


def reconstruct(
    name: str,
    consumers: Sequence[Consumer],
    samples: Samples,
    signals: Mapping[str, Array],
    fit: Fit | None,
    linear: bool,
) -> Array:
    """X̂ of a tensor from the signals above it, before the mask; linear leaves the intercepts out (section 5)."""
    result = np.zeros_like(samples.values[name])
    if fit is None:
        (consumer,) = consumers
        for op in consumer.parts:
            inputs = [samples.shapes[tensor] for tensor in op.inputs]
            values = [samples.values[tensor] for tensor in read_back(op)]
            result += pull_back(op, consumer.slot, signals[op.output], inputs, samples.switches.get(op.output), values)
        return result
    axis = samples.axes.get(name, 1)
    # A view: what is filled is the result.
    channels_first = np.moveaxis(result, axis, 1)
    for m in range(channels_first.shape[1]):
        designs = designs_of(consumers, samples, signals, m, axis)
        flat = np.zeros(len(designs[0]))
        for consumer, block, design in zip(consumers, fit.blocks, designs, strict=True):
            flat += design @ channel_weights(consumer.op, block.weight, m)
        if fit.intercept is not None and not linear:
            flat += fit.intercept[m]
        channels_first[:, m] = flat.reshape(channels_first[:, m].shape)
    return result


def one_hot(output: Array, target: int) -> Array:
    """y_c at index c, 0 elsewhere. output: [N, classes]."""
    if output.ndim != 2:
        raise ValueError(f"the target tensor has shape {output.shape}, not [N, classes]")
    result = np.zeros(output.shape)
    result[:, target] = output[:, target]
    return result


def mipin(
    ops: Sequence[Op],
    x: npt.ArrayLike,
    target: int,
    *,
    ridge: float | str = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    norm: str = "affine",
    together: Mapping[str, Sequence[Sequence[int]]] = MappingProxyType({}),
    fit_rows: npt.ArrayLike | None = None,
    x_apply: npt.ArrayLike | None = None,
    forward: Callable[[Array], Mapping[str, Array]] | None = None,
    values: Mapping[str, Array] | None = None,
    values_apply: Mapping[str, Array] | None = None,
) -> OracleResult:
    """Fit the inverses of one target on x and apply them to x_apply (default: x).

    x: [N, *input] calibration samples; target: index c of the output tensor; fit_rows: boolean [N] or integer
    selection of the samples the fits use (default all); at: the explanation input (default: the network input).
    together: by tensor that a Dense reads flat, the elements of each channel, where they share weights.
    forward: input [N, ...] -> the values of every tensor by name, in place of the explicit loops, for x and x_apply;
    values, values_apply: such values already computed, for x and for x_apply. Values of other engines are cast to
    float64; switches are always found here, as the first maximum of the MaxPool's input values.
    """
    ops = [replace(op, sigma=norm == "sigma") if isinstance(op, Norm) else op for op in ops]
    network_input, (kept, copies) = input_name(ops), without_copies(ops)
    output = copies.get(output_name(ops), output_name(ops))
    explained = network_input if at is None else copies.get(at, at)
    batch = np.asarray(x, dtype=np.float64)
    compute: Callable[[Array], Mapping[str, Array]] = forward or (lambda data: explicit_forward(ops, data))

    axes = channel_axes(kept, tensor_shapes(kept, batch.shape[1:]))

    def gather(data: Array, known: Mapping[str, Array] | None) -> Samples:
        found = compute(data) if known is None else known
        exact = {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}
        return Samples(exact, all_switches(ops, exact), axes)

    whole = gather(batch, values)
    everything = np.arange(len(batch))
    rows = everything if fit_rows is None else everything[np.asarray(fit_rows)]
    if rows.size == 0:
        raise ValueError("no sample to fit on")
    fitting = replace(whole.some(rows), places=rows)
    if x_apply is None and values_apply is None:
        applied = whole
    else:
        applied = gather(np.asarray(x_apply, dtype=np.float64), values_apply)

    kept = without_parts(kept, whole.shapes)
    flags = alive(kept, whole.shapes, target)
    between = tensors_between(kept, explained, output) & set(flags)
    if explained not in between:
        raise ValueError(f"the target does not depend on {explained!r}")
    if input_mask is None:
        input_mask = explained not in same_up_to_shape(kept, network_input)
    positive = fires_above_zero(kept)
    inner = {op.output for op in kept if isinstance(op, TokenDense) and op.inner}
    unmasked: set[str] = set() if input_mask else same_up_to_shape(kept, explained)

    def mask(name: str, signal: Array, samples: Samples) -> Array:
        """Eq. 9, and no signal at dead locations."""
        signal = without_dead(signal, flags[name], axes.get(name, 1))
        if not local or name in unmasked or name in inner:
            return signal
        fired = samples.values[name] > 0 if name in positive else samples.values[name] != 0
        return np.where(fired, signal, 0.0)

    fit_source = {output: one_hot(fitting.values[output], target)}
    source = {output: one_hot(applied.values[output], target)}
    attribution = {output: source[output].copy()}
    prediction, attribution_prediction = dict(source), dict(attribution)
    weights: dict[str, Fit] = {}
    for name in reversed([network_input, *(op.output for op in kept)]):
        if name not in between or name == output:
            continue
        consumers = consumers_of([op for op in kept if op.output in between], name)
        fit: Fit | None = None
        if len(consumers) > 1 or has_parameters(consumers[0].op):
            fit = weights[name] = fit_tensor(
                name, consumers, fitting, fit_source, ridge, conv_bias, flags[name], together.get(name)
            )
        fit_source[name] = mask(name, reconstruct(name, consumers, fitting, fit_source, fit, False), fitting)
        prediction[name] = reconstruct(name, consumers, applied, source, fit, False)
        attribution_prediction[name] = reconstruct(name, consumers, applied, attribution, fit, True)
        source[name] = mask(name, prediction[name], applied)
        attribution[name] = mask(name, attribution_prediction[name], applied)
    for signals in (source, attribution, prediction, attribution_prediction):
        signals.update({copy: signals[name] for copy, name in copies.items() if name in signals})
    return OracleResult(
        dict(applied.values),
        dict(applied.switches),
        source,
        attribution,
        prediction,
        attribution_prediction,
        weights,
    )
