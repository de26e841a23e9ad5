"""An ONNX file under construction: nodes, constants that are stored once, inputs, outputs, and what is said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.emit import LARGE, MAX_BYTES, placeholder
from mipin_ref.graph.layer_list import leading_to
from mipin_ref.graph.opsets import LOWEST, lowered
from mipin_ref.layers import HostArray, Layer, Shape, Switches

BOOL = int(TensorProto.BOOL)
"""What ONNX counts the type of conditions as."""
HALF_FROM = 64
"""Elements of a constant that is stored in half precision where that is asked for; smaller ones are worth no node."""
LEAST_HALF, LARGEST_HALF = 2.0**-14, 2.0**15
"""Between these half precision has its 11 bits; below the first it has fewer, and none from 2⁻²⁵ down."""


def halved(array: HostArray) -> tuple[npt.NDArray[np.float16], float]:
    """An array in half precision, and the power of two by which it must be multiplied: 1 where its values lie within
    what half precision holds to 11 bits, else the one that puts the largest just below the end of that range.
    """
    size = np.abs(array)
    largest, least = float(size.max()), float(np.min(size, where=size > 0, initial=np.inf))
    if largest == 0 or (least >= LEAST_HALF and largest < LARGEST_HALF):
        return array.astype(np.float16), 1.0
    factor = 2.0 ** (np.frexp(largest)[1] - 15)
    return (array / factor).astype(np.float16), float(factor)


class Document:
    """A graph whose tensors have the names that a network's have, but for those that are taken.

    dtype: of floating-point constants; taken: names that nothing but an output or an input may have; half: whether
    large constants of the way back are stored in half precision (those of the network are not: a value that is next to
    zero decides a mask, and what the mask takes away); beside: takes the large constants by name, of which the file
    then has name and shape alone; least: the lowest opset that it may be of.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        taken: Collection[str] = (),
        *,
        half: bool = False,
        beside: dict[str, HostArray] | None = None,
    ) -> None:
        self.model = ModelProto()
        self.dtype = dtype
        self._graph = self.model.graph
        self._half, self._beside = half, beside
        self._taken = {*taken}
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._constants: dict[tuple[Any, ...], str] = {}
        self._widened: dict[tuple[str, float], str] = {}
        self.bytes, self.least = 0, LOWEST
        self.inputs: dict[str, tuple[int | str, ...]] = {}
        self.outputs: dict[str, tuple[int | str, ...]] = {}

    @property
    def opset(self) -> int:
        """The opset of the file, once it is finished."""
        return int(self.model.opset_import[0].version)

    @property
    def element(self) -> int:
        """The type of floating-point values as ONNX counts types."""
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))

    def tensor(self, name: str) -> str:
        """The name that a tensor of the network has here."""
        if name not in self._names:
            self._names[name] = self.fresh(name)
        return self._names[name]

    def fresh(self, wanted: str) -> str:
        """A name that nothing has yet, the wanted one if it is free."""
        name = wanted
        while name in self._taken:
            self._counts[wanted] += 1
            name = f"{wanted}~{self._counts[wanted]}"
        self._taken.add(name)
        return name

    def append(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node that makes `output`, under a name of its own."""
        self._graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append a node of several outputs, '' where one is not asked for."""
        self._graph.node.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    def constant(self, role: str, value: npt.ArrayLike) -> str:
        """Store an array, once where it comes again, in the type that it has."""
        return self._once(role, np.asarray(value, order="C"))

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        """Store an array of floating-point numbers in the network's dtype."""
        return self._once(role, self._typed(value))

    def inverse_weight(self, role: str, value: npt.ArrayLike) -> str:
        """The same of the way back: in half precision where that is asked for."""
        array = self._typed(value)
        if not self._narrow(array):
            return self._once(role, array)
        scaled, factor = halved(array)
        stored = self._once(f"{role} half", scaled)
        key = stored, factor
        if key not in self._widened:
            self._widened[key] = self._wide(role, stored, factor)
        return self._widened[key]

    def picked(self, role: str, values: Sequence[npt.ArrayLike], place: str) -> str:
        """One of several arrays of the way back, of the number that tensor `place` holds when the file runs.

        They are widened behind the choice: all of them would take twice their room there.
        """
        stacked = np.stack([self._typed(one) for one in values])
        if not self._narrow(stacked):
            return self.append("Gather", [self._once(f"{role} of all", stacked), place], self.fresh(role), axis=0)
        scaled, factor = halved(stacked)
        kept = self._once(f"{role} of all, half", scaled)
        return self._wide(role, self.append("Gather", [kept, place], self.fresh(f"{role} half"), axis=0), factor)

    def _wide(self, role: str, narrow: str, factor: float) -> str:
        """A tensor in half precision as the network's dtype, times a factor."""
        wide = self.append("Cast", [narrow], self.fresh(f"{role} wide" if factor != 1 else role), to=self.element)
        return wide if factor == 1 else self.append("Mul", [wide, self.weight("factor", factor)], self.fresh(role))

    def _typed(self, value: npt.ArrayLike) -> HostArray:
        return np.asarray(np.asarray(value).astype(self.dtype, copy=False), order="C")

    def _narrow(self, array: HostArray) -> bool:
        """Whether an array is stored in half precision."""
        return self._half and array.dtype == np.float32 and array.size >= HALF_FROM and bool(np.isfinite(array).all())

    def _once(self, role: str, array: HostArray) -> str:
        if self._beside is not None and array.size >= LARGE:
            name = self.fresh(role)
            self._beside[name] = array
            self._graph.initializer.append(placeholder(name, array))
            return name
        seen = array.reshape(-1).view(np.uint8).data if array.size else b""
        key = (array.dtype.str, array.shape, blake2b(seen, digest_size=16).digest())
        if key not in self._constants:
            self._constants[key] = self._stored(role, array)
        return self._constants[key]

    def _stored(self, role: str, array: HostArray) -> str:
        name = self.fresh(role)
        self.bytes += array.nbytes
        if self.bytes > MAX_BYTES:
            raise UnsupportedModel(f"the explainer has more than {MAX_BYTES:,} bytes of weights, the most of one file")
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def keep(self, part: NodeProto | TensorProto, attributes: Sequence[AttributeProto] = ()) -> None:
        """Take a node, with its attributes, or a constant as it is."""
        if isinstance(part, TensorProto):
            self._graph.initializer.append(part)
        else:
            part.attribute.extend(attributes)
            self._graph.node.append(part)

    def input(self, name: str, dtype: np.dtype[Any], shape: Sequence[int | str]) -> None:
        self.inputs[name] = tuple(shape)
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._graph.input.append(helper.make_tensor_value_info(name, element, shape))

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        self.outputs[name] = tuple(shape)
        self._graph.output.append(helper.make_tensor_value_info(name, self.element, shape))

    def forward(self, layers: Sequence[Layer], wanted: Collection[str]) -> None:
        """Write those of the layers that `wanted` tensors need."""
        for layer in leading_to(layers, wanted):
            layer.emit(_Forward(self, layer))

    def finished(self, said: Mapping[str, str], description: str) -> bytes:
        """The file, of the lowest opset that has all its operators; said: its metadata."""
        self._graph.name, self.model.doc_string = "explainer", description
        self.model.producer_name = "mipin_ref"
        del self.model.metadata_props[:]
        helper.set_model_props(self.model, dict(said))
        lowered(self.model, self.least)
        written: bytes = self.model.SerializeToString(deterministic=True)
        return written


@dataclass(frozen=True, eq=False)
class _Forward:
    """Takes one layer as it is forward: see `Writer`."""

    document: Document
    layer: Layer

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        return self.document.weight(f"{self.layer.output}/{role}", value)

    def whole(self, role: str, *values: int) -> str:
        return self.document.constant(f"{self.layer.output}/{role}", np.array(values, np.int64))

    def inner(self, role: str) -> str:
        return self.document.tensor(f"{self.layer.output}/{role}")

    def append(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        # Names of the network's tensors are looked up, names of this file's own are not the network's.
        self.document.append(operator, [self._known(name) for name in inputs], self._known(output), **attributes)

    def several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.document.several(operator, [self._known(name) for name in inputs], outputs, **attributes)

    def node(self, operator: str, *constants: str, **attributes: Any) -> None:
        self.append(operator, [*self.layer.inputs, *constants], self.layer.output, **attributes)

    def _known(self, name: str) -> str:
        return self.document.tensor(name) if name in (*self.layer.inputs, self.layer.output) else name


@dataclass(frozen=True, eq=False)
class Back:
    """Takes the way back through one layer: see `BackWriter`.

    prefix: of names; recorded: where values lie; made: the layer's state, written when it is first asked for; blocks:
    the block of weights as a form makes it; won: where recorded switches lie, None where none are; signals: how many
    come back, one or two.
    """

    document: Document
    prefix: str
    recorded: Callable[[str], str]
    made: Callable[[], str]
    blocks: Callable[[Callable[[HostArray], HostArray]], str]
    won: Callable[[Switches], str] | None = None
    signals: int = 2

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        return self.document.inverse_weight(f"{self.prefix}/{role}", value)

    def whole(self, role: str, *values: int) -> str:
        return self.document.constant(f"{self.prefix}/{role}", np.array(values, np.int64))

    def single(self, role: str, *values: float) -> str:
        return self.document.constant(f"{self.prefix}/{role}", np.array(values, np.float32))

    def append(self, operator: str, inputs: Sequence[str], role: str, **attributes: Any) -> str:
        return self.document.append(operator, inputs, self.document.fresh(f"{self.prefix}/{role}"), **attributes)

    def block(self, form: Callable[[HostArray], HostArray]) -> str:
        return self.blocks(form)

    def value(self, tensor: str) -> str:
        return self.recorded(tensor)

    @property
    def portable(self) -> bool:
        return self.won is None

    def switches(self, form: Switches) -> str:
        assert self.won is not None
        return self.won(form)

    def ones(self, condition: str, role: str) -> str:
        return self.append("Cast", [condition], role, to=self.document.element)

    def state(self) -> str:
        return self.made()

    def times(self, signal: str, factor: str, shape: Shape, made: Shape | None = None) -> str:
        if self.signals == 1:
            return self.append("Mul", [signal, factor], "times")
        apart = self.append("Reshape", [signal, self.whole("two", 2, -1, *shape)], "two")
        masked = self.append("Mul", [apart, factor], "times")
        return self.append(
            "Reshape", [masked, self.whole("rows", -1, *(shape if made is None else made))], "times rows"
        )
