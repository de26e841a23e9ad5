"""A batch goes through onnxruntime a few samples at a time, and comes out as if it had gone as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import mipin_ref as mr
from mipin_ref.graph import runs
from mipin_ref.graph.emit import emit, switches_of
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.runs import samples_a_run
from tests.graph.sketch import Sketch

COUNT = 7


@pytest.fixture
def net() -> mr.Network:
    sketch = Sketch(2, 8, 8)
    fired = sketch.node("Relu", sketch.conv("x", 2, 3, out="mixed"), out="fired")
    pooled = sketch.node("MaxPool", fired, kernel_shape=[2, 2], strides=[2, 2], out="pooled")
    again = sketch.node("MaxPool", pooled, kernel_shape=[2, 2], strides=[1, 1], out="again")
    return mr.load(sketch.model(sketch.dense(sketch.node("Flatten", again, out="flat"), 12, 3)))


def images(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 2, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 3, COUNT - 1, COUNT])
@pytest.mark.parametrize("threads", [1, 2])
def test_values_and_switches_are_those_of_one_run(
    net: mr.Network, size: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switches are counted over the samples of a run: those of later runs must go on from there."""
    wanted, pools = ["fired", "again", net.logits], ["pooled", "again"]
    alone = onnxruntime.InferenceSession(
        emit(net, wanted, pools).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [*wanted, *map(switches_of, pools)]
    expected = dict(zip(names, alone.run(names, {"x": images()}), strict=True))
    monkeypatch.setattr("mipin_ref.graph.forward.samples_a_run", lambda layers, itemsize: size)
    record = Recorder(net, wanted, pools, threads=threads)(images())
    for name in wanted:
        np.testing.assert_allclose(record.values[name], expected[name], rtol=1e-5, atol=1e-6)
    for name in pools:
        np.testing.assert_array_equal(record.switches[name], expected[switches_of(name)])


@pytest.mark.parametrize("name", ["clutter_resnet", "clutter_vgg"])
def test_optimised_runs_of_any_size_tell_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, on any number of threads: which values fired must not hang on what else is explained along."""
    folder = Path("models_onnx") / name
    net = mr.load(folder / "model.onnx")
    with np.load(folder / "calibration.npz") as data:
        x = data["x"][:5].astype(np.float32) / 255
    wanted = [layer.output for layer in net.layers]
    expected = Recorder(net, wanted, quick=True, threads=1)(x)
    plain = Recorder(net, wanted, threads=1)(x)
    for size, threads in (1, 1), (3, 1), (2, 2), (5, 2):
        monkeypatch.setattr("mipin_ref.graph.forward.samples_a_run", lambda layers, itemsize, size=size: size)
        found = Recorder(net, wanted, quick=True, threads=threads)(x)
        for tensor in wanted:
            np.testing.assert_array_equal(found.values[tensor], expected.values[tensor])
    for tensor in wanted:
        # 16 eps of float32 a tensor, as sums of hundreds of products are put together in another order.
        error = np.abs(expected.values[tensor] - plain.values[tensor]).max()
        assert error <= 2e-6 * np.abs(plain.values[tensor]).max()


def test_a_run_is_as_large_as_the_caches_are(net: mr.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    # The widest layer is the Conv: 2 x 8 x 8 in and 3 x 6 x 6 out.
    monkeypatch.setattr(runs, "RUN_BYTES", 5 * (2 * 64 + 3 * 36) * 4)
    assert samples_a_run(net.layers, 4) == 5
    monkeypatch.setattr(runs, "RUN_BYTES", 1)
    # However little may be held: one sample, or as many as are worth reading the weights for.
    assert samples_a_run(net.layers[:1], 4) == 1
    heavy = Sketch(50)
    dense = mr.load(heavy.model(heavy.dense(heavy.dense("x", 50, 40), 40, 3)))
    numbers = (50 * 40 + 40 + 40 * 3 + 3) / (50 + 40 + 40 + 3)
    assert samples_a_run(dense.layers, 4) == int(np.ceil(numbers))


GROWING = """
import numpy as np
import subprocess
import sys
from pathlib import Path
from onnx import TensorProto, helper, numpy_helper
from mipin_ref.graph.runtime import session

def held():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

w = numpy_helper.from_array(np.ones((16, 4096), np.float32), "w")
nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["b"])]
nodes.append(helper.make_node("ReduceMean", ["b"], ["y"], axes=[1]))
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]) for name in "xy"]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [w])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
run = session(model.SerializeToString(), threads=1, again=True)
x, before = np.ones((256, 16), np.float32), held()
for count in range(1, 257):
    run.run(None, {"x": x[:count]})
print(held() - before)
"""


@pytest.mark.slow
def test_runs_of_growing_batches_keep_what_the_largest_takes() -> None:
    """8 MB of two tensors, and up to as much again in front of them; a block of each size would be 500 MB in all."""
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, check=True)
    assert int(done.stdout) < 40e6
