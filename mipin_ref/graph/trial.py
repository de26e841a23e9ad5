"""How the self-check runs a file: on how many samples, within which memory and time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnx import ModelProto

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.read import Drafted
from mipin_ref.layers import Wired

SAMPLES = 3
"""Where file, memory and time leave the choice: an error that mixes samples shows."""

FIXED = 4
"""How much more work a run may be where the file fixes the batch: often no other size can stand for it."""

SPARED = 8
"""How much less it should be where more than one sample is a matter of choice."""


def samples_that_fit(drafted: Drafted) -> int:
    """How many samples one run may have, SAMPLES at most where the file leaves the batch free.

    Raises UnsupportedModel where one sample already takes more memory or time than the file could be worth.
    """
    spent = drafted.spent
    total = sum(prod(layer.out_shape) for layer in drafted.layers)
    if total > spent.activations():
        raise UnsupportedModel(
            f"the network's tensors have {total:,} elements a sample; for a file of this size {spent.activations():,} "
            f"are allowed. {_largest(drafted.layers)}"
        )
    bytes_, room = live_bytes(drafted), spent.room()
    if bytes_ > room:
        raise UnsupportedModel(
            f"running the network on one sample takes {bytes_:,} bytes; for a file of this size {room:,} are allowed. "
            f"{_largest(drafted.layers)}"
        )
    work = sum(layer.work for layer in drafted.layers)
    if work > spent.work():
        slowest = max(drafted.layers, key=lambda layer: layer.work)
        raise UnsupportedModel(
            f"running the network on one sample takes about {work:.1e} operations; for a file of this size "
            f"{spent.work():.1e} are allowed. {slowest.kind} {slowest.name!r} takes most"
        )
    fitting = room // max(bytes_, 1)
    if drafted.file_batch is not None:
        return min(drafted.file_batch, fitting, FIXED * spent.work() // max(work, 1))
    return max(1, min(SAMPLES, fitting, spent.work() // (SPARED * max(work, 1))))


def _largest(layers: Sequence[Wired]) -> str:
    largest = max(layers, key=lambda layer: prod(layer.out_shape))
    return f"The largest is {largest.output!r} of {'×'.join(map(str, largest.out_shape))}"


def live_bytes(drafted: Drafted) -> int:
    """What onnxruntime holds of one sample's activations at once, at most, as it runs layer by layer."""
    last = {name: place for place, layer in enumerate(drafted.layers) for name in layer.inputs}
    itemsize = drafted.dtype.itemsize
    held = {drafted.input: itemsize * prod(drafted.input_shape)}
    now = most = sum(held.values())
    for place, layer in enumerate(drafted.layers):
        held[layer.output] = itemsize * prod(layer.out_shape)
        now += held[layer.output]
        # In float64 a convolution writes its input out once for every tap.
        beside = itemsize * layer.columns if itemsize == 8 else 0
        most = max(most, now + beside)
        for name in {*layer.inputs, layer.output}:
            if last.get(name, -1) <= place and layer.output != drafted.logits:
                now -= held.pop(name, 0)
    return most


def free_batch(proto: ModelProto) -> None:
    """Leave the batch of the one input free, and with it whatever shapes the file claims."""
    for value in data_inputs(proto.graph):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
