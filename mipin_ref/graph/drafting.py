"""From a model that is written in standard nodes to its draft: what is known of it beforehand is settled on the way."""

from __future__ import annotations

from dataclasses import replace

from onnx import ModelProto

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.canonical import refuse
from mipin_ref.graph.choices import choices_read
from mipin_ref.graph.conditions import Decided, inlined
from mipin_ref.graph.draft import Refused
from mipin_ref.graph.filled import fills_written_out
from mipin_ref.graph.fusions import SpelledOut
from mipin_ref.graph.limits import LOOPS, WRITTEN
from mipin_ref.graph.lone import Dropped, asked_once, samples_kept
from mipin_ref.graph.loops import Repeated, left_as_loops, turns_written_out
from mipin_ref.graph.masked import masks_written_out
from mipin_ref.graph.measure import Measure
from mipin_ref.graph.picked_rows import rows_written_out
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import Drafted, read
from mipin_ref.graph.sorted_samples import samples_as_they_came
from mipin_ref.graph.squeezed import rows_kept
from mipin_ref.graph.unrolled import rolled_up, stacks_joined

Found = tuple[ModelProto, Drafted, Measure]


def drafted_of(written: SpelledOut, output: str, bound: Bound) -> Found:
    """The draft, the model that it is of, without the Ifs whose condition and the Loops whose turns are known, and
    what measures its tensors.

    Nothing is run of a file that asks for more than it may. Where a file fixes its batch at one, nodes that drop the
    axis of the samples are read as they stand; where that leaves some without an inverse, those are written that keep
    it, if less is left then.
    """
    if bound.file_batch != 1:
        return _settled(written, output, bound, dropping=True)
    try:
        found = _settled(written, output, bound, dropping=False)
    except UnsupportedModel as failure:
        try:
            return _settled(written, output, bound, dropping=True)
        except UnsupportedModel:
            raise failure from None
    if not (found[1].problems and found[1].drops):
        return found
    try:
        other = _settled(written, output, bound, dropping=True)
    except UnsupportedModel:
        return found
    return min(found, other, key=lambda one: len(one[1].problems))


def _settled(written: SpelledOut, output: str, bound: Bound, *, dropping: bool) -> Found:
    """The same in one of both ways."""
    proto, reasons, loops, alone = written.proto, dict(written.reasons), 0, False
    most = proto.ByteSize() + WRITTEN
    while True:
        try:
            drafted = read(proto, output, bound, None, reasons, loops=True, dropping=dropping)
            measure = Measure(proto, bound)
            if drafted.problems and not drafted.too_large and measure.known:
                drafted = read(proto, output, bound, measure, reasons, loops=True, dropping=dropping)
            elif drafted.problems:
                refuse(drafted, None if drafted.too_large else measure.failure)
            if drafted.too_large:
                refuse(drafted)
            return proto, replace(drafted, alone=drafted.alone or alone), measure
        except Decided as decided:
            proto = pruned(inlined(proto, decided), output)
        except Dropped as dropped:
            loops += 1
            if loops <= LOOPS and (kept := samples_kept(proto, dropped)) is not None:
                proto, alone = pruned(kept, output), True
            else:
                reasons |= asked_once(proto, dropped, reasons)
        except Repeated as repeated:
            loops += 1
            if loops > LOOPS:
                reasons |= left_as_loops(proto)
                continue
            try:
                proto = plain(pruned(turns_written_out(proto, repeated, most), output))
            except Refused as reason:
                reasons[repeated.output] = str(reason)


def plain(proto: ModelProto) -> ModelProto:
    """The model in which choices, cells, masks and orders are as the reader reads them; itself where there are none."""
    cells = stacks_joined(rolled_up(rows_kept(choices_read(samples_as_they_came(proto)))))
    return fills_written_out(masks_written_out(rows_written_out(cells)))
