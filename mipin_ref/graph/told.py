"""What a file tells of itself beside its graph: its metadata, and the names that its classes have in it."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from mipin_ref.text import printable

LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
"""Attributes of the operators of classical learners, and of ZipMap, that hold the names of the classes."""
LONGEST_TEXT = 4 << 20
"""Characters of a metadata entry that is kept."""


def metadata_of(proto: ModelProto) -> dict[str, str]:
    """The metadata of a file, text by key."""
    return {one.key: one.value for one in proto.metadata_props if len(one.value) <= LONGEST_TEXT}


def labels_of(proto: ModelProto, classes: int) -> tuple[str, ...]:
    """The names of so many classes that nodes of the file hold, as exported scikit-learn classifiers do; else none."""
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in reversed(proto.graph.node):
        for labels in _labels(node, stored):
            if len(labels) == classes:
                return tuple(printable(one) for one in labels)
    return ()


def _labels(node: NodeProto, stored: dict[str, TensorProto]) -> Iterator[list[str]]:
    for attribute in node.attribute:
        if attribute.name in LABELS:
            if attribute.strings:
                yield [text.decode("utf-8", "backslashreplace") for text in attribute.strings]
            elif attribute.ints:
                yield [str(number) for number in attribute.ints]
    if node.op_type == "ArrayFeatureExtractor" and node.input[0] in stored:
        values = numpy_helper.to_array(stored[node.input[0]]).ravel()
        if values.dtype.kind in "iuOSU":
            yield [one.decode("utf-8", "backslashreplace") if isinstance(one, bytes) else str(one) for one in values]
