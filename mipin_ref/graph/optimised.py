"""A session of onnxruntime with all its optimisations, for what is computed of recorded values alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnxruntime

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Document
from mipin_ref.graph.emit import IR_VERSION, OPSET
from mipin_ref.graph.runs import run_together
from mipin_ref.graph.runtime import in_one_arena, runtime_reason
from mipin_ref.layers import HostArray, Shape
from mipin_ref.threads import BLAS_THREADS

LET_GO = onnxruntime.RunOptions()
LET_GO.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")


class Optimised:
    """One open session. What it is given and returns lies where it lay: nothing is copied.

    Its intermediates differ from what is written by rounding, so nothing that is decided by a comparison with zero may
    be computed in it of anything but what it is given. weight_bytes: what its constants take.
    """

    def __init__(
        self, document: Document, beside: Mapping[str, HostArray], threads: int, *, arena: bool = True
    ) -> None:
        """arena: whether what it takes to compute stays with it, for its next run; else it takes of what all share."""
        model = document.model
        del model.opset_import[:]
        model.opset_import.add(domain="", version=OPSET)
        model.ir_version, model.graph.name = IR_VERSION, "way back"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = arena
        if not arena:
            in_one_arena(options)
        self._beside = dict(beside)  # must live as long as the session
        self.weight_bytes = document.bytes + sum(one.nbytes for one in beside.values())
        if beside:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in beside.values()]
            options.add_external_initializers(list(beside), values)
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as failure:  # onnxruntime's own classes have no common base of their own.
            raise UnsupportedModel(f"onnxruntime cannot open the way back: {runtime_reason(failure)}") from failure

    def __call__(self, outputs: Sequence[str], feed: Mapping[str, HostArray], *, last: bool) -> list[HostArray]:
        """The outputs. last: whether what was taken to compute is let go, which is taken anew then in the next run."""
        try:
            made: list[HostArray] = self._session.run(list(outputs), dict(feed), LET_GO if last else None)
        except Exception as failure:  # as above
            raise UnsupportedModel(f"onnxruntime cannot run the way back: {runtime_reason(failure)}") from failure
        return made

    def in_runs(self, output: str, shape: Shape, feed: Mapping[str, HostArray], size: int) -> HostArray:
        """One output [n, *shape], at most `size` samples a run, and runs beside one another on all threads."""
        count, threads = len(next(iter(feed.values()))), BLAS_THREADS.count
        size = min(size, -(-count // threads))
        try:
            return run_together(self._session, {output: shape}, feed, size, {}, threads)[0]
        except Exception as failure:  # as above
            raise UnsupportedModel(f"onnxruntime cannot run the way back: {runtime_reason(failure)}") from failure
