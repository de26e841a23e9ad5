"""onnxruntime sessions that compute what is written, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import onnxruntime

from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers import HostArray
from mipin_ref.text import first_line
from mipin_ref.threads import BLAS_THREADS


def session(
    model: bytes | str,
    threads: int | None = None,
    weights: Mapping[str, HostArray] | None = None,
    quick: bool = False,
    *,
    again: bool = False,
) -> onnxruntime.InferenceSession:
    """An onnxruntime session that computes what is written, in bounded memory.

    threads: as many as BLAS has where None; weights: that the model only names, which must live as long as the session.
    quick: take all of onnxruntime's optimisations: half the time on convolutional networks, for what is applied or only
    looked at. Else they are off: they change intermediates by 1e-6, and by what else is asked for. again: it runs often
    and takes little at a time, see `in_one_arena`; any other holds nothing between its runs. The log is off: whatever
    matters is raised. Raises UnsupportedModel where onnxruntime refuses the model: not every operator exists in every
    type.
    """
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if quick else level.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    if again:
        in_one_arena(options)
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = BLAS_THREADS.count if threads is None else threads
    if weights:
        # Where they lie already: in the model they would be copied once to write it, and again to read it.
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as failure:  # onnxruntime's own classes have no common base of their own.
        raise UnsupportedModel(f"onnxruntime cannot run the network: {runtime_reason(failure)}") from failure


def in_one_arena(options: onnxruntime.SessionOptions) -> None:
    """Let a session take what it computes in from one arena, which all such sessions of this process share. It grows
    by twice what it took before, and keeps what their runs took at most, up to twice that.

    What is taken of the C library and given back run by run is not always taken again: glibc before 2.38 leaves a gap
    at an aligned block, for which the next of the same size is too large, so that each run takes a block more until
    there is no memory. Blocks above 32 MB are mapped apart and are free of this.
    """
    _one_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")


@cache
def _one_arena() -> None:
    """Register it; where the caller's code has registered one, that is taken.

    Were it to grow by just what is asked for, it would keep a block of every size that runs ever took.
    """
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 0, "initial_chunk_size_bytes": 1 << 16})
    with suppress(RuntimeError):
        onnxruntime.create_and_register_allocator(place, settings)


def runtime_reason(failure: Exception | str) -> str:
    """What onnxruntime says, without its own number for it and without where in its sources it stands."""
    said = first_line(failure) if isinstance(failure, Exception) else failure.strip().partition("\n")[0]
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", said)
    return re.sub(r"\s*/\S+\.(cc|h):\d+ .*?\) (\[with .*?\] )?", " ", said)
