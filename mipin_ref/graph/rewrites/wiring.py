"""The layer list while it is rewritten: who makes a tensor, who reads it, and which names still tell the truth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from mipin_ref.graph.draft import Gap
from mipin_ref.graph.layer_list import leading_to
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.index import Index
from mipin_ref.layers import Shape, Wired


@dataclass
class Wiring:
    """Layers in execution order, up to `logits`; each is known by its output. The list is changed in place.

    Layers may be appended to the list, or all of it be another; a layer in it is changed by the methods alone.
    names: of all tensors of the file; folded: names whose tensor is gone, or would hold other values than in the file.
    """

    layers: list[Wired]
    logits: str
    names: frozenset[str]
    folded: set[str] = field(default_factory=set)
    _index: Index | None = None

    def maker(self, tensor: str) -> Wired | None:
        """The layer that computes a tensor; None for the network's input."""
        return self._known().maker(tensor)

    def latest(self, tensors: Collection[str]) -> str | None:
        """The tensor, of some, that is made last; None where no layer makes any."""
        return self._known().latest(tensors)

    def sole_reader(self, tensor: str) -> Wired | None:
        """The layer that reads a tensor, where it is the only one."""
        index = self._known()
        readers = index.readers(tensor)
        return index.maker(readers[0]) if len(readers) == 1 else None

    def replace(self, layer: Wired) -> None:
        """Put a layer in the place of the one with the same output."""
        self._known().put(layer.output, layer)

    def leave(self, layer: Wired, problem: Problem) -> None:
        """Put a Gap in the place of a layer that has no inverse, which says why."""
        self.replace(
            Gap(
                name=problem.label,
                inputs=layer.inputs,
                output=layer.output,
                in_shapes=layer.in_shapes,
                out_shape=layer.out_shape,
                problems=(problem,),
            )
        )

    def take_out(self, tensor: str) -> None:
        """Remove the layer that makes `tensor`: whoever read it reads that layer's input."""
        gone = self._known().remove(tensor)
        self._reconnect(tensor, gone.input, gone.in_shape)
        self.folded.add(tensor)

    def unread(self, tensor: str) -> bool:
        """Whether no layer reads a tensor, and it is not the logits."""
        return tensor != self.logits and not self._known().readers(tensor)

    def drop(self, tensor: str) -> None:
        """Remove the layer that makes a tensor that nothing reads."""
        self._known().remove(tensor)
        self.folded.add(tensor)

    def set_shape(self, tensor: str, shape: Shape) -> None:
        """Give a tensor another per-sample shape, where it is made and where it is read."""
        self._known().put(tensor, replace(self._made(tensor), out_shape=shape))
        self._reconnect(tensor, tensor, shape)

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor the name whose values it has now."""
        layer = replace(self._made(tensor), output=name)
        self._known().put(tensor, layer)
        self._reconnect(tensor, name, layer.out_shape)
        self.folded.add(tensor)
        self.folded.discard(name)

    def disown(self, tensor: str, reason: str) -> None:
        """Rename a tensor whose values are no longer those of the file."""
        self.rename(tensor, self.new_name(tensor, reason))

    def new_name(self, tensor: str, reason: str) -> str:
        """A name that neither the file nor any layer has."""
        name = f"{tensor}:{reason}"
        while name in self.names or self.maker(name) is not None:
            name += "'"
        return name

    def drop_dead(self) -> None:
        """Drop the layers that do not lead to the logits."""
        self.layers = leading_to(self.layers, {self.logits})

    def _made(self, tensor: str) -> Wired:
        layer = self.maker(tensor)
        assert layer is not None
        return layer

    def _known(self) -> Index:
        if self._index is None or not self._index.covers(self.layers):
            self._index = Index(self.layers)
        return self._index

    def _reconnect(self, old: str, new: str, shape: Shape) -> None:
        """Let whoever reads `old` read `new`, of per-sample shape `shape`."""
        index = self._known()
        for output in index.readers(old):
            layer = self._made(output)
            slots = list(zip(layer.inputs, layer.in_shapes, strict=True))
            index.put(
                output,
                replace(
                    layer,
                    inputs=tuple(new if name == old else name for name, _ in slots),
                    in_shapes=tuple(shape if name == old else given for name, given in slots),
                ),
            )
        self.logits = new if self.logits == old else self.logits
