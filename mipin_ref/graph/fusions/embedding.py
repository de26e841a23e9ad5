"""com.microsoft EmbedLayerNormalization: rows of tables by ids, their sum, and its normalisation."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.fusions.writer import Unwritten, Writer

INT32 = 6


def embed_layer_normalization(writer: Writer) -> None:
    """Words by ids [N, T], their places, and types where there are; of the mask [N, T] how many tokens are read."""
    writer.known("epsilon", "mask_index_type")
    ids, segments, words, places, types, scale, shift, mask, told = (writer.input(i) for i in range(9))
    if not told:
        told = writer.places(writer.length(ids, 1, "length"), "places")
    parts = [writer.node("Gather", words, ids, role="words", axis=0)]
    if segments:
        parts.append(writer.node("Gather", types, segments, role="types", axis=0))
    # The order in which BERT adds them: the last one is what shifts the tensor that is fitted.
    parts.append(writer.node("Gather", places, told, role="positions", axis=0))
    whole = parts[0]
    for number, part in enumerate(parts[1:], 2):
        last = number == len(parts)
        whole = writer.node("Add", whole, part, role=f"sum of {number}", out=writer.output(2) if last else "")
    epsilon = float(writer.attributes.get("epsilon", 1e-12))
    writer.node(
        "LayerNormalization", whole, scale, shift, role="output", out=writer.output(0), axis=-1, epsilon=epsilon
    )
    if writer.output(1):
        _count(writer, mask, writer.output(1), ids)


def _count(writer: Writer, mask: str, output: str, ids: str) -> None:
    """How many entries of the mask are one, [N], as onnxruntime counts them; zero where there is no mask."""
    if not int(writer.attributes.get("mask_index_type", 1)):
        raise Unwritten("it hands out a mask that is none, option 'mask_index_type'")
    one = writer.constant("one", np.array(1, np.int32))
    wide = writer.node("Cast", mask or ids, role="mask numbers", to=INT32)
    same = writer.node("Cast", writer.node("Equal", wide, one, role="ones"), role="counted", to=INT32)
    if not mask:
        same = writer.node("Sub", same, same, role="nothing")
    writer.over("ReduceSum", same, (1,), "length of mask", out=output, keepdims=0)
