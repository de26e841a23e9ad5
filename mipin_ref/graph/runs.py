"""A batch through onnxruntime a few samples at a time: what a run holds then stays in the processor's caches, and is
not taken of the system, page by page, and given back again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil, prod

import numpy as np
from onnxruntime import InferenceSession

from mipin_ref.layers import HostArray, Layer, Shape

ELEMENTS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
"""What a network's tensors and switches are made of, as onnxruntime calls it."""
RUN_BYTES = 16 << 20
"""What a layer reads and writes in a run, at most, unless one sample alone is more: beyond it a sample of
EfficientNet-Lite0 takes half as long again, a fifth of that in the system.
"""


def samples_a_run(layers: Sequence[Layer], itemsize: int) -> int:
    """How many samples go through these layers together: so many that weights, which every run reads, are not more
    than what is read and written of the samples, and the widest layer stays within RUN_BYTES.
    """
    weights, moved = itemsize * sum(layer.parameters for layer in layers), sum(_moved(layers, itemsize))
    return max(1, RUN_BYTES // max(1, widest_of(layers, itemsize)), ceil(weights / max(1, moved)))


def takes_little(bytes_of_one: int) -> bool:
    """Whether a run of one sample takes so little that what it takes may stay for the next."""
    return bytes_of_one <= 2 * RUN_BYTES


def widest_of(layers: Sequence[Layer], itemsize: int) -> int:
    """Bytes that the widest of these layers reads and writes of a sample."""
    return max(_moved(layers, itemsize), default=1)


def _moved(layers: Sequence[Layer], itemsize: int) -> list[int]:
    return [itemsize * (sum(map(prod, layer.in_shapes)) + prod(layer.out_shape)) for layer in layers]


def run_together(
    runtime: InferenceSession,
    shapes: Mapping[str, Shape],
    given: Mapping[str, HostArray],
    size: int,
    counted: Mapping[str, int],
    threads: int,
) -> list[HostArray]:
    """The outputs [n, *shapes] of inputs [n, ...], `size` samples a run, `threads` runs at a time.

    Every run writes where its samples' results stay: what onnxruntime allots itself is taken of the system anew in each
    run, and copied from there. shapes: of a sample of each output, as the network has them: of windows that begin in
    the padding onnx infers others, and the session then tells none. counted: outputs whose values are places counted
    over all of a run's samples, with how many a sample has. Each sample's results are those of one run of all, as none
    depends on the others. Raises as onnxruntime does.
    """
    count = len(next(iter(given.values())))
    told = {value.name: value for value in runtime.get_outputs()}
    made: list[HostArray] = [np.empty((count, *shape), ELEMENTS[told[name].type]) for name, shape in shapes.items()]
    inputs = {name: np.ascontiguousarray(value) for name, value in given.items()}

    def run(start: int) -> None:
        bound, rows = runtime.io_binding(), slice(start, start + size)
        for name, whole in inputs.items():
            part = whole[rows]
            bound.bind_input(name, "cpu", 0, part.dtype.type, part.shape, part.ctypes.data)
        for name, whole in zip(shapes, made, strict=True):
            part = whole[rows]
            bound.bind_output(name, "cpu", 0, part.dtype.type, part.shape, part.ctypes.data)
        runtime.run_with_iobinding(bound)
        for name, whole in zip(shapes, made, strict=True):
            if start and name in counted:
                whole[rows] += start * counted[name]

    starts = range(0, count, size)
    if threads < 2 or len(starts) < 2:
        for start in starts:
            run(start)
        return made
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, starts))
    return made
