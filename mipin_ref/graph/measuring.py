"""A program of its own: runs a file that nobody vouches for, and tells the shapes of its tensors.

onnxruntime can end the process that asks it, by a fault of its own or for want of memory; here that is this one's end.
Called with a folder that holds model.onnx, the names of its tensors and inputs, and the inputs of each run, N.npz, in
this order; writes told.json there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")

ROOM = 6 << 30
"""Bytes beyond what the program itself takes."""


def main(folder: Path) -> None:
    _limit(ROOM + 8 * (folder / "model.onnx").stat().st_size)
    proto = onnx.load(folder / "model.onnx")
    names, inputs = (json.loads((folder / f"{what}.json").read_text()) for what in ("names", "inputs"))
    try:
        types = {value.name: value.type for value in _session(_offering(proto, names)).get_outputs()}
    except Exception as error:  # whatever onnxruntime raises of a file that it does not take
        told: dict[str, Any] = {"names": [], "floating": [], "runs": {}, "failure": str(error)}
        (folder / "told.json").write_text(json.dumps(told))
        return
    names = [name for name in names if types.get(name, "").startswith("tensor(")]
    shapes = [f"{name}:shape" for name in names]
    runtime = _session(_offering(proto, shapes, [helper.make_node("Shape", [n], [f"{n}:shape"]) for n in names]))
    known = {value.name for value in runtime.get_inputs()}
    runs: dict[str, list[list[int]] | None] = {}
    failure = None
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            feed = {name: stored[f"arr_{i}"] for i, name in enumerate(inputs) if name in known}
        try:
            runs[path.stem] = [[int(d) for d in shape] for shape in runtime.run(shapes, feed)]
        except Exception as error:  # whatever onnxruntime raises of a batch that the file does not have
            runs[path.stem], failure = None, failure or str(error)
    floating = [types[name] in FLOATS for name in names]
    told = {"names": names, "floating": floating, "runs": runs, "failure": failure}
    (folder / "told.json").write_text(json.dumps(told))


def _limit(room: int) -> None:
    try:
        import resource
    except ImportError:  # where there is none, the system's own limits hold
        return
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # a system that does not tell
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + room if most == resource.RLIM_INFINITY else min(used + room, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _offering(proto: ModelProto, outputs: list[str], nodes: list[onnx.NodeProto] | None = None) -> bytes:
    """The model with these outputs, and further nodes."""
    small = ModelProto()
    small.CopyFrom(proto)
    small.graph.node.extend(nodes or [])
    del small.graph.output[:]
    small.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    return bytes(small.SerializeToString())


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
