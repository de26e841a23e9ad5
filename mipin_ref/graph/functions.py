"""Local functions: calls are counted before they are expanded, as n that call each other twice grow to 2^n."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, checker, inliner

from mipin_ref.errors import CorruptFile, UnsupportedModel
from mipin_ref.graph.limits import COMPUTED, NESTING, NODES
from mipin_ref.text import first_line

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class _Size:
    """Nodes and bytes of a function with all that it calls; depth of the calls."""

    nodes: int
    bytes: int
    depth: int


def inlined(proto: ModelProto, what: str) -> ModelProto:
    """The model without local functions; itself where it has none. Ask check_expansion first."""
    if not proto.functions:
        return proto
    try:
        return inliner.inline_local_functions(proto)
    except (checker.ValidationError, ValueError, RuntimeError, DecodeError, EncodeError) as error:
        raise CorruptFile(f"the functions of {what} cannot be inlined: {first_line(error)}") from error


def check_expansion(proto: ModelProto, what: str) -> None:
    """Raises UnsupportedModel where local functions expand out of proportion, CorruptFile where one calls itself."""
    functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
    known: dict[_Key, _Size] = {}
    for key in functions:
        _measure(key, functions, known, (), what)
    whole = _sum(all_nodes(proto.graph.node), known)
    written = sum(1 for nodes in (proto.graph.node, *(f.node for f in proto.functions)) for _ in all_nodes(nodes))
    if whole.nodes > NODES * max(1, written // NODES) or whole.bytes > COMPUTED + 2 * proto.ByteSize():
        raise UnsupportedModel(
            f"the local functions of {what} expand to {float(whole.nodes):.1e} nodes ({NODES} are allowed): "
            "export without functions that call each other"
        )


def _measure(
    key: _Key, functions: dict[_Key, FunctionProto], known: dict[_Key, _Size], callers: tuple[_Key, ...], what: str
) -> None:
    if key in known:
        return
    if key in callers:
        raise CorruptFile(f"function {key[1]!r} of {what} calls itself")
    if len(callers) >= NESTING:
        raise UnsupportedModel(f"the local functions of {what} call each other more than {NESTING} deep")
    nodes = list(all_nodes(functions[key].node))
    for node in nodes:
        called = (node.domain, node.op_type, node.overload)
        if called in functions:
            _measure(called, functions, known, (*callers, key), what)
    size = _sum(nodes, known)
    if size.depth >= NESTING:
        raise UnsupportedModel(f"the local functions of {what} call each other more than {NESTING} deep")
    known[key] = _Size(size.nodes, size.bytes, size.depth + 1)


def _sum(nodes: Iterable[NodeProto], known: dict[_Key, _Size]) -> _Size:
    count = size = depth = 0
    for node in nodes:
        called = known.get((node.domain, node.op_type, node.overload))
        count += 1 if called is None else called.nodes
        size += node.ByteSize() + (0 if called is None else called.bytes)
        depth = max(depth, 0 if called is None else called.depth)
    return _Size(count, size, depth)


def all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield from all_nodes(graph.node)


def subgraphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """The graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs
