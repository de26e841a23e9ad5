"""ONNX -> Network: open, read, canonicalise, and check the result against onnxruntime on the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from mipin_ref.errors import CorruptFile, InvalidData, MipinError, UnsupportedModel, shown
from mipin_ref.graph.bind import bind, left_open
from mipin_ref.graph.by_layer import Steps, verify_by_layer
from mipin_ref.graph.canonical import Canonical, canonical
from mipin_ref.graph.columns import with_joined_columns
from mipin_ref.graph.drafting import drafted_of, plain
from mipin_ref.graph.embeddings import embeddings
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.front import mixes
from mipin_ref.graph.fusions import spelled_out
from mipin_ref.graph.integer_file import file_itself, samples_a_run
from mipin_ref.graph.label import proposal
from mipin_ref.graph.lone_input import with_axis_of_samples
from mipin_ref.graph.measure import Measure
from mipin_ref.graph.network import Network
from mipin_ref.graph.open import Opened, open_model
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import Drafted, choose_output
from mipin_ref.graph.rescaled import divisor_of
from mipin_ref.graph.sequence_lengths import lengths_written_out
from mipin_ref.graph.stem import Stem, stem_of
from mipin_ref.graph.told import labels_of, metadata_of
from mipin_ref.graph.trial import SAMPLES, samples_that_fit
from mipin_ref.graph.tried_lengths import with_lengths_tried
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


def load(
    source: str | Path | bytes | ModelProto,
    *,
    output: str | None = None,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    given: Mapping[str, Any] | None = None,
    input: str | None = None,
    check: bool = True,
) -> Network:
    """Read an ONNX classifier into a Network.

    source: path, bytes or ModelProto; output: which of several outputs to explain; input_shape: sizes of a sample, by
    input, where the file leaves axes open; given: numbers or arrays that the other inputs are bound to, of length one
    along the samples where they have such an axis, and then meant for every sample; input: the explained one of several
    of which x holds values for each sample, a dict or .npz by name: the others are state, recorded along; check: run
    the file and the canonical network once on random input and compare, so that a mistaken rewrite cannot go unseen.
    Only what lies between the explained tensor and the logits needs an inverse: nodes in front that have none are run
    by onnxruntime as they are, and `blocked` of the network tells what they keep apart (method, section 2).
    Raises InvalidData (no such file, output or input, values that do not fit), CorruptFile (not ONNX, truncated,
    external data outside the model's folder), UnsupportedModel (naming every node that cannot be handled).

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> net.input_shape, net.head, len(net.layers)
    ((1, 28, 28), 'softmax', 9)
    """
    if output is not None and not isinstance(output, str):
        raise InvalidData(f"output is the name of one of the model's, not {shown(output)}")
    if input is not None and not isinstance(input, str):
        raise InvalidData(f"input is the name of one of the model's, not {shown(input)}")
    checked_flag("check", check)
    try:
        return _loaded(source, output, input_shape, given, input, check)
    except MipinError:
        raise
    except REFUSED_BY_OTHERS as error:
        # Nothing of the kind is known; but a file can hold anything, and a caller is promised a MipinError.
        name = repr(str(source)) if isinstance(source, str | Path) else "the model"
        raise CorruptFile(f"{name} cannot be read: {type(error).__name__}: {first_line(error)}") from error


def _loaded(
    source: str | Path | bytes | ModelProto,
    output: str | None,
    input_shape: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, Any] | None,
    explained: str | None,
    check: bool,
) -> Network:
    opened = with_joined_columns(open_model(source), input_shape, given, {explained: None})
    opened, single, given = with_axis_of_samples(opened, input_shape, given, output)
    chosen = _chosen(opened.proto, output, input_shape, given)
    needed = pruned(opened.proto, chosen)
    # Names are looked up among all inputs; what the output does not need may be given all the same.
    read_by_it = {value.name for value in needed.graph.input}
    bound = with_lengths_tried(bind(opened.proto, read_by_it, input_shape, given, explained), opened.proto)
    if bound.said:
        needed = pruned(opened.proto, chosen)
    try:
        written = spelled_out(needed)
        written = lengths_written_out(replace(written, proto=plain(written.proto)))
        drawn, drafted, measure = drafted_of(written, chosen, bound)
        net = _network(opened, drawn, drafted, measure)
        # What is written in another way is compared with the file as it is.
        needed = drawn if written.proto is needed and not (drafted.alone or _loops(needed)) else needed
        del written, drawn
    except UnsupportedModel as error:
        if error.nodes and (hint := proposal(opened.proto, chosen)):
            raise UnsupportedModel(f"{error}; {hint}", error.nodes) from error
        raise
    samples = samples_that_fit(drafted)
    if check and single is not None:
        single.check(opened.proto)
    if check:
        # The file itself where all of it is compared: external data may be larger than a serialised model can be, and
        # weights need not be held once more.
        as_it_is = needed is opened.proto and (opened.external or net.removed is None) and not bound.said
        original = opened.path if as_it_is and opened.path is not None else needed
        batch, half = bound.file_batch, half_precision(needed)
        layouts = {**drafted.layouts, drafted.output: drafted.layout}
        alone = 1 if drafted.alone else next((one.apart for one in (net.file, net.stem) if one is not None), None)
        steps = None if net.file is None else Steps(drafted.held, drafted.blurred, tuple(drafted.layers), bound)
        if net.file is not None:
            # An output held as integers, or made of such, is right to a step.
            half |= {net.output, *(() if net.removed is None else net.removed.sources)}
        if batch is not None and samples < batch:
            original = needed
            free_batch(needed, bound)
            samples = min(samples, SAMPLES)
        del opened, needed, drafted
        try:
            verify(
                net,
                original,
                bound,
                half=half,
                layouts=layouts,
                samples=samples,
                apart=alone,
            )
        except UnsupportedModel as error:
            if batch is None or isinstance(original, Path) or samples >= batch:
                raise
            raise UnsupportedModel(
                f"the file fixes its batch at {batch:,}, which is too much to check it with, and at {samples} {error}"
            ) from error
        if steps is not None:
            verify_by_layer(net, steps)
    return net


def _chosen(
    proto: ModelProto,
    output: str | None,
    input_shape: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, Any] | None,
) -> str:
    """The tensor to explain, as choose_output has it, whose errors are told together with what inputs leave open."""
    try:
        return choose_output(proto, output)
    except (InvalidData, UnsupportedModel) as error:
        missing = left_open(proto, [value.name for value in proto.graph.input], input_shape, given)
        if output is not None or not missing:
            raise
        raise type(error)(f"{error}; {missing}") from error


def _loops(proto: ModelProto) -> bool:
    return any(node.op_type == "Loop" for node in proto.graph.node)


def _network(opened: Opened, needed: ModelProto, drafted: Drafted, measure: Measure) -> Network:
    rewritten = canonical(drafted)
    reached, bound = rewritten.reached, drafted.bound
    stem = None
    if reached.sources:
        # Nodes without an inverse may show only here; asked for nothing, a file is not run.
        apart = measure.apart if reached.problems else None
        fed = {*bound.given, *bound.beside}
        layouts = {name: drafted.layouts[name] for name in reached.sources if name not in fed}
        stem = stem_of(needed, bound, layouts, apart, reached.work, measure)
        if apart is None and mixes(stem):
            stem = replace(stem, apart=1)
    file = _file(needed, drafted, rewritten, measure, stem)
    made = {layer.output for layer in reached.layers} - {rewritten.logits}
    own = {name for node in opened.proto.graph.node for name in node.output}
    # What stands in the place of one node is named after its output, and is none of the file's either.
    inner = {name for name in made - own if name not in drafted.names or name.rpartition(":")[0] in own}
    return Network(
        layers=reached.layers,
        input=bound.data,
        input_shape=bound.shape,
        dtype=np.dtype(bound.compute),
        output_names=tuple(value.name for value in opened.proto.graph.output),
        output=drafted.output,
        logits=rewritten.logits,
        target_shape=rewritten.target_shape,
        aliases=rewritten.aliases,
        folded=rewritten.folded,
        sha256=bound.digest(opened.sha256),
        removed=rewritten.head,
        sources=reached.sources,
        stem=stem,
        file=file,
        apart=reached.apart,
        hides=reached.hidden,
        above=reached.above,
        inner=frozenset(inner),
        embeddings=embeddings(needed, bound.data, reached.sources),
        problems=reached.problems,
        reads=bound.dtype if bound.whole else None,
        metadata=metadata_of(opened.proto),
        labels=labels_of(opened.proto, prod(rewritten.target_shape)),
        divides=divisor_of(opened.proto, bound.data),
    )


def _file(needed: ModelProto, drafted: Drafted, made: Canonical, measure: Measure, stem: Stem | None) -> Stem | None:
    """The file itself where it computes with integers, as far as it has the tensors of the layers; else None."""
    bound, reached = drafted.bound, made.reached
    if not drafted.held and not drafted.blurred:
        return None
    sources = {name for name in reached.sources if name not in {*bound.given, *bound.beside}}
    layers = {layer.output for layer in reached.layers} | sources | {bound.data} & drafted.held.keys()
    # What a range is taken of is asked for by the self-check alone.
    layers |= {one.tensor for one in drafted.blurred.values()} - {bound.data}
    known = {*drafted.held, *drafted.states, *(drafted.names & drafted.layouts.keys())}
    tensors = [name for name in layers if name in known]
    apart = measure.apart if reached.problems else None
    work = sum(layer.work for layer in drafted.layers)
    file = file_itself(needed, bound, tensors, drafted, apart, work)
    return file if apart is not None else replace(file, apart=samples_a_run(file))
