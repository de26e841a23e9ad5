"""What answers for a file that cannot be inverted: its forward pass, and the method for its kind of input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.ids import looks_up
from mipin_ref.graph.load import Model, load
from mipin_ref.graph.network import Network
from mipin_ref.graph.open_forward import open_forward

SMALLEST = 8
"""Places along an axis of a picture, at least."""


def open_any(
    model: Network | ForwardOnly | Model,
    *,
    output: str | None = None,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    given: Mapping[str, Any] | None = None,
    input: str | None = None,
) -> Network | ForwardOnly:
    """The network where `load` reads one, else the file for its forward pass alone; what is open already as it is.

    Arguments as of `load`; where `input` names the explained one of several, a file without an inverse is refused:
    opened for its forward pass alone it carries no other inputs. Raises InvalidData and CorruptFile as `load` does,
    and UnsupportedModel where onnxruntime cannot run the file either, it asks for more than it may, or leaves open what
    must be said.
    """
    if isinstance(model, Network | ForwardOnly):
        return model
    told: dict[str, Any] = {"output": output, "input_shape": input_shape, "given": given}
    try:
        return load(model, **told, input=input)
    except UnsupportedModel as error:
        if input is not None:
            raise
        return open_forward(model, **told, reason=f"as it has no inverse: {error}")


def fallback_method(net: Network | ForwardOnly) -> Literal["rise", "kernel-shap"]:
    """The method that explains an input by the forward pass alone: "rise" of a picture, else "kernel-shap".

    A picture has two axes of at least SMALLEST places and, where it has channels, at most four of them; what integers
    of more than a byte stand for is one only where it is an image's, see `holds_whole_pixels`.
    """
    if net.reads is not None and net.reads.itemsize > 1 and not holds_whole_pixels(net):
        return "kernel-shap"
    axis = net.channel_axis(net.input)
    places = [size for number, size in enumerate(net.input_shape, 1) if number != axis]
    channels = 1 if axis is None else net.input_shape[axis - 1]
    return "rise" if len(places) == 2 and min(places) >= SMALLEST and channels <= 4 else "kernel-shap"


def holds_whole_pixels(net: Network | ForwardOnly) -> bool:
    """Whether the integers that a network reads are the pixels of an image: a sample is [H, W, 1 or 3] or
    [1 or 3, H, W], and no table is looked up by its values.
    """
    pictured = len(net.input_shape) == 3 and image_geometry(net.input_shape) is not None
    return net.whole and pictured and not looks_up(net)
