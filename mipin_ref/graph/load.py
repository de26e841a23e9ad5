"""ONNX -> Network: open, read, canonicalise, and check the result against onnxruntime on the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from mipin_ref.errors import CorruptFile, InvalidData, MipinError, UnsupportedModel, shown
from mipin_ref.graph.canonical import canonical
from mipin_ref.graph.network import Network
from mipin_ref.graph.open import Opened, open_model
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import Drafted, choose_output, read
from mipin_ref.graph.trial import SAMPLES, free_batch, samples_that_fit
from mipin_ref.graph.verify import half_precision, verify
from mipin_ref.options import checked_flag
from mipin_ref.text import first_line

REFUSED_BY_OTHERS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the libraries that a file passes through raise on content that none of them foresaw."""


Model = str | Path | bytes | ModelProto
"""What `load` takes."""


def as_network(model: Network | Model) -> Network:
    """A Network as it is, and anything else loaded. Raises what `load` does."""
    return model if isinstance(model, Network) else load(model)


def load(source: str | Path | bytes | ModelProto, *, output: str | None = None, check: bool = True) -> Network:
    """Read an ONNX classifier into a Network.

    source: path, bytes or ModelProto; output: which of several outputs to explain; check: run the file and the
    canonical network once on random input and compare, so that a mistaken rewrite cannot go unseen.
    Raises InvalidData (no such file or output), CorruptFile (not ONNX, truncated, external data outside the model's
    folder), UnsupportedModel (naming every node that cannot be handled).
    """
    if output is not None and not isinstance(output, str):
        raise InvalidData(f"output is the name of one of the model's, not {shown(output)}")
    checked_flag("check", check)
    try:
        return _loaded(source, output, check)
    except MipinError:
        raise
    except REFUSED_BY_OTHERS as error:
        # Nothing of the kind is known; but a file can hold anything, and a caller is promised a MipinError.
        name = repr(str(source)) if isinstance(source, str | Path) else "the model"
        raise CorruptFile(f"{name} cannot be read: {type(error).__name__}: {first_line(error)}") from error


def _loaded(source: str | Path | bytes | ModelProto, output: str | None, check: bool) -> Network:
    opened = open_model(source)
    chosen = choose_output(opened.proto, output)
    needed = pruned(opened.proto, chosen)
    drafted = read(needed, chosen)
    if drafted.problems:
        return _network(opened, drafted)
    samples = samples_that_fit(drafted)
    net = _network(opened, drafted)
    if check:
        # The file itself where all of it is compared: external data may be larger than a serialised model can be, and
        # weights need not be held once more.
        as_it_is = needed is opened.proto and (opened.external or net.removed is None)
        original = opened.path if as_it_is and opened.path is not None else needed
        batch, axis, half = drafted.file_batch, drafted.batch_axis, half_precision(needed)
        if batch is not None and samples < batch:
            original = needed
            free_batch(needed)
            samples = min(samples, SAMPLES)
        del opened, needed, drafted
        try:
            verify(net, original, half=half, batch_axis=axis, samples=samples)
        except UnsupportedModel as error:
            if batch is None or isinstance(original, Path) or samples >= batch:
                raise
            raise UnsupportedModel(
                f"the file fixes its batch at {batch:,}, which is too much to check it with, and at {samples} {error}"
            ) from error
    return net


def _network(opened: Opened, drafted: Drafted) -> Network:
    rewritten = canonical(drafted)
    return Network(
        layers=rewritten.layers,
        input=drafted.input,
        input_shape=drafted.input_shape,
        dtype=np.dtype(drafted.dtype),
        output_names=tuple(value.name for value in opened.proto.graph.output),
        output=drafted.output,
        logits=rewritten.logits,
        aliases=rewritten.aliases,
        folded=rewritten.folded,
        sha256=opened.sha256,
        removed=rewritten.head,
    )
