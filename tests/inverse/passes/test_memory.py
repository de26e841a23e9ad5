"""What a fit holds stays within `memory`: the kinds that hold state or tokens, and what runs in front of the layers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.data.peak import peak_of
from tests.networks import to_onnx
from tests.networks.dead import ONE, THREE, Made
from tests.oracles.spec import Add, ConvTranspose, Extremum, Gate, Gather, GlobalAveragePool, Resize, Slice, window

SHAPE = (8, 32, 32)
SAMPLES, MEMORY = 400, 64_000_000
"""The values of one tensor alone are 13 MB in single precision, and a fit that kept all of these networks' would not
stay within the memory.
"""


def gated(b: Made) -> None:
    x = b.act(b.conv("input", 6, THREE))
    gate = b.act(b.conv(x, 6, ONE), "Sigmoid")
    b.act(b.conv(b.add(Gate((b.conv(x, 6, ONE), gate), b.name())), 6, THREE))


def largest(b: Made) -> None:
    parts = [b.conv("input", 6, THREE) for _ in range(3)]
    b.act(b.conv(b.add(Extremum(tuple(parts), b.name(), "Max")), 6, THREE))


def normed(b: Made) -> None:
    x = b.act(b.norm(b.conv("input", 6, THREE), (1, 2, 3), 1, groups=2))
    b.act(b.conv(b.norm(b.conv(x, 6, ONE), (2, 3), 1), 6, ONE))


def tokens(b: Made) -> None:
    t = b.to_tokens(b.conv("input", 4, ONE))
    t = b.add(Add((t, b.tokens(b.act(b.tokens(b.norm(t, (2,), 2), 12)), 4)), b.name()))
    t = b.norm(t, (2,), 2)
    b.reshaped(b.act(b.tokens(t, 4)), (1024, 4, 1))


def enlarged(b: Made) -> None:
    x = b.act(b.conv("input", 4, ONE))
    x = b.add(Slice((x,), b.name(), (0, 0, 0), (4, 16, 16)))
    x = b.act(b.add(Resize((x,), b.name(), (32, 32), "linear")))
    x = b.add(Gather((x,), b.name(), (None, tuple(range(0, 32, 2)), tuple(range(1, 32, 2)))))
    b.act(b.add(ConvTranspose((x,), b.name(), b.normal((4, 6, 2, 2), 0.5), None, (2, 2))))


def patches(b: Made) -> None:
    """The regressors of all 64 taps together would have sums of 105 MB."""
    b.act(b.conv("input", 40, window((8, 8), (8, 8))))


MADE = (gated, largest, normed, tokens, enlarged, patches)
BODIES: dict[str, Callable[[Made], None]] = {one.__name__: one for one in MADE}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm"), [*((name, "affine") for name in BODIES), ("normed", "sigma"), ("tokens", "sigma")]
)
def test_a_fit_stays_within_its_memory(name: str, norm: str) -> None:
    b = Made(0, SHAPE)
    BODIES[name](b)
    pooled = b.add(GlobalAveragePool((b.last,), b.name()))
    b.dense(b.flat(pooled), 3)
    net = mr.load(to_onnx(b.ops, SHAPE))
    x = np.random.default_rng(0).standard_normal((SAMPLES, *SHAPE), np.float32)
    mr.fit(net, x[:4], 1, norm=norm, memory=MEMORY)  # type: ignore[call-overload]
    peak = peak_of(lambda: mr.fit(net, x, 1, norm=norm, memory=MEMORY))  # type: ignore[call-overload]
    assert peak < 1.1 * MEMORY, f"{peak / 1e6:.0f} MB"


def wide_in_front() -> ModelProto:
    """A Resize of a map to 512×512, sines of it, and their mean over blocks, in front of a Conv."""
    rng = np.random.default_rng(0)
    constants = {
        "scales": np.array([1, 1, 64, 64], np.float32),
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(4, 3)).astype(np.float32),
        "shape": np.array([0, -1]),
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Sin", ["large"], ["sines"]),
        helper.make_node("AveragePool", ["sines"], ["small"], kernel_shape=[64, 64], strides=[64, 64]),
        helper.make_node("Cos", ["small"], ["waves"]),
        helper.make_node("Conv", ["waves", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Reshape", ["g", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


RUN = """
import json, sys
from pathlib import Path
import numpy as np
import mipin_ref as mr

def told(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))

net, memory = mr.load(sys.argv[1]), int(sys.argv[2])
x = np.random.default_rng(0).standard_normal((100, 1, 8, 8), np.float32)
mr.fit(net, x[:2], 1, at="waves", memory=memory)
Path("/proc/self/clear_refs").write_text("5")  # the highest is what is held now
before = told("VmRSS")
inv = mr.fit(net, x, 1, at="waves", memory=memory)
print(json.dumps([inv.plan.explained, told("VmHWM") - before]))
"""


@pytest.mark.slow
def test_what_runs_in_front_of_the_layers_is_within_the_memory(tmp_path: Path) -> None:
    """onnxruntime's own: 2 MB a sample in single precision, so that 100 samples at once would take 200 MB."""
    file, memory = tmp_path / "model.onnx", 64_000_000
    file.write_bytes(wide_in_front().SerializeToString())
    net = mr.load(file)
    assert net.stem is not None
    assert net.stem.room >= 2 * 8 * 512 * 512
    done = subprocess.run([sys.executable, "-c", RUN, str(file), str(memory)], capture_output=True, check=True)
    explained, grown = json.loads(done.stdout.splitlines()[-1])
    assert explained == "waves"
    assert grown < memory, f"{grown / 1e6:.0f} MB"
