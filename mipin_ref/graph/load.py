"""ONNX -> Network: open, read, canonicalise, and check the result against onnxruntime on the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from mipin_ref.graph.canonical import canonical
from mipin_ref.graph.network import Network
from mipin_ref.graph.open import Opened, open_model
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import Read, choose_output, read
from mipin_ref.graph.verify import verify


def load(source: str | Path | bytes | ModelProto, *, output: str | None = None, check: bool = True) -> Network:
    """Read an ONNX classifier into a Network.

    source: path, bytes or ModelProto; output: which of several outputs to explain; check: run the file and the
    canonical network once on random input and compare, so that a mistaken rewrite cannot go unseen.
    Raises InvalidData (no such file or output), CorruptFile (not ONNX, truncated, external data outside the model's
    folder), UnsupportedModel (naming every node that cannot be handled).
    """
    opened = open_model(source)
    chosen = choose_output(opened.proto, output)
    needed = pruned(opened.proto, chosen)
    net = _network(opened, read(needed, chosen))
    if check:
        # The file itself where all of it is compared: external data may be larger than a serialised model can be, and
        # weights need not be held once more.
        as_it_is = needed is opened.proto and (opened.external or net.removed is None)
        original = opened.path if as_it_is and opened.path is not None else needed
        del opened, needed
        verify(net, original)
    return net


def _network(opened: Opened, found: Read) -> Network:
    rewritten = canonical(found)
    return Network(
        layers=rewritten.layers,
        input=found.input,
        input_shape=found.input_shape,
        dtype=np.dtype(found.dtype),
        output_names=tuple(value.name for value in opened.proto.graph.output),
        output=found.output,
        logits=rewritten.logits,
        aliases=rewritten.aliases,
        folded=rewritten.folded,
        sha256=opened.sha256,
        removed=rewritten.head,
    )
