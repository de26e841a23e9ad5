"""If on what is known once the inputs are bound: the branch that is taken, in place of the node."""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto

from mipin_ref.graph.functions import subgraphs


class Decided(Exception):
    """A node runs one of its branches whatever the input. output: of the node; taken: whether it is the first one."""

    def __init__(self, output: str, taken: bool) -> None:
        self.output, self.taken = output, taken
        super().__init__(f"the If that makes {output!r} is decided")


def inlined(proto: ModelProto, decided: Decided) -> ModelProto:
    """The model with the nodes of the branch in place of the If; what the branch makes has names of its own."""
    small = ModelProto()
    small.CopyFrom(proto)
    place = next(i for i, node in enumerate(small.graph.node) if decided.output in node.output)
    node = small.graph.node[place]
    wanted = "then_branch" if decided.taken else "else_branch"
    branch = next(a.g for a in node.attribute if a.name == wanted)
    prefix = f"{node.output[0]}:{'then' if decided.taken else 'else'}:"
    # An If that ends the branch of another makes what that one made, by the same name.
    there = [*_made(small.graph), *(value.name for value in small.graph.input)]
    while any(name.startswith(prefix) for name in there):
        prefix += ":"
    names = {name: f"{prefix}{name}" for name in _made(branch)}
    for told, inner in zip(node.output, branch.output, strict=True):
        if inner.name in names:
            names[inner.name] = told
    nodes = [renamed(one, names, prefix) for one in branch.node]
    for told, inner in zip(node.output, branch.output, strict=True):
        if names.get(inner.name) != told:
            # The branch hands on a tensor from outside, or one tensor twice.
            nodes.append(NodeProto(op_type="Identity", input=[names.get(inner.name, inner.name)], output=[told]))
    for tensor in branch.initializer:
        small.graph.initializer.add().CopyFrom(tensor)
        small.graph.initializer[-1].name = names[tensor.name]
    rest = list(small.graph.node)
    kept = [*rest[:place], *nodes, *rest[place + 1 :]]
    copies = [NodeProto.FromString(one.SerializeToString()) for one in kept]
    del small.graph.node[:]
    small.graph.node.extend(copies)
    return small


def renamed(node: NodeProto, names: dict[str, str], prefix: str) -> NodeProto:
    """A copy of a node of a subgraph, with other names for what it reads and makes, and a prefix to its own."""
    copy = NodeProto()
    copy.CopyFrom(node)
    _rename(copy, names)
    # onnxruntime wants names of nodes that are unique, and those of the branches of two Ifs need not be.
    copy.name = copy.name and f"{prefix}{copy.name}"
    return copy


def _made(graph: GraphProto) -> list[str]:
    return [*(name for node in graph.node for name in node.output if name), *(one.name for one in graph.initializer)]


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            hidden = {*_made(graph), *(value.name for value in graph.input)}
            seen = {old: new for old, new in names.items() if old not in hidden}
            for inner in graph.node:
                _rename(inner, seen)
            for value in graph.output:
                value.name = seen.get(value.name, value.name)
