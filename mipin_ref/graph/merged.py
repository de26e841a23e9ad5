"""What stands in front of the layers, its nodes as the file has them, in a file under construction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, version_converter

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.bind import Beside
from mipin_ref.graph.document import Document
from mipin_ref.graph.front import Front
from mipin_ref.graph.functions import all_nodes, subgraphs
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.graph.layout import ALONE, Layout
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.opsets import LOWEST
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.prune import pruned, read_by
from mipin_ref.graph.stem import Stem
from mipin_ref.layers import Shape
from mipin_ref.text import first_line


def front_of(net: LayerList) -> Stem | None:
    """The part of the file that makes what the layers start from; None where that is the input alone."""
    return net.stem if net.file is None else net.file


def samples_at_a_time(net: LayerList) -> int | None:
    """How many samples each run of another file must have, as the nodes in front take no others; None for any."""
    front = front_of(net)
    return None if front is None else front.apart


def others_read(net: LayerList) -> Mapping[str, Beside]:
    """The inputs that each sample has values of, beside the explained one."""
    front = front_of(net)
    return {} if front is None else front.bound.beside


def refusal(net: LayerList) -> str | None:
    """Why the part of the file in front of the layers cannot stand in another file, as the end of a sentence."""
    front = front_of(net)
    if front is None:
        return None
    model = ModelProto.FromString(front.model)
    if model.graph.sparse_initializer or model.functions:
        return "its first nodes have sparse weights or functions"
    return None


def makes_input(net: LayerList) -> bool:
    """Whether the layers read something else than the explained input under its name: what the file rounds it to."""
    front = front_of(net)
    return front is not None and net.input in front.tensors


def merge(document: Document, net: LayerList, needed: Collection[str], reads: Mapping[str, str]) -> None:
    """Write the nodes that make what the layers start from, as far as it is `needed`, in front of all others.

    reads: the names of the network's inputs there. Raises UnsupportedModel where they cannot be told in an opset that
    the explainer has.
    """
    front = front_of(net)
    asked = [name for name in net.starts if name in needed and (name != net.input or makes_input(net))]
    if front is not None and asked:
        _Merged(document, net, front, asked, reads)


class _Merged:
    """Writes one front. asked: the tensors that it is to make, under the names that the document has for them."""

    def __init__(
        self,
        document: Document,
        net: LayerList,
        front: Stem,
        asked: Sequence[str],
        reads: Mapping[str, str],
    ) -> None:
        self._document, self._net, self._front, self._reads = document, net, front, reads
        self._names = {name: reads[name] for name in front.bound.beside}
        bound = front.bound
        made = {name: front.names.get(name, name) for name in asked if name not in (*bound.given, *bound.beside)}
        model = _converted(front, [*dict.fromkeys(made.values())])
        document.least = max(document.least, _opset(model))
        inside = {name for node in model.graph.node for name in read_by(node)}.union(made.values())
        if bound.data in inside:
            self._names[bound.data] = self._fed()
        for name in bound.given:
            if name in inside or name in asked:
                self._names[name] = self._bound(name)
        for initializer in model.graph.initializer:
            initializer.name = self._named(initializer.name)
            document.keep(initializer)
        for node in model.graph.node:
            self._keep(node)
        others = {node.domain for node in all_nodes(model.graph.node)}.difference(STANDARD)
        document.model.opset_import.extend(one for one in model.opset_import if one.domain in others)
        layouts = {name: front.tensors[name] for name in made}
        shapes = _shapes(front, [name for name, layout in layouts.items() if layout != Layout()])
        for name in asked:
            tensor = self._named(made.get(name, name))
            if name in made:
                tensor = self._batch_first(name, tensor, layouts[name], shapes)
            elif name in bound.given:
                tensor = self._moved(name, tensor, bound.given[name].axis or 0, 0, bound.given[name].value.ndim)
            self._typed(name, tensor)

    def _named(self, tensor: str) -> str:
        """The name in the document of a tensor of the file; an empty one stands for what is left out."""
        if tensor and tensor not in self._names:
            self._names[tensor] = self._document.fresh(f"front/{tensor}")
        return self._names.get(tensor, "")

    def _fed(self) -> str:
        """The name of the explained input as the file reads it."""
        document, net, bound, read = self._document, self._net, self._front.bound, self._reads[self._net.input]
        if bound.dtype != (net.dtype if net.reads is None else net.reads):
            to = int(helper.np_dtype_to_tensor_dtype(bound.dtype))
            read = document.append("Cast", [read], document.fresh("front/input"), to=to)
        return self._moved(bound.data, read, 0, bound.axis, len(bound.shape) + 1)

    def _bound(self, name: str) -> str:
        """The name of the value of another input, for as many samples as come."""
        document, one, fixed = self._document, self._front.bound.given[name], self._front.apart
        if one.axis is None or fixed is not None:
            return document.constant(f"front/{name}", one.of(fixed or 1))
        value = document.constant(f"front/{name}", one.value)
        sizes = [document.constant("front/one", np.array([1], np.int64))] * one.value.ndim
        sizes[one.axis] = self._samples
        shape = document.append("Concat", sizes, document.fresh(f"front/{name}/sizes"), axis=0)
        return document.append("Expand", [value, shape], document.fresh(f"front/{name}/for all"))

    @cached_property
    def _samples(self) -> str:
        """The name of how many samples there are [1]."""
        document = self._document
        shape = document.append("Shape", [self._reads[self._net.input]], document.fresh("front/shape"))
        place = document.constant("front/first", np.array([0], np.int64))
        return document.append("Gather", [shape, place], document.fresh("front/samples"), axis=0)

    def _keep(self, node: NodeProto) -> None:
        """Take a node, and those of its graphs, under the document's names."""
        kept = helper.make_node(
            node.op_type,
            [self._named(one) for one in node.input],
            [self._named(one) for one in node.output],
            name=self._document.fresh(f"front/{node.op_type}"),
            domain="" if node.domain in STANDARD else node.domain,
        )
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                _rename(graph, self._named)
        self._document.keep(kept, node.attribute)

    def _batch_first(self, name: str, tensor: str, layout: Layout, shapes: dict[str, Shape]) -> str:
        """A tensor of the file with its samples on the first axis, and the entries of each in their order."""
        if layout == Layout():
            return tensor
        axis, shape = layout.axis, shapes[name]
        before, behind = shape[:axis], shape[axis + 1 :]
        if layout.rows == ALONE:
            return self._moved(name, tensor, axis, 0, len(shape))
        split = np.array([*before, layout.rows[0], -1, layout.rows[1], *behind], np.int64)
        document = self._document
        sizes = document.constant(f"front/{name}/rows", split)
        apart = document.append("Reshape", [tensor, sizes], document.fresh(f"front/{name}/apart"))
        return self._moved(name, apart, axis + 1, 0, len(split))

    def _moved(self, name: str, tensor: str, axis: int, to: int, rank: int) -> str:
        """A tensor of so many axes with one of them at another place."""
        if axis == to:
            return tensor
        perm = [one for one in range(rank) if one != axis]
        perm.insert(to, axis)
        return self._document.append("Transpose", [tensor], self._document.fresh(f"front/{name}/moved"), perm=perm)

    def _typed(self, name: str, tensor: str) -> None:
        """Write a tensor as the layers read it, in their type and shape."""
        document, shape = self._document, self._net.shapes[name]
        made = document.append("Cast", [tensor], document.fresh(f"front/{name}/typed"), to=document.element)
        to = document.constant(f"front/{name}/shape", np.array([-1, *shape], np.int64))
        document.append("Reshape", [made, to], document.tensor(name))


