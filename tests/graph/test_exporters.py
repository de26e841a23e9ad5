"""Files from real exporters: both of torch, skl2onnx, and tf2onnx's habits written by hand."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch, assert_keeps_values

torch = pytest.importorskip("torch")


@contextmanager
def exporter_warnings_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def mlp() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4), nn.Softmax(1)
    )


def detectors() -> Any:
    """Three detectors of one class each, joined."""
    nn = torch.nn

    class Detectors(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU())
            self.ends = nn.ModuleList(nn.Sequential(nn.Linear(16, 1), nn.Sigmoid()) for _ in range(3))

        def forward(self, x: Any) -> Any:
            x = self.body(x)
            return torch.cat([end(x) for end in self.ends], dim=1)

    return Detectors()


def sigmoid() -> Any:
    """One output [N]."""
    nn = torch.nn
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid(), nn.Flatten(0))


def cnn() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.Dropout2d(),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.GELU(),
        nn.Linear(8, 4),
    )


def branching() -> Any:
    """Normalised pixels, a residual block, a cell of four branches, a batch norm behind it, a shuffle, a mean."""
    nn = torch.nn

    class Branching(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
            self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.pooled = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            self.normalised = nn.BatchNorm2d(20)
            self.fewer = nn.AvgPool2d(3, 2, ceil_mode=True)
            self.head = nn.Linear(20, 4)

        def forward(self, x: Any) -> Any:
            x = self.stem((x - 0.4) / 0.3)
            x = torch.relu(self.block(x) + x)
            a, b = x.chunk(2, dim=1)
            x = torch.cat([self.left(a), self.right(b), self.pooled(x), x[:, 1:5]], dim=1)
            n, c, h, w = x.shape
            x = torch.relu(self.normalised(x)).view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
            x = self.fewer(nn.functional.pad(x, (1, 0, 1, 0), value=0.1))
            return self.head(x.mean((2, 3)))

    return Branching()


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp, cnn, branching, detectors, sigmoid])
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("free_batch", [False, True])
def test_torch(make: Any, dynamo: bool, free_batch: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make().train()
    with torch.no_grad():
        network(torch.randn(64, 3, 4, 4) * 2 + 1)  # moves the batch norm off its initial statistics
    network.eval()
    x = torch.randn(2 if free_batch else 1, 3, 4, 4)
    # From opset 20 on, both exporters write GELU as one operator.
    path = tmp_path / "model.onnx"
    options: dict[str, Any] = {
        "dynamo": dynamo,
        "input_names": ["image"],
        "output_names": ["scores"],
        "opset_version": 20,
    }
    if free_batch:
        named = {0: torch.export.Dim("batch")} if dynamo else {0: "batch"}
        options.update({"dynamic_shapes": (named,)} if dynamo else {"dynamic_axes": {"image": named}})
    with exporter_warnings_ignored():
        torch.onnx.export(network, (x,), str(path), verbose=False, **options)
    net = mr.load(path)
    data = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(data)).numpy()
    assert net.head == {mlp: "softmax", detectors: "sigmoid", sigmoid: "sigmoid"}.get(make)
    chances, scores = net.predict(data)
    np.testing.assert_allclose(scores if net.head is None else chances, expected.reshape(5, -1), atol=1e-5)


@pytest.mark.parametrize("make", [detectors, sigmoid, mlp])
def test_gradients_are_those_in_front_of_the_head(make: Any, tmp_path: Path) -> None:
    """torch's own, of log-odds, and of log-probabilities but for what all classes share."""
    torch.manual_seed(1)
    network, x = make().eval().double(), torch.randn(4, 3, 4, 4, dtype=torch.float64)
    with exporter_warnings_ignored():
        torch.onnx.export(
            network,
            (x[:1],),
            str(tmp_path / "model.onnx"),
            dynamo=False,
            dynamic_axes={"x": {0: "n"}},
            input_names=["x"],
        )
    net = mr.load(tmp_path / "model.onnx")
    given = x.clone().requires_grad_(True)
    chances = network(given).reshape(4, -1)
    scores = torch.logit(chances) if net.head == "sigmoid" else torch.log(chances)
    reference = scores[:, 0] if net.head == "softmax" else 0 * scores[:, 0]
    for target in range(1 if net.head == "softmax" else 0, net.classes):
        (wanted,) = torch.autograd.grad((scores[:, target] - reference).sum(), given, retain_graph=True)
        found = mr.attribute(net, x.numpy(), target, "gradient").attribution
        if net.head == "softmax":
            found = found - mr.attribute(net, x.numpy(), 0, "gradient").attribution
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-7, atol=1e-9)


