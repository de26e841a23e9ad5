"""ONNX -> Network: open, read, canonicalise, and check the result against onnxruntime on the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from mipin_ref.graph.canonical import canonical_chain
from mipin_ref.graph.network import Network
from mipin_ref.graph.open import Opened, open_model
from mipin_ref.graph.read import Read, read
from mipin_ref.graph.verify import verify


def load(source: str | Path | bytes | ModelProto, *, output: str | None = None, check: bool = True) -> Network:
    """Read an ONNX classifier into a Network.

    source: path, bytes or ModelProto; output: which of several outputs to explain; check: run the file and the
    canonical network once on random input and compare, so that a mistaken rewrite cannot go unseen.
    Raises InvalidData (no such file or output), CorruptFile (not ONNX, truncated, external data outside the model's
    folder), UnsupportedModel (naming every node that cannot be handled).
    """
    opened = open_model(source)
    found = read(opened, output)
    net = _network(opened, found)
    if check:
        verify(net, opened)
    return net


def _network(opened: Opened, found: Read) -> Network:
    chain = canonical_chain(found)
    return Network(
        layers=chain.layers,
        input=found.input,
        input_shape=found.input_shape,
        dtype=np.dtype(found.dtype),
        output_names=found.output_names,
        output=found.output,
        logits=chain.logits,
        aliases=chain.aliases,
        folded=chain.folded,
        sha256=opened.sha256,
        removed_softmax=chain.removed_softmax,
    )
