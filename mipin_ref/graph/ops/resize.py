"""Operators that resize a map: Resize and the older Upsample."""

from __future__ import annotations

from math import floor

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.limits import TENSOR
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.graph.ties import tie_width
from mipin_ref.layers import Resize, Shape, Transpose
from mipin_ref.layers.resize import COORDINATES, MODES, ROUNDINGS


@handles("Upsample")
def upsample(node: Node, draft: Draft) -> None:
    """The operator of opset 7 to 9, which the first Resize does like."""
    x = draft.signal(node)
    scales = draft.option(node, "scales", 1)
    if scales is None:
        raise Refused("its scales are missing")
    _add(node, draft, x, [float(np.float32(s)) for s in np.ravel(scales)], None, "asymmetric", "floor")


@handles("Resize")
def resize(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if draft.opset < 11:
        scales, sizes = draft.constant(node.input(1)), None
        coordinates, rounding = "asymmetric", "floor"
        if scales is not None and np.any(scales < 1) and node.attributes.get("mode", "nearest") == "nearest":
            # The first Resize rounds up where it makes a map smaller, axis by axis.
            rounding = "ceil"
            if np.any(scales > 1):
                raise Refused("it makes one axis larger and another smaller, which older versions round differently")
    else:
        scales, sizes = draft.constant(node.input(2)), draft.constant(node.input(3))
        coordinates = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
        rounding = str(node.attributes.get("nearest_mode", "round_prefer_floor"))
    if node.attributes.get("antialias", 0):
        raise Refused("it resizes with antialias, which has no inverse")
    if str(node.attributes.get("keep_aspect_ratio_policy", "stretch")) != "stretch":
        raise Refused("it keeps the aspect ratio (keep_aspect_ratio_policy), which is not supported")
    axes = node.attributes.get("axes")
    chosen = list(range(len(x.shape))) if axes is None else resolved_axes(np.asarray(axes), len(x.shape))
    wanted = sizes if sizes is not None and sizes.size else None
    if wanted is None and (scales is None or not scales.size):
        raise Refused("its scales and sizes are missing")
    given = scales if wanted is None else wanted
    assert given is not None
    if given.shape != (len(chosen),):
        raise Refused(f"{given.size} scales or sizes for {len(chosen)} axes")
    if wanted is None:
        factors = [1.0] * len(x.shape)
        for axis, scale in zip(chosen, given, strict=True):
            factors[axis] = float(np.float32(scale))
        _add(node, draft, x, factors, None, coordinates, rounding)
    else:
        lengths = [draft.file_batch or x.shape[0], *x.sample]
        batch = lengths[0]
        for axis, length in zip(chosen, given, strict=True):
            lengths[axis] = int(length)
        if lengths[0] != batch:
            raise Refused("it resizes the batch")
        _add(node, draft, x, None, tuple(lengths[1:]), coordinates, rounding)


def _add(
    node: Node,
    draft: Draft,
    x: Signal,
    scales: list[float] | None,
    sizes: Shape | None,
    coordinates: str,
    rounding: str,
) -> None:
    """Draft the node, its channels on axis 1 or last; one of scales, of all axes, and sizes, of a sample, is given."""
    mode = str(node.attributes.get("mode", "nearest"))
    _check(mode, coordinates, rounding)
    if scales is not None:
        if len(scales) != len(x.shape) or not all(np.isfinite(s) and 0 < s <= TENSOR for s in scales):
            raise Refused(f"scales {scales} do not fit {readable(x.shape)}")
        if scales[0] != 1:
            raise Refused("it resizes the batch")
        sizes = tuple(floor(np.float32(s) * np.float32(n)) for s, n in zip(scales[1:], x.sample, strict=True))
    assert sizes is not None
    kept = [a for a, n in enumerate(x.sample) if sizes[a] == n and (scales is None or scales[a + 1] == 1)]
    if tuple(sizes) == x.sample:
        # Then onnxruntime copies, whatever the scales.
        draft.alias(node.outputs[0], x)
        return
    if min(sizes) < 1:
        raise Refused(f"its output would have the empty size {sizes}")
    if 0 not in kept and len(x.sample) - 1 not in kept:
        raise Refused(f"it resizes every axis of {readable(x.shape)}, the channels too")
    last = 0 not in kept
    factors = None if scales is None else tuple(scales[1:])
    source, shape = x.name, x.sample
    if last:
        source, shape = _turned(node, draft, x)
        sizes = (sizes[-1], *sizes[:-1])
        factors = None if factors is None else (factors[-1], *factors[:-1])
    output = draft.inner_name(node, "resized") if last else node.outputs[0]
    draft.add(
        Resize(
            name=layer_name(node),
            inputs=(source,),
            output=output,
            in_shapes=(shape,),
            out_shape=sizes,
            mode=mode,
            coordinates=coordinates,
            rounding=rounding,
            scales=None if factors is None else factors[1:],
            tie=tie_width() if mode == "nearest" else 0.0,
        )
    )
    if last:
        back = (0, *range(2, len(sizes) + 1), 1)
        draft.add(
            Transpose(
                name=node.outputs[0],
                inputs=(output,),
                output=node.outputs[0],
                in_shapes=(sizes,),
                out_shape=(*sizes[1:], sizes[0]),
                perm=back,
            )
        )


def _turned(node: Node, draft: Draft, x: Signal) -> tuple[str, Shape]:
    """x with its last axis, the channels, in front."""
    name, shape = draft.inner_name(node, "channels_first"), (x.sample[-1], *x.sample[:-1])
    perm = (0, len(x.sample), *range(1, len(x.sample)))
    draft.add(Transpose(name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=shape, perm=perm))
    return name, shape


def _check(mode: str, coordinates: str, rounding: str) -> None:
    if mode not in MODES:
        raise Refused(f"it resizes with mode {mode!r}; only {' and '.join(MODES)} have an inverse")
    if coordinates not in COORDINATES:
        raise Refused(f"it resizes with coordinates {coordinates!r}, which have no inverse here")
    if mode == "nearest" and rounding not in ROUNDINGS:
        raise Refused(f"its nearest_mode is {rounding!r}")
