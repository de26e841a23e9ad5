"""Inverses that share a part in one file: equal after a round trip, read target by target, refused when damaged."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref import store
from mipin_ref.inverse.family import Family
from tests.backends import backend, on_every_backend, relative_error
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape


@pytest.fixture
def saved(tmp_path: Path) -> tuple[mr.Network, Any, Path]:
    net = small()
    invs: Any = mr.fit(net, X, "all", common="relu", ridge=0.5)
    invs.save(tmp_path / "all.mipin")
    return net, invs, tmp_path / "all.mipin"


def test_round_trip(saved: tuple[mr.Network, Any, Path]) -> None:
    net, invs, path = saved
    again = mr.load_inverse(path, net)
    assert list(again) == list(invs)
    for target, inv in invs.items():
        other = again[target]
        np.testing.assert_array_equal(other.attribute(X).source, inv.attribute(X).source)
        np.testing.assert_array_equal(other.attribute(X).attribution, inv.attribute(X).attribution)
        assert (other.target, other.options, other.report) == (inv.target, inv.options, inv.report)
        assert other.report.seconds == inv.report.seconds
    assert again[0] is again[0]
    assert again[0].weights["input"] is again[1].weights["input"]
    assert again[0].weights["flat"] is not again[1].weights["flat"]


def test_one_of_several_and_none_of_them(saved: tuple[mr.Network, Any, Path]) -> None:
    net, _, path = saved
    assert mr.load_inverse(path, net, target=2).target == 2
    some: Any = mr.fit(net, X, [0, 1], common="relu")
    some.save(path)
    with pytest.raises(mr.CorruptFile, match="explains 2 classes, and class 2 is none of them"):
        mr.load_inverse(path, net, target=2)
    with pytest.raises(KeyError):
        mr.load_inverse(path, net)[2]


def test_each_is_saved_by_itself_too(saved: tuple[mr.Network, Any, Path], tmp_path: Path) -> None:
    net, invs, _ = saved
    invs[1].save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", net)
    assert (again.report, again.plan.common) == (invs[1].report, "relu")
    np.testing.assert_array_equal(again.attribute(X).attribution, invs[1].attribute(X).attribution)


def test_no_bit_may_change(saved: tuple[mr.Network, Any, Path]) -> None:
    """What is flipped is told when the file is opened, or when the target is asked for to which it belongs."""
    net, _, path = saved
    whole = path.read_bytes()
    told = 0
    for place in np.random.default_rng(0).choice(len(whole), 60, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(damaged)
        with pytest.raises(mr.CorruptFile):
            dict(mr.load_inverse(path, net))
        told += 1
    assert told == 60


def test_damage_to_one_target_leaves_the_others(saved: tuple[mr.Network, Any, Path]) -> None:
    net, invs, path = saved
    stacked = np.stack([inv.weights["flat"].blocks[0] for inv in invs.values()]).tobytes()
    whole = path.read_bytes()
    start = whole.index(stacked)
    each = len(stacked) // len(invs)
    damaged = bytearray(whole)
    damaged[start + 2 * each] ^= 1
    path.write_bytes(damaged)
    again = mr.load_inverse(path, net)
    np.testing.assert_array_equal(again[0].attribute(X).attribution, invs[0].attribute(X).attribution)
    with pytest.raises(mr.CorruptFile, match="another checksum"):
        again[2]


def test_another_network_is_refused(saved: tuple[mr.Network, Any, Path]) -> None:
    net, _, path = saved
    other = replace(net, sha256="0" * 64)
    with pytest.raises(mr.CorruptFile, match="another network"):
        mr.load_inverse(path, other)


def test_what_is_common_lies_there_once(saved: tuple[mr.Network, Any, Path]) -> None:
    _, invs, path = saved
    header, tensors = store.read(path, store.INVERSES)
    once = {name: tensor for name, tensor in tensors.items() if not name.startswith(("each.", "seen."))}
    assert sum(tensor.size for tensor in once.values()) == sum(b.size for b in invs[0].weights["input"].blocks)
    assert {len(tensor) for name, tensor in tensors.items() if name.startswith("each.")} == {len(invs)}
    assert len(header["digests"]) == len(invs)


def test_of_a_thousand_classes_one_is_read(tmp_path: Path) -> None:
    """It takes little memory beside the file's size, and nothing of what the others have alone is looked at."""
    net, x, invs, path = on_demand(tmp_path, classes=1000)
    few = [invs[target] for target in range(4)]

    def made(target: Any) -> mr.Inverse:
        one: mr.Inverse = few[target % 4]
        return replace(one, target=target)

    every: Any = Family(net, range(1000), made)
    every.save(path)
    size = path.stat().st_size
    each = sum(few[3].weights[name].blocks[0].nbytes for name in ("flat", "fired"))
    assert size > 1000 * each > 16e6
    tracemalloc.start()
    try:
        again = mr.load_inverse(path, net)
        opened = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        one = again[999]
        asked = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # What the header tells of a thousand classes is text of a few hundred bytes a class, and is parsed each time.
    assert max(opened, asked) < size / 4
    expected = replace(few[3], target=999).attribute(x)
    np.testing.assert_array_equal(one.attribute(x).attribution, expected.attribution)
    # All but the last class are zeros now.
    content = bytearray(path.read_bytes())
    head = 8 + int.from_bytes(content[:8], "little")
    told = json.loads(content[8:head])
    for name, entry in told.items():
        if name.startswith("each."):
            begin, end = (head + place for place in entry["data_offsets"])
            content[begin : end - (end - begin) // 1000] = bytes(end - begin - (end - begin) // 1000)
    path.write_bytes(content)
    again = mr.load_inverse(path, net)
    np.testing.assert_array_equal(again[999].attribute(x).source, expected.source)
    with pytest.raises(mr.CorruptFile, match="another checksum"):
        again[998]


def on_demand(tmp_path: Path, name: str = "numpy", classes: int = 20) -> tuple[mr.Network, np.ndarray, Any, Path]:
    """A Dense layer of many weights above what is common, few samples, more classes than that is fitted on."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((4, 1, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (64,)),
        Dense(("flat",), "dense", rng.standard_normal((64, 40)) / 8),
        Activation(("dense",), "fired", "Relu"),
        Dense(("fired",), "scores", rng.standard_normal((40, classes))),
    ]
    net, x = mr.load(to_onnx(ops, (1, 6, 6))), rng.standard_normal((30, 1, 6, 6)).astype(np.float32)
    invs = mr.fit(net, x, "all", common="relu", ridge=1.0, backend=backend(name))
    return net, x, invs, tmp_path / "all.mipin"


@on_every_backend
def test_what_takes_less_room_is_kept_and_classes_fitted_when_asked_for(name: str, tmp_path: Path) -> None:
    net, x, invs, path = on_demand(tmp_path, name)
    invs.save(path)
    header, tensors = store.read(path, store.INVERSES)
    assert header["recorded"] is not None
    assert not any(name.startswith("each.") for name in tensors)
    assert path.stat().st_size < 20 * 8 * 64 * 40 / 2
    again = mr.load_inverse(path, net, backend=backend(name))
    assert list(again) == list(invs) == list(range(20))
    for target in (0, 5, 11):
        one = mr.fit(net, x, [target], common="relu", ridge=1.0)[target]
        for other in (invs[target], again[target]):
            # Batches may be cut in other places: eps of float64 times the condition of systems with a ridge of 1.
            assert relative_error(other.attribute(x).source, one.attribute(x).source) < 1e-11
            assert relative_error(other.attribute(x).attribution, one.attribute(x).attribution) < 1e-11
            assert (other.options, [row.tensor for row in other.report]) == (
                one.options, [row.tensor for row in one.report]
            )  # fmt: skip
        np.testing.assert_array_equal(again[target].attribute(x).source, invs[target].attribute(x).source)


def test_a_class_that_cannot_be_fitted_is_told_at_once(tmp_path: Path) -> None:
    """And not when it is asked for."""
    rng = np.random.default_rng(0)
    last = rng.standard_normal((40, 20))
    last[:, 7] = 0
    ops: list[Op] = [
        Dense(("input",), "dense", rng.standard_normal((64, 40)) / 8),
        Activation(("dense",), "fired", "Relu"),
        Dense(("fired",), "more", rng.standard_normal((40, 40))),
        Activation(("more",), "relu", "Relu"),
        Dense(("relu",), "scores", last),
    ]
    net, x = mr.load(to_onnx(ops, (64,))), rng.standard_normal((30, 64)).astype(np.float32)
    with pytest.raises(mr.InvalidData, match="logit 7 is 0 for every calibration sample"):
        mr.fit(net, x, "all", common="input", ridge=1.0)
