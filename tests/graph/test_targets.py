"""Targets of an output of several axes: a tuple, the same as an index into the network whose output is flattened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]


def grid(sketch: Sketch) -> tuple[str, tuple[int, ...]]:
    """A class score at every cell of a map: [N, 3, 2, 4]."""
    mixed = sketch.node("Relu", sketch.conv("x", 2, 4, out="conv"), out="relu")
    return sketch.conv(mixed, 4, 3, (1, 1), out="scores"), (3, 2, 4)


def steps(sketch: Sketch) -> tuple[str, tuple[int, ...]]:
    """Classes at every time step, behind: [N, 8, 3]."""
    scores, _ = grid(sketch)
    flat = sketch.node("Reshape", scores, sketch.ints(0, 3, 8))
    return sketch.node("Transpose", flat, perm=[0, 2, 1], out="steps"), (8, 3)


KINDS: list[Callable[[Sketch], tuple[str, tuple[int, ...]]]] = [grid, steps]


def both(make: Callable[[Sketch], tuple[str, tuple[int, ...]]]) -> tuple[ModelProto, ModelProto, tuple[int, ...]]:
    """The file, and the same with its output flattened behind."""
    models = []
    for flat in (False, True):
        sketch = Sketch(2, 4, 6)
        out, shape = make(sketch)
        models.append(sketch.model(sketch.node("Flatten", out, out="flat") if flat else out))
    return models[0], models[1], shape


def samples(count: int = 30) -> Array:
    return np.random.default_rng(4).standard_normal((count, 2, 4, 6), np.float32)


@pytest.mark.parametrize("make", KINDS)
def test_a_tuple_is_the_entry_of_the_flat_output(make: Callable[..., Any]) -> None:
    model, flat, shape = both(make)
    net, other, x = mr.load(model), mr.load(flat), samples()
    assert net.target_shape == shape
    np.testing.assert_allclose(net.predict(x)[1], other.predict(x)[1], rtol=0, atol=1e-6)
    targets = [tuple(n // 2 for n in shape), tuple(n - 1 for n in shape)]
    indices = [int(np.ravel_multi_index(target, shape)) for target in targets]
    made, expected = mr.fit(net, x, target=targets), mr.fit(other, x, target=indices)
    assert [*made] == targets
    for target, index in zip(targets, indices, strict=True):
        results = [(made[target].attribute(x[:4]), expected[index].attribute(x[:4]))]
        single = mr.fit(net, x, target=target).attribute(x[:4])
        results.append((single, results[0][1]))
        results += [
            (mr.attribute(net, x[:4], target, name), mr.attribute(other, x[:4], index, name))
            for name in ("gradient", "lrp-epsilon", "grad-cam")
        ]
        results.append((mr.attribute(net, x[:4], target, "mip-in", calibration=x), results[0][1]))
        for one, two in results:
            assert one.target == target
            np.testing.assert_allclose(one.attribution, two.attribution, rtol=0, atol=1e-9)
            np.testing.assert_allclose(one.output, two.output, rtol=0, atol=1e-9)
            if two.signal is not None:
                assert one.signal is not None
                np.testing.assert_allclose(one.signal, two.signal, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "target",
    [(np.int64(1), np.int8(0), 2), (1, 0, np.uint8(2))],
    ids=["numpy", "mixed"],
)
def test_integers_of_numpy(target: Any) -> None:
    net = mr.load(both(grid)[0])
    assert net.check_target(target) == net.check_target((1, 0, 2)) == 10
    assert net.target(10) == (1, 0, 2)
    assert all(type(one) is int for one in net.target(10))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ((3, 0, 0), r"target \(3, 0, 0\) is out of range: output 'scores' has indices 0..2, 0..1, 0..3"),
        ((0, 0, -1), "out of range"),
        ((0, 0), r"has 2 indices; output 'scores' \[N, 3×2×4\] needs 3"),
        ((0, 0, 0, 0), "has 4 indices"),
        ((), "has 0 indices"),
        (5, "has 1 indices"),
        ((0, 0, 1.0), "a tuple of 3 integers"),
        ((0, 0, True), "a tuple of 3 integers"),
        ((0, 0, np.bool_(True)), "a tuple of 3 integers"),
        ((0, 0, "1"), "a tuple of 3 integers"),
        ((0, 0, None), "a tuple of 3 integers"),
        ((0, (0,), 1), "a tuple of 3 integers"),
        ("(0, 0, 0)", "a tuple of 3 integers|a class index, several, or 'all'"),
        (None, "integer"),
        (1.5, "integer"),
        ((10**30, 0, 0), "out of range"),
    ],
)
def test_what_is_no_target(target: Any, told: str) -> None:
    net, x = mr.load(both(grid)[0]), samples(4)
    asks: list[Callable[[], object]] = [
        lambda: mr.fit(net, x, target=target),
        lambda: mr.fit(net, x, target=[(0, 0, 0), target]),
        lambda: mr.attribute(net, x, target, "gradient"),
        lambda: mr.attribute(net, x, target, "mip-in", calibration=x),
    ]
    for ask in asks:
        with pytest.raises(mr.InvalidData, match=told) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_the_same_target_twice() -> None:
    net, x = mr.load(both(grid)[0]), samples(4)
    with pytest.raises(mr.InvalidData, match="distinct"):
        mr.fit(net, x, target=[(0, 0, 1), (np.int64(0), 0, 1)])  # type: ignore[list-item]


def test_a_tuple_of_one_is_a_class_where_one_axis_is_longer_than_one() -> None:
    sketch = Sketch(2, 4, 6)
    pooled = sketch.node("GlobalAveragePool", sketch.conv("x", 2, 5, (1, 1)), out="pooled")
    net, x = mr.load(sketch.model(pooled)), samples()
    assert net.check_target(3) == net.check_target((3,)) == net.check_target((3, 0, 0)) == 3
    for target in (3, (3,), (3, 0, 0)):
        assert mr.fit(net, x, target=target).attribute(x).target == 3
    with pytest.raises(mr.InvalidData, match="out of range"):
        net.check_target((3, 1, 0))


def test_one_target_a_sample() -> None:
    """A list holds one of each sample, in `attribute`; in `fit` it holds several of all."""
    net, x = mr.load(both(grid)[0]), samples()
    targets = [(0, 0, 1), (2, 1, 3), (0, 0, 1)]
    ways: list[tuple[str, dict[str, Any]]] = [("gradient", {}), ("mip-in", {"calibration": x})]
    for name, options in ways:
        together = mr.attribute(net, x[:3], targets, name, **options)
        for place, target in enumerate(targets):
            alone = mr.attribute(net, x[place : place + 1], target, name, **options)
            np.testing.assert_allclose(together.attribution[place], alone.attribution[0], rtol=0, atol=1e-9)
    with pytest.raises(mr.InvalidData, match="out of range"):
        mr.attribute(net, x[:2], [(0, 0, 1), (3, 0, 0)], "gradient")
    with pytest.raises(mr.InvalidData, match="3 samples"):
        mr.attribute(net, x[:3], targets[:2], "gradient")
    with pytest.raises(mr.InvalidData, match=r"2 samples|indices"):
        mr.attribute(net, x[:2], [(0, 0, 1), (0, 0)], "gradient")


def test_inverses_by_tuple_are_taken_as_fit_gave_them() -> None:
    net, x = mr.load(both(grid)[0]), samples()
    made = mr.fit(net, x, target=[(0, 0, 1), (2, 1, 3)])
    one = mr.attribute(net, x[:3], (2, 1, 3), "mip-in", inverse=made)
    np.testing.assert_array_equal(one.attribution, made[2, 1, 3].attribute(x[:3]).attribution)
    alone = mr.attribute(net, x[:3], (2, 1, 3), "mip-in", inverse=made[2, 1, 3])
    np.testing.assert_array_equal(alone.attribution, one.attribution)
    with pytest.raises(mr.InvalidData, match=r"\(1, 0, 0\)"):
        mr.attribute(net, x[:3], (1, 0, 0), "mip-in", inverse=made)
    with pytest.raises(mr.InvalidData, match=r"\(0, 0, 1\)"):
        mr.attribute(net, x[:3], (0, 0, 1), "mip-in", inverse={(0, 0, 1): made[2, 1, 3]})


def test_a_panel() -> None:
    net, x = mr.load(both(grid)[0]), samples()
    panel = mr.Panel(net, x, names=["mip-in", "gradient"])
    made = panel.explain("mip-in", x[:3], (2, 1, 3))
    assert made.target == (2, 1, 3)
    np.testing.assert_array_equal(made.attribution, mr.fit(net, x, target=(2, 1, 3)).attribute(x[:3]).attribution)
    assert panel.attempt("gradient", x[:3], (2, 1, 3)) is not None
    assert panel.inverse((2, 1, 3)).attribute(x[:2]).target == (2, 1, 3)
    panel.prepare([(0, 0, 1)])
    with pytest.raises(mr.InvalidData, match="out of range"):
        panel.attempt("gradient", x[:3], (2, 1, 4))


def test_saved_and_loaded(tmp_path: Path) -> None:
    net, x = mr.load(both(steps)[0]), samples()
    made = mr.fit(net, x, target=(5, 1))
    made.save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", net, target=(5, 1))
    result = again.attribute(x[:3])
    assert result.target == (5, 1)
    np.testing.assert_array_equal(result.attribution, made.attribute(x[:3]).attribution)
    assert mr.saliency(result).shape == (3, 4, 6)
    with pytest.raises(mr.CorruptFile, match=r"\(5, 1\), not class \(5, 2\)"):
        mr.load_inverse(tmp_path / "one.mipin", net, target=(5, 2))