def _rename(graph: GraphProto, named: Callable[[str], str]) -> None:
    """Give everything in a graph of a node other names; what it takes from outside has the same there."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = named(value.name)
    for node in graph.node:
        inputs, outputs = ([named(one) for one in names] for names in (node.input, node.output))
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                _rename(inner, named)


def _shapes(front: Stem, names: Sequence[str]) -> dict[str, Shape]:
    """The shapes of tensors as the file has them with one sample, or as many as it takes."""
    if not names:
        return {}
    x = plausible(front.bound, front.apart or 1, seed=1)
    return {name: value.shape for name, value in Front(front, names, threads=1).as_the_file(x).items()}


def _converted(front: Stem, asked: Sequence[str]) -> ModelProto:
    model = ModelProto.FromString(front.model)
    if not asked:
        return ModelProto(opset_import=model.opset_import)
    small = ModelProto()
    small.CopyFrom(pruned(model, *asked))
    if _opset(small) >= LOWEST:
        return small
    try:
        converted = ModelProto()
        converted.ParseFromString(version_converter.convert_version(small, LOWEST).SerializeToString())
        return converted
    except Exception as failure:  # onnx's own classes have no common base of their own.
        raise UnsupportedModel(
            f"the first nodes of the file cannot be written in opset {LOWEST}: {first_line(failure)}"
        ) from failure


def _opset(model: ModelProto) -> int:
    return max((int(one.version) for one in model.opset_import if one.domain in STANDARD), default=LOWEST)
