"""Operators that trade channels for places: values in another order alone."""

from __future__ import annotations

from math import prod

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles
from mipin_ref.layers import Reshape, Shape, Transpose


@handles("DepthToSpace")
def depth_to_space(node: Node, draft: Draft) -> None:
    x, block = _map(node, draft)
    channels, height, width = x.sample
    if channels % block**2:
        raise Refused(f"{channels} channels do not make up blocks of {block}×{block}")
    few = channels // block**2
    if node.attributes.get("mode", "DCR") == "DCR":
        split, perm = (block, block, few, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (few, block, block, height, width), (0, 1, 4, 2, 5, 3)
    _rearranged(node, draft, x, split, perm, (few, height * block, width * block))


@handles("SpaceToDepth")
def space_to_depth(node: Node, draft: Draft) -> None:
    x, block = _map(node, draft)
    channels, height, width = x.sample
    if height % block or width % block:
        raise Refused(f"a map of {height}×{width} does not divide into blocks of {block}×{block}")
    split = (channels, height // block, block, width // block, block)
    shape = (channels * block**2, height // block, width // block)
    _rearranged(node, draft, x, split, (0, 3, 5, 1, 2, 4), shape)


@handles("Col2Im")
def col2im(node: Node, draft: Draft) -> None:
    """Patches that do not overlap, one behind the other, as torch's fold puts them back into an image."""
    x, image, block = draft.signal(node), draft.constant(node.inputs[1]), draft.constant(node.inputs[2])
    if image is None or block is None or image.shape != (2,) or block.shape != (2,) or len(x.sample) != 2:
        raise Refused(f"it makes no image of {readable(x.shape)}")
    (height, width), (down, across) = ([int(one) for one in lengths] for lengths in (image, block))
    strides = [int(one) for one in node.attributes.get("strides", (1, 1))]
    others = [*node.attributes.get("pads", ()), *(one - 1 for one in node.attributes.get("dilations", ()))]
    if strides != [down, across] or any(others) or height % down or width % across:
        raise Refused("its patches overlap, or leave gaps, over which their values are not followed")
    places = (height // down, width // across)
    few, left = divmod(x.sample[0], down * across)
    if left or prod(places) != x.sample[1]:
        raise Refused(f"{readable(x.shape)} is no row of patches of {down}×{across} of {height}×{width}")
    _rearranged(node, draft, x, (few, down, across, *places), (0, 1, 4, 2, 5, 3), (few, height, width))


def _map(node: Node, draft: Draft) -> tuple[Signal, int]:
    x, block = draft.signal(node), int(node.attributes["blocksize"])
    if len(x.sample) != 3 or block < 1:
        raise Refused(f"blocks of {block} on {readable(x.shape)}")
    return x, block


def _rearranged(node: Node, draft: Draft, x: Signal, split: Shape, perm: Shape, shape: Shape) -> None:
    """Draft a Reshape, a Transpose and a Reshape."""
    turned = tuple(split[p - 1] for p in perm[1:])
    names = [draft.inner_name(node, role) for role in ("split", "turned")]
    draft.add(Reshape(name=names[0], inputs=(x.name,), output=names[0], in_shapes=(x.sample,), out_shape=split))
    draft.add(
        Transpose(name=names[1], inputs=(names[0],), output=names[1], in_shapes=(split,), out_shape=turned, perm=perm)
    )
    output = node.outputs[0]
    draft.add(Reshape(name=output, inputs=(names[1],), output=output, in_shapes=(turned,), out_shape=shape))
