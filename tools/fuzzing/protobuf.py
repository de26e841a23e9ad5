"""Mutations of protobuf messages, field by field: what comes out is a well-formed message that says something else."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    64,
    255,
    1199,
    8000,
    65536,
    2**20,
    2**31 - 1,
    2**40,
    10**12,
    2**63 - 1,
    -(2**63),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e30, 3e38, -3e38, float("inf"), float("-inf"), float("nan"))
OPERATORS = [
    "Relu",
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Flatten",
    "Reshape",
    "Transpose",
    "Concat",
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "Identity",
    "Dropout",
    "BatchNormalization",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Clip",
    "Pad",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Neg",
    "Abs",
    "Sqrt",
    "Exp",
    "Tanh",
    "Erf",
    "ReduceMean",
    "ReduceSum",
    "Sum",
    "Gather",
    "Split",
    "Constant",
    "ConstantOfShape",
    "Shape",
    "Expand",
    "Tile",
    "LRN",
    "Resize",
    "ConvTranspose",
    "If",
    "Loop",
    "Range",
]

Message = Any


def mutate(random: Random, message: Message) -> None:
    """One to four fields anywhere inside hold something else."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        inside = _messages(message)
        _mutate_field(random, random.choice(inside), inside)


def _messages(message: Message) -> list[Message]:
    """The message and all those in it, tensors' data left out."""
    messages, left = [], [message]
    while left:
        one = left.pop()
        messages.append(one)
        for field, value in one.ListFields():
            if field.type == field.TYPE_MESSAGE:
                left.extend(value if field.is_repeated else [value])
    return messages


def _mutate_field(random: Random, message: Message, inside: list[Message]) -> None:
    there = message.ListFields()
    if not there or random.random() < 0.1:
        field = random.choice(list(message.DESCRIPTOR.fields))
        value = getattr(message, field.name)
    else:
        field, value = random.choice(there)
    if field.is_repeated:
        _mutate_repeated(random, field, value)
    elif random.random() < 0.15:
        message.ClearField(field.name)
    elif field.type == field.TYPE_MESSAGE:
        same = [one for one in inside if one.DESCRIPTOR is value.DESCRIPTOR]
        if same:
            value.CopyFrom(deepcopy(random.choice(same)))  # it may be one that holds this field
    else:
        setattr(message, field.name, _scalar(random, field, value, inside))


def _mutate_repeated(random: Random, field: Any, values: Any) -> None:
    what = random.random()
    if len(values) and what < 0.25:
        del values[random.randrange(len(values))]
    elif len(values) and what < 0.45:
        one = random.choice(list(values))
        values.append(one) if field.type != field.TYPE_MESSAGE else values.add().CopyFrom(one)
    elif len(values) > 1 and what < 0.6:
        order = [*values]
        random.shuffle(order)
        kept = [type(one)() for one in order] if field.type == field.TYPE_MESSAGE else order
        if field.type == field.TYPE_MESSAGE:
            for copy, one in zip(kept, order, strict=True):
                copy.CopyFrom(one)
        del values[:]
        values.extend(kept)
    elif field.type == field.TYPE_MESSAGE:
        values.add()
    elif len(values) and what < 0.9:
        at = random.randrange(len(values))
        values[at] = _scalar(random, field, values[at], [])
    else:
        values.append(_scalar(random, field, None, []))


def _scalar(random: Random, field: Any, value: Any, inside: list[Message]) -> Any:
    if field.type == field.TYPE_STRING or field.type == field.TYPE_BYTES:
        text = _text(random, value, inside)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return random.choice(FLOATS)
    if field.type == field.TYPE_ENUM:
        return random.choice([one.number for one in field.enum_type.values])
    if field.type == field.TYPE_BOOL:
        return not value
    number = random.choice(INTEGERS) if random.random() < 0.7 else (value or 0) + random.choice((-2, -1, 1, 2))
    low, high = {
        field.TYPE_INT32: (-(2**31), 2**31 - 1),
        field.TYPE_UINT32: (0, 2**32 - 1),
        field.TYPE_UINT64: (0, 2**64 - 1),
    }.get(field.type, (-(2**63), 2**63 - 1))
    return min(max(number, low), high)


def _text(random: Random, value: Any, inside: list[Message]) -> str:
    what = random.random()
    if what < 0.4:
        return random.choice(OPERATORS)
    if what < 0.85:
        names = [one.name for one in inside if "name" in one.DESCRIPTOR.fields_by_name and one.name]
        names += [name for one in inside if one.DESCRIPTOR.name == "NodeProto" for name in (*one.input, *one.output)]
        if names:
            return str(random.choice(names))
    return random.choice(
        ("", "x", "\x1b[31m", "ai.onnx.ml", "com.microsoft", "é" * 40, "a" * 3000, "SAME_UPPER", "VALID")
    )
