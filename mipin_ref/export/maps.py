"""The map of an explainer: what `saliency` makes of a contribution, as ONNX."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mipin_ref.export.asked import Asked
from mipin_ref.export.chosen import Chosen
from mipin_ref.graph.document import Document
from mipin_ref.graph.layer_list import image_size
from mipin_ref.graph.tokens import NONE, places_of_tokens


def map_size(asked: Asked) -> tuple[int, int] | None:
    """The height and width of the map: of the network's input where that is an image, else of the explained tensor.

    None where the tensor has not two axes beside that of its channels.
    """
    own = _own_size(asked)
    return None if own is None else asked.net.input_size or own


def _own_size(asked: Asked) -> tuple[int, int] | None:
    """The same of the explained tensor, or of the picture that its tokens lie in."""
    net, places = asked.net, places_of_tokens(asked.net, asked.tensor)
    if places is not None:
        return (places.shape[0], places.shape[1]) if places.ndim == 2 else None
    return image_size(net.shapes[asked.tensor], net.channel_axis(asked.tensor))


def add_map(document: Document, asked: Asked, chosen: Chosen, samples: int | str) -> None:
    """Write the output `map` [n, H, W]: the sum of the contribution over channels, turned where the logit is negative,
    its positive part, resized (method, section 5); nothing where the tensor is no image. samples: how many a run has.
    """
    size, net, add = map_size(asked), asked.net, document.append
    if size is None:
        return
    axis = net.channel_axis(asked.tensor)
    own, places = _own_size(asked), places_of_tokens(net, asked.tensor)
    assert own is not None
    summed = "contribution"
    if axis is not None:
        axes = document.constant("map/channels", np.array([axis], np.int64))
        summed = add("ReduceSum", [summed, axes], document.fresh("map/summed"), keepdims=0)
    if places is not None:
        tokens = document.constant("map/places", np.maximum(places, 0))
        summed = add("Gather", [summed, tokens], document.fresh("map/laid out"), axis=1)
        if (places == NONE).any():
            there = document.weight("map/there", (places != NONE).astype(np.float64))
            summed = add("Mul", [summed, there], document.fresh("map/kept"))
    negative = add("Less", ["logit", document.weight("zero", 0.0)], document.fresh("map/negative"))
    doubled = add("Cast", [negative], document.fresh("map/turned"), to=document.element)
    twice = add("Mul", [doubled, document.weight("minus two", -2.0)], document.fresh("map/twice"))
    sign = add("Add", [twice, document.weight("one", 1.0)], document.fresh("map/sign"))
    column = add(
        "Reshape", [sign, document.constant("map/column", np.array([-1, 1, 1], np.int64))], document.fresh("map/signs")
    )
    turned = add("Mul", [summed, column], document.fresh("map/oriented"))
    made = add("Relu", [turned], document.fresh("map/positive"))
    for number, (length, wanted) in enumerate(zip(own, size, strict=True)):
        if length != wanted:
            matrix = resizing(length, wanted)
            if number == 0:
                made = add("MatMul", [document.weight("map/rows", matrix), made], document.fresh("map/high"))
            else:
                made = add("MatMul", [made, document.weight("map/columns", matrix.T)], document.fresh("map/wide"))
    chosen.told(made, "map")
    document.output("map", (samples, *size))


def resizing(length: int, wanted: int) -> npt.NDArray[np.float64]:
    """[wanted, length]: Pillow's BILINEAR along one axis.

    A triangle around the centre of each pixel, as wide as two pixels of the coarser grid, its weights summed to 1.
    """
    scale = length / wanted
    reach = max(scale, 1.0)
    centres = (np.arange(wanted)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1 - np.abs((np.arange(length)[None] + 0.5 - centres) / reach))
    # Pillow takes the pixels whose centres lie within, to the nearest.
    first = np.maximum(0, np.floor(centres - reach + 0.5))
    last = np.minimum(length, np.floor(centres + reach + 0.5))
    places = np.arange(length)[None]
    weights = weights * ((places >= first) & (places < last))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