def test_torch_writes_to_memory() -> None:
    buffer = io.BytesIO()
    with exporter_warnings_ignored():
        torch.onnx.export(torch.nn.Linear(4, 3), (torch.randn(1, 4),), buffer, dynamo=False)
    assert [layer.kind for layer in mr.load(buffer.getvalue()).layers] == ["Dense"]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_scikit_learn(classes: int, zipmap: bool | str, activation: str) -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    skl2onnx = pytest.importorskip("skl2onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5)).astype(np.float32)
    labels = rng.integers(0, classes, 60)
    model = neural_network.MLPClassifier((7, 4), activation=activation, max_iter=5, random_state=0)
    with exporter_warnings_ignored():
        model.fit(x, labels)
        proto = skl2onnx.to_onnx(model, x[:1], options={"zipmap": zipmap})
    net = mr.load(proto)
    chances, scores = net.predict(x)
    assert scores.shape == (60, classes)
    # The Sigmoid of one output is written out as [1 - p, p].
    assert net.head == ("sigmoid" if classes == 2 else "softmax")
    np.testing.assert_allclose(chances, model.predict_proba(x), atol=1e-5)
    assert "label" in net.output_names[0]


def test_scikit_learn_multi_label() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    skl2onnx = pytest.importorskip("skl2onnx")
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((60, 5)).astype(np.float32), rng.integers(0, 2, (60, 3))
    model = neural_network.MLPClassifier((7, 4), max_iter=5, random_state=0)
    with exporter_warnings_ignored():
        model.fit(x, labels)
        proto = skl2onnx.to_onnx(model, x[:1], options={"zipmap": False})
    net = mr.load(proto)
    assert net.head == "sigmoid"
    np.testing.assert_allclose(net.predict(x)[0], model.predict_proba(x), atol=1e-5)


def test_scikit_learn_name_of_the_single_logit_is_not_kept() -> None:
    """The file's one logit became two, so its name no longer stands for what the file holds under it."""
    sketch = Sketch(4)
    single = sketch.dense("x", 4, 1)
    p = sketch.node("Sigmoid", single)
    both = sketch.node("Concat", sketch.node("Sub", sketch.const([1.0]), p), p, axis=1)
    net = mr.load(sketch.model(both))
    assert net.classes == 2
    with pytest.raises(mr.InvalidData, match="folded"):
        net.tensor(single)


def test_tf2onnx_habits() -> None:
    """Transpose in front, Mul + Add as batch norm, SAME padding, Transpose and Reshape before MatMul + Add."""
    sketch = Sketch(6, 6, 2, opset=11)
    nchw = sketch.node("Transpose", "x", perm=[0, 3, 1, 2])
    mixed = sketch.node("Conv", nchw, sketch.normal(3, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    scaled = sketch.node("Mul", mixed, sketch.positive(1, 3, 1, 1))
    fired = sketch.node("Relu", sketch.node("Add", scaled, sketch.normal(1, 3, 1, 1)))
    nhwc = sketch.node("Transpose", sketch.node("MaxPool", fired, kernel_shape=[2, 2]), perm=[0, 2, 3, 1])
    flat = sketch.node("Reshape", nhwc, sketch.ints(-1, 12))
    product = sketch.node("MatMul", flat, sketch.normal(12, 3))
    net = assert_keeps_values(
        sketch.model(sketch.node("Softmax", sketch.node("Add", product, sketch.normal(3)), axis=1))
    )
    kinds = [layer.kind for layer in net.layers]
    assert kinds == ["Transpose", "Conv", "Activation", "MaxPool", "Transpose", "Reshape", "Dense"]
