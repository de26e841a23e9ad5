"""The layers of a network as a list: what is asked of the tensors between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from mipin_ref.display import InNotebook, OneLine
from mipin_ref.graph.channel_axes import carried_axes, told_axes
from mipin_ref.graph.stem import Stem
from mipin_ref.layers import Layer, Shape, Wired

L = TypeVar("L", bound=Wired)


def leading_to(layers: Sequence[L], tensors: Collection[str]) -> list[L]:
    """The layers that some of `tensors` depend on, in execution order."""
    needed, kept = {*tensors}, list[L]()
    for layer in reversed(layers):
        if layer.output in needed:
            kept.append(layer)
            needed.update(layer.inputs)
    return kept[::-1]


def usual_axis(shape: Shape) -> int | None:
    """The axis, counted with the batch, that holds the channels of a sample of which nothing but its shape is known.

    None of a sample of fewer than three axes; else the first, unless only the last has a typical length (1 or 3).
    """
    if len(shape) < 3:
        return None
    return len(shape) if shape[-1] in (1, 3) and shape[0] not in (1, 3) else 1


def image_size(shape: Shape, axis: int | None) -> tuple[int, int] | None:
    """The height and width of a sample of which `axis`, counted with the batch, holds channels; None of no image."""
    size = [length for at, length in enumerate(shape, 1) if at != axis]
    return (size[0], size[1]) if len(size) == 2 else None


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerList(OneLine, InNotebook):
    """Layers in execution order, all of them on the way from `input` to `logits`: all that running a network takes.

    input_shape: per sample; dtype: of weights and activations; sources: the tensors that layers start from beside the
    input, with the shape of a sample: what nodes without an inverse make of the inputs, and other inputs; stem: runs
    these nodes, None where there are none; file: the file itself, where it computes with integers what the layers tell
    of floating-point numbers: it makes their tensors, None where the layers do; reads: the integers that the input
    holds, None where it holds none; inner: tensors between the layers of one node, which the file has no name for.
    """

    layers: tuple[Layer, ...]
    input: str
    input_shape: Shape
    dtype: np.dtype[Any]
    logits: str
    sources: Mapping[str, Shape] = field(default_factory=dict)
    stem: Stem | None = None
    file: Stem | None = None
    reads: np.dtype[Any] | None = None
    inner: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether the input holds integers."""
        return self.reads is not None

    @property
    def given(self) -> frozenset[str]:
        """The sources that are inputs of the file, bound to a value."""
        if self.stem is None:
            return frozenset()
        return frozenset(self.sources.keys() & {*self.stem.bound.given, *self.stem.bound.beside})

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that each sample has values of, the explained one first."""
        front = next((one for one in (self.stem, self.file) if one is not None), None)
        return (self.input, *(() if front is None else front.bound.beside))

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The tensors that no layer has to make: the input, the sources, and those of the file itself."""
        own = () if self.file is None else self.file.tensors
        return tuple(dict.fromkeys((self.input, *self.sources, *own)))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Per-sample shape of every tensor, in execution order, the input first, then the sources."""
        made = {layer.output: layer.out_shape for layer in self.layers}
        return {self.input: self.input_shape} | dict(self.sources) | made

    @cached_property
    def consumers(self) -> dict[str, tuple[tuple[Layer, int], ...]]:
        """Who reads each tensor: layers, in execution order, each with the position of the tensor among its inputs."""
        reads: dict[str, list[tuple[Layer, int]]] = {name: [] for name in self.shapes}
        for layer in self.layers:
            for slot, name in enumerate(layer.inputs):
                reads[name].append((layer, slot))
        return {name: tuple(readers) for name, readers in reads.items()}

    @cached_property
    def moved(self) -> frozenset[str]:
        """The tensors that depend on the input that is explained, or on what the file makes of it in front."""
        found = {self.input, *(name for name in self.sources if name not in self.given)}
        for layer in self.layers:
            if found.intersection(layer.inputs):
                found.add(layer.output)
        return frozenset(found)

    @cached_property
    def carrying(self) -> frozenset[str]:
        """The tensors that signals of the logits come back to; every other one is state, or leads to none."""
        found = {self.logits}
        for layer in reversed(self.layers):
            if layer.output in found:
                found.update(layer.inputs[slot] for slot in layer.paths)
        return frozenset(found)

    def carriers(self, name: str) -> list[Layer]:
        """The layers through which signals come back to a tensor, in execution order."""
        return [layer for layer, slot in self.consumers[name] if slot in layer.paths and layer.output in self.carrying]

    @property
    def branches(self) -> bool:
        """Whether some tensor has several readers."""
        return any(len(readers) > 1 for readers in self.consumers.values())

    def called(self, name: str) -> str:
        """A tensor as a person is told of it, who knows the file."""
        return f"within {self.within(name)}" if name in self.inner else name

    def quoted(self, name: str) -> str:
        """The same in a sentence: a name of the file's stands in quotes."""
        return self.called(name) if name in self.inner else repr(name)

    def within(self, name: str) -> str:
        """The tensor of the file whose node makes an inner tensor on the way; of any other tensor itself."""
        while name in self.inner:
            name = name.rpartition(":")[0]
        return name

    def beside(self, name: str) -> list[str]:
        """The nearest tensors of the file before and after an inner tensor, or before and after all that a node has on
        the way to a tensor of the file.
        """
        own = [one for one in self.inner if name in (one, self.within(one))]
        between = [layer for layer in self.layers if layer.output in own]
        if not between:
            return []
        before, after = between[0].input, between[-1].output
        makers = {layer.output: layer for layer in self.layers}
        while before in self.inner:
            before = makers[before].input
        while after in self.inner and self.consumers[after]:
            after = self.consumers[after][0][0].output
        return [one for one in dict.fromkeys((before, after)) if one not in self.inner]

    def behind(self, name: str) -> tuple[Layer, ...]:
        """The layers that depend on a tensor, in execution order."""
        reached, dependent = {name}, []
        for layer in self.layers:
            if reached.intersection(layer.inputs):
                reached.add(layer.output)
                dependent.append(layer)
        return tuple(dependent)

    def channel_axis(self, name: str) -> int | None:
        """The axis, counted with the batch, that holds the channels of a tensor; None where it has none.

        It is what `told_axis` says, or what that says of a tensor that layers lead to which keep axes apart. Where none
        is near, see `usual_axis`.
        """
        return self._carried[name] if name in self._carried else usual_axis(self.shapes[name])

    def told_axis(self, name: str) -> int | None:
        """The same as its readers tell it, else its writer (method, section 10); None where none does."""
        return self._told.get(name)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """The height and width of the input where it is an image: two axes beside that of its channels, if any."""
        return image_size(self.input_shape, self.channel_axis(self.input))

    @cached_property
    def _told(self) -> dict[str, int]:
        return told_axes(self.layers, self.consumers)

    @cached_property
    def _carried(self) -> dict[str, int]:
        return carried_axes(self.layers, self._told)
