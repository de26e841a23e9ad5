"""What the inputs of a file ask for, before it is loaded: sizes, and the tables that ids are looked up in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from mipin_ref.graph.bind import FLOATS, WHOLES, batch_axis
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.load import Model
from mipin_ref.graph.looked_up import tables_of
from mipin_ref.graph.network import Network
from mipin_ref.graph.open import open_model


@dataclass(frozen=True)
class AskedInput:
    """sizes: of a sample, None where the file leaves one open; whole: whether it holds integers; tables: rows of those
    that its values are looked up in, none of a network that is open already; ids: whether it holds ids, as far as is
    known.
    """

    name: str
    sizes: tuple[int | None, ...]
    whole: bool
    tables: tuple[int, ...] = ()

    @property
    def ids(self) -> bool:
        return self.whole or bool(self.tables)


@dataclass(frozen=True)
class AskedInputs:
    """named: the inputs by name, in the file's order; places: rows of the tables that no input picks from, as those of
    positions are.
    """

    named: Mapping[str, AskedInput]
    places: tuple[int, ...] = ()


def asked_inputs(model: Network | ForwardOnly | Model) -> AskedInputs:
    """The inputs of a model that hold numbers. Raises as `load` does where the file cannot be opened."""
    if isinstance(model, Network | ForwardOnly):
        return AskedInputs({one.name: one for one in _of_network(model)})
    proto = open_model(model).proto
    return _of_file(proto)


def _of_network(net: Network | ForwardOnly) -> list[AskedInput]:
    looked_up = isinstance(net, Network) and bool(net.embeddings)
    made = [AskedInput(net.input, net.input_shape, net.whole, (2**31,) if looked_up else ())]
    front = net.stem or net.file if isinstance(net, Network) else None
    if front is not None:
        made += [AskedInput(name, one.shape, one.dtype.kind != "f") for name, one in front.bound.beside.items()]
    return made


def _of_file(proto: ModelProto) -> AskedInputs:
    values = [one for one in data_inputs(proto.graph) if one.type.tensor_type.elem_type in (*FLOATS, *WHOLES)]
    tables, places = tables_of(proto, [one.name for one in values])
    named = {}
    for value in values:
        dims = value.type.tensor_type.shape.dim
        sizes = tuple(d.dim_value if d.dim_value > 0 else None for i, d in enumerate(dims) if i != batch_axis(value))
        whole = value.type.tensor_type.elem_type in WHOLES
        named[value.name] = AskedInput(value.name, sizes, whole, tuple(tables[value.name]))
    return AskedInputs(named, tuple(places))
