"""Which axis of each tensor holds its channels, as the layers around it tell (method, section 10, channel axis)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mipin_ref.layers import Layer

Readers = Mapping[str, Sequence[tuple[Layer, int]]]
"""Who reads each tensor, in execution order: layers, each with the position of the tensor among its inputs."""


def told_axes(layers: Sequence[Layer], readers: Readers) -> dict[str, int]:
    """The axes, counted with the batch, by tensor; those that no layer tells of are left out.

    It is what the first reader says that says anything, else what comes to a reader that hands the question on from its
    own readers; where neither is, what the writer says or, where that hands it on too, the axis of its inputs.
    """
    told: dict[str, int] = {}
    for name in reversed([*readers]):
        said = [layer.channels for layer, _ in readers[name] if layer.channels is not None]
        handed = (
            layer.axes[told[layer.output]]
            for layer, slot in readers[name]
            if layer.hands_on and layer.axes is not None and layer.output in told and _alike(layer, slot)
        )
        axis = said[0] if said else next(handed, None)
        if axis is not None:
            told[name] = axis
    for layer in layers:
        if layer.output in told:
            continue
        if layer.channels is not None:
            told[layer.output] = layer.channels
        elif layer.hands_on and layer.axes is not None:
            above = (told[name] for slot, name in enumerate(layer.inputs) if name in told and _alike(layer, slot))
            axis = next(above, None)
            if axis is not None:
                told[layer.output] = layer.axes.index(axis)
    return told


def carried_axes(layers: Iterable[Layer], told: Mapping[str, int]) -> dict[str, int]:
    """The same, and those of the tensors around them that layers lead to which keep axes apart, as a Slice does."""
    axes, layers, known = dict(told), [*layers], -1
    while known < len(axes):
        known = len(axes)
        for layer in layers:
            if layer.axes is None:
                continue
            for name in layer.inputs:
                if name in axes:
                    axes.setdefault(layer.output, layer.axes.index(axes[name]))
                elif layer.output in axes:
                    axes[name] = layer.axes[axes[layer.output]]
    return axes


def _alike(layer: Layer, slot: int) -> bool:
    """Whether an input has as many axes as the output."""
    return len(layer.in_shapes[slot]) == len(layer.out_shape)
