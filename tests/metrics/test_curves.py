"""Deletion and insertion against loops that change one pixel at a time and run one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import helper
from scipy.special import softmax

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder, logits
from tests.explain.photographs import SIDE
from tests.explain.test_whole_pixels import of_integers
from tests.graph.sketch import Sketch
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.oracles.curves import blurred, pixel_curve
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape, Transpose

Array = npt.NDArray[Any]

SIZE = (5, 6)
RNG = np.random.default_rng(7)
WEIGHTS = RNG.standard_normal((4, 3, 3, 3)) / 3, RNG.standard_normal((48, 3)) / 3
IMAGES = RNG.standard_normal((4, 3, *SIZE)).astype(np.float32)
MAPS = np.round(RNG.standard_normal((4, *SIZE)) * 3)
TARGETS = np.array([2, 0, 1, 2])


def coloured(*, last: bool = False) -> mr.Network:
    """Conv -> Relu -> Dense on three channels, which come first or last."""
    ops: list[Op] = [
        Conv(("turned" if last else "input",), "conv", WEIGHTS[0]),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (48,)),
        Dense(("flat",), "scores", WEIGHTS[1], bias=np.array([0.1, 0.2, 0.3])),
    ]
    if last:
        ops.insert(0, Transpose(("input",), "turned", (0, 3, 1, 2)))
    return mr.load(to_onnx(ops, (*SIZE, 3) if last else (3, *SIZE)))


def measure(kind: str) -> Any:
    return getattr(mr.metrics, kind)


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize("output", ["probability", "logit"])
@pytest.mark.parametrize("fill", [0.25, (0.5, -1.0, 2.0), "blur"])
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_agrees_with_loops(kind: str, output: str, fill: Any, steps: int) -> None:
    net = coloured()
    measured = measure(kind)(net, IMAGES, MAPS, TARGETS, fill=fill, steps=steps, output=output, batch_size=4)
    counts = [k * 30 // steps for k in range(steps + 1)]
    np.testing.assert_allclose(measured.fractions, np.array(counts) / 30, rtol=1e-15)
    for number, image in enumerate(IMAGES.astype(np.float64)):
        filled = blurred(image) if fill == "blur" else np.zeros(image.shape) + np.reshape(fill, (-1, 1, 1))
        curve, area = pixel_curve(
            lambda one: logits(net, one[None].astype(np.float32))[0],
            image,
            MAPS[number],
            int(TARGETS[number]),
            counts,
            filled,
            insert=kind == "insertion",
            probability=output == "probability",
        )
        np.testing.assert_allclose(measured.scores[number], curve, rtol=1e-5, atol=1e-6)
        assert measured.auc[number] == pytest.approx(area, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(measured.curve, measured.scores.mean(axis=0), rtol=1e-12)
    assert measured.mean == pytest.approx(measured.auc.mean(), rel=1e-12)
    assert (measured.kind, measured.output, measured.flat) == (kind, output, 0)


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize("fill", [0.25, (0.5, -1.0, 2.0), "blur"])
def test_channels_last_score_as_channels_first(kind: str, fill: Any) -> None:
    first = measure(kind)(coloured(), IMAGES, MAPS, TARGETS, fill=fill)
    last = measure(kind)(coloured(last=True), IMAGES.transpose(0, 2, 3, 1), MAPS, TARGETS, fill=fill)
    np.testing.assert_allclose(last.scores, first.scores, rtol=1e-5)


def test_the_probability_is_that_of_the_file() -> None:
    model = to_onnx(
        [
            Conv(("input",), "conv", WEIGHTS[0]),
            Reshape(("conv",), "flat", (48,)),
            Dense(("flat",), "logits", WEIGHTS[1]),
        ],
        (3, *SIZE),
    )
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    model.graph.output[0].name = "probabilities"
    curve = mr.metrics.deletion(mr.load(model), IMAGES, MAPS, TARGETS, fill=0.5)
    run = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run
    for column, x in ((0, IMAGES), (-1, np.full_like(IMAGES, 0.5))):
        (expected,) = run(["probabilities"], {"input": x})
        np.testing.assert_allclose(curve.scores[:, column], expected[range(4), TARGETS], rtol=1e-5)


def test_one_runs_backwards_what_the_other_runs_forwards() -> None:
    net = coloured()
    gone = mr.metrics.deletion(net, IMAGES, MAPS + np.arange(30).reshape(SIZE) / 100, 1, fill=0.5)
    back = mr.metrics.insertion(net, IMAGES, -MAPS - np.arange(30).reshape(SIZE) / 100, 1, fill=0.5)
    np.testing.assert_allclose(back.scores[:, ::-1], gone.scores, rtol=1e-6)
    np.testing.assert_allclose(back.auc, gone.auc, rtol=1e-6)


def test_a_true_ranking_beats_its_reverse() -> None:
    """A network that sums its pixels: the largest pixels go first, so the logit falls fastest."""
    ops: list[Op] = [
        Reshape(("input",), "flat", (30,)),
        Dense(("flat",), "scores", np.ones((30, 1)) * [1.0, -1.0]),
    ]
    net = mr.load(to_onnx(ops, (1, *SIZE)))
    x = np.abs(IMAGES[:, :1])
    good = mr.metrics.deletion(net, x, x[:, 0], 0, output="logit")
    bad = mr.metrics.deletion(net, x, -x[:, 0], 0, output="logit")
    assert (good.auc < bad.auc).all()
    pixels = np.sort(x.reshape(4, 30), axis=1)[:, ::-1].astype(np.float64)
    left = pixels.sum(axis=1, keepdims=True) - np.concatenate([np.zeros((4, 1)), pixels.cumsum(axis=1)], axis=1)
    np.testing.assert_allclose(good.scores, left, atol=1e-5)


def test_vectors_of_features() -> None:
    net = mr.load(to_onnx([Dense(("input",), "scores", np.diag([1.0, 2.0, 4.0]))], (3,)))
    curve = mr.metrics.deletion(net, np.ones((1, 3), np.float32), [[0.1, 0.3, 0.2]], 2, output="logit")
    np.testing.assert_allclose(curve.scores, [[4, 4, 0, 0]])
    assert curve.mean == pytest.approx((4 + 2 + 0) / 3)


@pytest.mark.parametrize("steps", [3, 5, 100])
def test_pixels_that_do_not_go_stay_as_they_are(steps: int) -> None:
    """A network that sums its features, samples of five and of two that go: sums over those that are left."""
    net = mr.load(to_onnx([Dense(("input",), "scores", np.ones((6, 2)) * [1.0, -1.0])], (6,)))
    x = np.array([[1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32]], np.float32)
    among = np.array([[True] * 5 + [False], [False, True, False, True, False, False]])
    gone = mr.metrics.deletion(net, x, x, 0, steps=steps, output="logit", among=among)
    back = mr.metrics.insertion(net, x, x, 0, fill=0, steps=steps, output="logit", among=among)
    taken = {3: ([0, 1, 3, 5], [0, 0, 1, 2]), 5: ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 2])}[min(steps, 5)]
    for n, (order, rest) in enumerate([([16, 8, 4, 2, 1], 32), ([8, 2], 1 + 4 + 16 + 32)]):
        left = [rest + sum(order[count:]) for count in taken[n]]
        come = [rest + sum(order[:count]) for count in taken[n]]
        np.testing.assert_array_equal(gone.scores[n], left)
        np.testing.assert_array_equal(back.scores[n], come)
        shares = np.array(taken[n]) / len(order)
        area = sum((b - a) * (u + v) / 2 for a, b, u, v in zip(shares, shares[1:], left, left[1:], strict=False))
        assert gone.auc[n] == pytest.approx(area, rel=1e-12)
    np.testing.assert_allclose(gone.fractions, np.array(taken[0]) / 5)


def test_an_image_of_integers_comes_back_to_a_blurred_one_of_integers() -> None:
    net = mr.load(of_integers("uint8", False))
    assert " uint8 -> " in repr(net)
    draw = np.random.default_rng(3)
    image, maps = draw.integers(0, 256, (1, 3, SIDE, SIDE), dtype=np.uint8), draw.standard_normal((1, SIDE, SIDE))
    found = mr.metrics.insertion(net, image, maps, 1, steps=3)
    filled = np.rint(blurred(image[0].astype(np.float64)))
    assert np.ptp(filled) > 0
    scores = logits(net, np.stack([filled, image[0]]).astype(np.uint8))
    np.testing.assert_allclose(found.scores[0, [0, -1]], softmax(scores, axis=1)[:, 1], rtol=1e-5)


def test_the_batch_size_does_not_matter() -> None:
    net = small()
    maps = np.random.default_rng(0).standard_normal((20, 6, 6))
    whole = mr.metrics.deletion(net, X, maps, 1, batch_size=1000)
    for size in (1, 5, 36):
        other = mr.metrics.deletion(net, X, maps, 1, batch_size=size)
        np.testing.assert_allclose(other.scores, whole.scores, rtol=1e-6)


def test_no_more_images_are_run_at_once_than_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen, call = small(), [], Recorder.__call__

    def counting(self: Recorder, x: Array, first: int = 0) -> Any:
        seen.append(len(x))
        return call(self, x, first)

    monkeypatch.setattr(Recorder, "__call__", counting)
    mr.metrics.insertion(net, X[:2], np.random.default_rng(0).standard_normal((2, 6, 6)), 1, batch_size=5)
    assert sum(seen) == 2 * 37
    assert max(seen) == 5


def test_flat_maps_are_counted() -> None:
    maps = MAPS.copy()
    maps[1] = 0
    maps[2] = 1.5
    curve = mr.metrics.deletion(coloured(), IMAGES, maps, TARGETS, steps=3)
    assert curve.flat == 2
    head, *rows, last = str(curve).splitlines()
    assert head.split() == ["deleted", "probability"]
    assert rows[1].split() == ["33.3%", f"{curve.curve[1]:.4f}"]
    assert last == (
        f"deletion AUC {curve.mean:.4f} (mean of 4 samples, probability: the softmax over the classes, of logits that "
        "have no head in the file, fill 0, 2 maps equal everywhere, taken in the order of places)"
    )
    in_order = np.tile(-np.arange(30.0).reshape(SIZE), (4, 1, 1))
    same = mr.metrics.deletion(coloured(), IMAGES, in_order, TARGETS, steps=3)
    np.testing.assert_array_equal(curve.scores[1:3], same.scores[1:3])


def spoilt(values: Array, value: float) -> Array:
    values = values.copy()
    values.flat[17] = value
    return values


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": TARGETS[:3]}, "one for each of the 4 samples, not 3"),
        ({"target": [0, 1, 2, 3]}, r"target 3 is out of range: output 'scores' has classes 0\.\.2"),
        ({"target": [0, 1, 2, -1]}, "target -1 is out of range"),
        ({"target": 5}, "target 5 is out of range"),
        ({"target": True}, "target must be an integer"),
        ({"target": [0.0, 1.0, 1.0, 1.0]}, "targets must be integer"),
        ({"target": [[0], [1, 2]]}, "targets must be integer"),
        ({"maps": MAPS[:3]}, r"maps have shape \[3, 5, 6\]; .* need maps \[4, 5, 6\]"),
        ({"maps": MAPS[:, :4]}, r"maps have shape \[4, 4, 6\]"),
        ({"maps": [*MAPS[:3], MAPS[3, :4]]}, "maps must be floats"),
        ({"maps": MAPS * 0}, "every map has the same score everywhere"),
        ({"maps": MAPS * 0 - 2}, "every map has the same score everywhere"),
        ({"maps": spoilt(MAPS, np.nan)}, "the maps hold NaN or Inf"),
        ({"maps": MAPS.astype(int)}, "must be floats"),
        ({"x": spoilt(IMAGES, np.inf)}, "data hold NaN or Inf"),
        ({"x": IMAGES[:0]}, "data hold no sample"),
        ({"x": IMAGES[:, :, :4]}, r"takes \[N, 3, 5, 6\]"),
        ({"x": IMAGES.astype(np.uint8)}, "uint8"),
        ({"fill": "mean"}, "fill must be .*, not 'mean'"),
        ({"fill": [1.0, 2.0]}, r"a value a channel \(3\), or 'blur', not float64 of shape \[2\]"),
        ({"fill": np.nan}, "fill must be real and finite"),
        ({"fill": 1e39}, "fill must be real and finite in float32"),
        ({"fill": True}, "fill must be a number"),
        ({"fill": 1j}, "fill must be real"),
        ({"steps": 0}, "steps must be an integer of at least 1, not 0"),
        ({"steps": 2.0}, "steps must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": True}, "batch_size must be"),
        ({"output": "logits"}, "output must be 'probability' or 'logit', not 'logits'"),
        ({"among": MAPS}, r"among must be flags \[4, 5, 6\], not float64 of shape \[4, 5, 6\]"),
        ({"among": MAPS[:3] > 0}, r"among must be flags \[4, 5, 6\], not bool of shape \[3, 5, 6\]"),
        ({"among": np.arange(4)[:, None, None] + 0 * MAPS > 0}, "sample 0 has no place that may go"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(kind: str, changed: dict[str, Any], message: str) -> None:
    given = {"x": IMAGES, "maps": MAPS, "target": TARGETS} | changed
    with pytest.raises(mr.InvalidData, match=message) as caught:
        measure(kind)(coloured(), **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize("head", ["Softmax", "Sigmoid", None])
@pytest.mark.parametrize("classes", [1, 4])
def test_the_probability_follows_the_head(kind: str, head: str | None, classes: int) -> None:
    """Against the file's own output, image by image."""
    sketch = Sketch(2, 5, 6)
    flat = sketch.node("Flatten", sketch.node("Relu", sketch.conv("x", 2, 3)))
    out = sketch.dense(flat, 36, classes)
    model = sketch.model(out if head is None else sketch.node(head, out))
    net = mr.load(model)
    x, target = RNG.standard_normal((2, 2, *SIZE)).astype(np.float32), classes - 1
    if head is None and classes == 1:
        with pytest.raises(mr.InvalidData, match="has no probability; measure the logit"):
            measure(kind)(net, x, MAPS[:2], target)
        return
    curve = measure(kind)(net, x, MAPS[:2], target, fill=0.0, steps=30)
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number, image in enumerate(x):
        order = np.argsort(-MAPS[number].ravel(), kind="stable")
        for done in range(31):
            gone = np.isin(np.arange(30), order[:done]).reshape(SIZE) ^ (kind == "insertion")
            (told,) = runtime.run(None, {"x": np.where(gone, 0, image)[None].astype(np.float32)})
            chance = told if head is not None else softmax(told.astype(np.float64), axis=1)
            assert curve.scores[number, done] == pytest.approx(float(chance[0, target]), rel=2e-5, abs=1e-7)
    assert ("sigmoid of the class" in str(curve)) == (head == "Sigmoid")


def test_the_probability_of_one_logit_is_refused() -> None:
    net = mr.load(to_onnx([Dense(("input",), "score", np.ones((3, 1)))], (3,)))
    x, maps = np.ones((1, 3), np.float32), np.array([[1.0, 2.0, 3.0]])
    with pytest.raises(mr.InvalidData, match="one logit without a Softmax or Sigmoid behind it has no probability"):
        mr.metrics.deletion(net, x, maps, 0)
    assert mr.metrics.deletion(net, x, maps, 0, output="logit").mean == pytest.approx(1.5)
    with pytest.raises(mr.InvalidData, match="for images, 'blur'"):
        mr.metrics.insertion(net, x, maps, 0, output="logit")


def test_softmax_of_large_logits() -> None:
    net = mr.load(to_onnx([Dense(("input",), "scores", np.eye(2) * 3000)], (2,)))
    curve = mr.metrics.deletion(net, np.array([[1, 1.001]], np.float32), [[2.0, 1.0]], 1)
    expected = softmax(np.array([[3000, 3003.0], [0, 3003], [0, 0]]), axis=1)[:, 1]
    np.testing.assert_allclose(curve.scores[0], expected, rtol=1e-2)
