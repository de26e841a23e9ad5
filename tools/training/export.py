"""A trained network as one ONNX file, and how often that file is right."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from training.keras import scaled
from training.right import right_of

OPSET = 17
EVALUATION_BATCH = 500


def repeatable(threads: int) -> None:
    """Make torch repeat itself. Sums are split between threads, so that their number is part of a run."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def export(model: Any, input_shape: tuple[int, ...], *, fold: bool = True) -> bytes:
    """Write the model in evaluation mode, softmax as its last node, as one ONNX file free of source locations.

    fold: put batch norms into the convolutions before them; otherwise they stay nodes of their own.
    """
    exported = nn.Sequential(OrderedDict([*model.named_children(), ("softmax", nn.Softmax(dim=1))])).eval()
    buffer = io.BytesIO()
    # The TorchScript exporter needs no onnxscript and keeps Flatten and Gemm as single nodes.
    torch.onnx.export(
        exported,
        (torch.zeros(1, *input_shape),),
        buffer,
        dynamo=False,
        opset_version=OPSET,
        input_names=["input"],
        output_names=["probabilities"],
        dynamic_axes={"input": {0: "N"}, "probabilities": {0: "N"}},
        # PRESERVE leaves the nodes as they are; what is exported is in evaluation mode either way.
        training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=fold,
    )
    proto = onnx.load_model_from_string(buffer.getvalue())
    # The exporter may note where in whose source tree a node was made; a published file should not say.
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.doc_string = ""
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def right_objects(model: bytes, x: NDArray[np.uint8], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which objects of images x [n, C, H, W] the exported file itself names, see `right_of`."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    right = []
    for start in range(0, len(x), EVALUATION_BATCH):
        batch = scaled(x[start : start + EVALUATION_BATCH])
        (probabilities,) = session.run(["probabilities"], {"input": batch})
        right.append(right_of(probabilities, y[start : start + EVALUATION_BATCH]))
    return np.concatenate(right)


def accuracy(model: bytes, x: NDArray[np.uint8], y: NDArray[np.int64]) -> float:
    """Measure the share of objects y [n] or [n, 2] of images x [n, C, H, W] that the exported file itself names."""
    return float(right_objects(model, x, y).mean())
