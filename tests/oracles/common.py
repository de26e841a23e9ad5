"""One inverse for many targets (method, section 4) by brute force: each class by itself above, one fit below.

Written from the method's definition alone, on the pieces of mipin.py; every class has its own dictionary of signals,
and below the common tensor there is one more, of the means over all classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.oracles.channels import channel_axes
from tests.oracles.consumers import consumers_of, without_copies
from tests.oracles.dead import alive, without_dead
from tests.oracles.design import has_parameters
from tests.oracles.forward import all_switches
from tests.oracles.mipin import (
    Fit,
    OracleResult,
    Samples,
    fires_above_zero,
    fit_tensor,
    one_hot,
    reconstruct,
    same_up_to_shape,
    tensors_between,
)
from tests.oracles.parts import without_parts
from tests.oracles.spec import Array, Norm, Op, input_name, output_name, tensor_shapes


def in_common(
    ops: Sequence[Op],
    values: Mapping[str, Array],
    targets: Sequence[int],
    common: str,
    *,
    ridge: float | str = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    norm: str = "affine",
) -> dict[int, OracleResult]:
    """The inverses of several targets, from tensor `common` down one for all, fitted on samples and applied to them.

    values: [N, ...] of every tensor by name; the means are over the classes whose output is not the same
    for all samples, of more than 8 over 8 that are evenly spread, but where the logits themselves are read below.
    """
    ops = [replace(op, sigma=norm == "sigma") if isinstance(op, Norm) else op for op in ops]
    network_input, (kept, copies) = input_name(ops), without_copies(ops)
    output = copies.get(output_name(ops), output_name(ops))
    explained = network_input if at is None else copies.get(at, at)
    exact = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    axes = channel_axes(kept, tensor_shapes(kept, exact[network_input].shape[1:]))
    samples = Samples(exact, all_switches(ops, exact), axes)
    kept = without_parts(kept, samples.shapes)
    varied = [c for c, one in enumerate(exact[output].T) if np.ptp(one) > 1e-5 * np.max(np.abs(one))]
    flags = alive(kept, samples.shapes, targets[0])
    between = tensors_between(kept, explained, output) & set(flags)
    if input_mask is None:
        input_mask = explained not in same_up_to_shape(kept, network_input)
    positive = fires_above_zero(kept)
    unmasked: set[str] = set() if input_mask else same_up_to_shape(kept, explained)

    def mask(name: str, signal: Array) -> Array:
        signal = without_dead(signal, flags[name], axes.get(name, 1))
        if not local or name in unmasked:
            return signal
        return np.where(exact[name] > 0 if name in positive else exact[name] != 0, signal, 0.0)

    order = [name for name in reversed([network_input, *(op.output for op in kept)]) if name in between]
    consumers = {name: consumers_of([op for op in kept if op.output in between], name) for name in order[1:]}
    reads = {name: {op.output for one in some for op in one.parts} for name, some in consumers.items()}
    below: set[str] = set()
    for name in order[1:]:
        if name == copies.get(common, common) or reads[name] & below:
            below.add(name)
    # Where the logits are read below, each class has weights of its own there, which no other class stands for.
    most = len(varied) if any(output in reads[name] for name in below) else min(8, len(varied))
    counted = sorted({varied[round(i * (len(varied) - 1) / max(1, most - 1))] for i in range(most)})
    classes = sorted({*targets, *counted})

    source = {c: {output: one_hot(exact[output], c)} for c in classes}
    attribution = {c: {output: source[c][output].copy()} for c in classes}
    weights: dict[int, dict[str, Fit]] = {c: {} for c in classes}
    mixed: dict[str, Array] = {}
    once: Fit | None = None
    for name in order[1:]:
        fits = len(consumers[name]) > 1 or has_parameters(consumers[name][0].op)
        if name in below:
            for above in reads[name] - below:
                mixed[above] = np.mean([source[c][above] for c in counted], axis=0)
            once = fit_tensor(name, consumers[name], samples, mixed, ridge, conv_bias, flags[name]) if fits else None
            mixed[name] = mask(name, reconstruct(name, consumers[name], samples, mixed, once, False))
        for c in classes:
            fit = once if name in below else None
            if fits and fit is None:
                fit = fit_tensor(name, consumers[name], samples, source[c], ridge, conv_bias, flags[name])
            if fit is not None:
                weights[c][name] = fit
            source_before = reconstruct(name, consumers[name], samples, source[c], fit, False)
            attribution_before = reconstruct(name, consumers[name], samples, attribution[c], fit, True)
            source[c][name] = mask(name, source_before)
            attribution[c][name] = mask(name, attribution_before)
    for signals in [*source.values(), *attribution.values()]:
        signals.update({copy: signals[name] for copy, name in copies.items() if name in signals})
    return {
        c: OracleResult(exact, dict(samples.switches), source[c], attribution[c], {}, {}, weights[c]) for c in targets
    }
