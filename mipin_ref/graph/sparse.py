"""Constants that a file holds as sparse: of a few bytes it declares any size, and some versions of onnxruntime write
them out as soon as they open it.
"""

from __future__ import annotations

from math import prod

from onnx import ModelProto

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.functions import all_nodes
from mipin_ref.graph.limits import CONSTANT


def check_sparse(proto: ModelProto) -> None:
    """Raises UnsupportedModel for a node with a sparse value of more elements than a constant may have."""
    for node in all_nodes(proto.graph.node):
        for attribute in node.attribute:
            count = prod(attribute.sparse_tensor.dims) if attribute.HasField("sparse_tensor") else 0
            if count > CONSTANT:
                raise UnsupportedModel(
                    f"{node.op_type} {node.name!r}: its value is sparse and has {count:,} elements, more than the "
                    f"{CONSTANT:,} of one constant"
                )
