"""The public function: data in batches through one method, into one Attribution."""

from __future__ import annotations

from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend, get_backend
from mipin_ref.data.calibration import samples_like
from mipin_ref.data.seen import Watch
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.explained import explained as explained_tensor
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.network import Network
from mipin_ref.memory import batch_rows, checked_batch_size, memory_bytes
from mipin_ref.methods.method import Method
from mipin_ref.methods.registry import make_method
from mipin_ref.methods.sweep import Ints
from mipin_ref.options import check_size
from mipin_ref.progress import progress_bar


def attribute(
    net: Network,
    x: Any,
    target: Any,
    method: str,
    *,
    at: str | None = None,
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    progress: bool = False,
    **options: Any,
) -> Attribution:
    """Attribute a class logit to x, or to an inner tensor, by any method but MIP-IN.

    x: [N, *input_shape] floats: array, path, or anything with len() and slicing; target: a class, or one a sample [N];
    method: one of `methods()`; at: a tensor on the way to the logits, by default the input (grad-cam: the last feature
    map), the output behind a Softmax that was removed meaning the logits; dtype: of signals and results, "float64" or
    "float32"; batch_size: samples that are swept at a time, by default as many as fit in `memory`; options: of the
    method, see its class.
    Returns NumPy arrays of the tensor's shape. Results do not depend on the size of batches but for rounding.
    Raises InvalidData for what does not fit the network or the method, NaN and Inf, in the data or on the way.
    Warns with InputRangeWarning where x lies far outside the range of the data that its patterns were fitted on.
    """
    way = make_method(method, options)
    data, device = samples_like(way.calibration, x, whole=net.whole), get_backend(backend, dtype)
    watch = Watch(None if way.calibration is None else way.calibration.seen, "the patterns were fitted")
    check_size("x", len(data))
    targets = checked_targets(net, target, len(data))
    tensor = explained(way, net, at)
    limit, size = memory_bytes(memory), checked_batch_size(batch_size)
    check_batch(net, data)
    sweep = way.sweep(net, device, tensor)
    rows = batch_rows(size, limit, sweep.sample_bytes)
    count, shape = len(data), net.shapes[tensor]
    check_size("x", count * prod(shape))
    check_size("x", count * prod(shape))
    value, found = (np.empty((count, *shape), device.dtype) for _ in range(2))
    signal = np.empty((count, *shape), device.dtype) if way.signals else None
    output = np.empty(count, device.dtype)
    delta = np.empty(count, device.dtype) if way.completes else None
    with progress_bar(progress) as begin:
        advance = begin(f"{way.name} of {tensor}", count)
        for start in range(0, count, rows):
            cut = slice(start, min(start + rows, count))
            values = data[cut]
            batch = way.explain(sweep, values, targets[cut], rows, start)
            watch.note(values)
            value[cut], found[cut], output[cut] = batch.value, batch.attribution, batch.output
            if signal is not None:
                signal[cut] = batch.signal
            if delta is not None:
                delta[cut] = batch.delta
            advance(cut.stop - start)
    if not np.isfinite(found).all():
        raise InvalidData(f"method {way.name!r}: the attribution of {tensor!r} holds NaN or Inf")
    watch.tell()
    told = int(targets[0]) if np.ndim(target) == 0 else targets
    axis = net.channel_axis(tensor)
    return Attribution(
        value, signal, found, output, told, tensor, axis, way.name, way.multiplier, way.follows_logit, delta
    )


def explained(method: Method, net: Network, at: str | None) -> str:
    """The tensor that a user means. Raises InvalidData where the network has none of that name."""
    if at is None:
        at = method.default_at(net)
    return net.logits if isinstance(at, str) and at == net.output else explained_tensor(net, at)


def checked_targets(net: Network, target: Any, samples: int) -> Ints:
    """One class a sample [samples], from one for all or one each.

    Raises InvalidData for another count, for what is no integer, and for a class out of range.
    """
    try:
        several = not isinstance(target, str | tuple) and hasattr(target, "__len__") and np.ndim(target) > 0
        if several and len(target) != samples:
            raise InvalidData(f"target must be one class or one for each of the {samples} samples, not {len(target)}")
        given = np.asarray(target) if several else np.empty(0)
    except InvalidData:
        raise
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"targets must be integer class indices [{samples}], not {shown(target)}") from error
    if not several:
        one = target.item() if isinstance(target, np.ndarray) else target
        return np.full(samples, net.check_target(one), np.int64)
    if given.shape != (samples,):
        raise InvalidData(f"target must be one class or one for each of the {samples} samples, not {given.shape}")
    if given.dtype.kind not in "iu":
        raise InvalidData(f"targets must be integer class indices, not {given.dtype}")
    for one in np.unique(given):
        net.check_target(int(one))
    return given.astype(np.int64)
