"""The order of nodes: onnxruntime finds one by itself, and so files come in any, as float16 converters leave them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from onnx import GraphProto, NodeProto

from mipin_ref.graph.prune import read_by


def put_in_order(graph: GraphProto) -> bool:
    """Put each node behind those that make what it reads, else as they stand. Returns whether any had to move.

    Nodes that read each other in a circle stay as they are, for the checker to find.
    """
    nodes = list(graph.node)
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    before = [{makers[name] for name in read_by(node) if name in makers} for node in nodes]
    if all(place > max(needed, default=-1) for place, needed in enumerate(before)):
        return False
    order = _order(before)
    if len(order) < len(nodes):
        return False
    moved = [_copy(nodes[place]) for place in order]
    del graph.node[:]
    graph.node.extend(moved)
    return True


def _order(before: list[set[int]]) -> list[int]:
    """Places, the first that is free each time; without those in a circle."""
    readers: list[list[int]] = [[] for _ in before]
    for place, needed in enumerate(before):
        for one in needed:
            readers[one].append(place)
    waiting = [len(needed) for needed in before]
    free = [place for place, count in enumerate(waiting) if not count]
    heapify(free)
    order = []
    while free:
        place = heappop(free)
        order.append(place)
        for reader in readers[place]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(free, reader)
    return order


def _copy(node: NodeProto) -> NodeProto:
    """The graph gives up what it held."""
    made = NodeProto()
    made.CopyFrom(node)
    return made
