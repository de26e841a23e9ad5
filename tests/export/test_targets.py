"""Explainers of several targets, chosen when the file is run."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import mipin_ref as mr
from tests.export.running import Array, assert_exact, assert_like, expected, outputs
from tests.golden.arrays import PATHS, read

CASES = ("golden_cnn", "golden_mlp", "golden_split", "golden_pool_overlap", "golden_transposed", "golden_tokens")


@cache
def fitted(name: str) -> tuple[dict[int, mr.Inverse], Array]:
    """Inverses of targets 2 and 0, in that order."""
    x = np.asarray(read(name).arrays["x"]).astype(np.float32)
    output = read(name).manifest["model"]["output"]
    return mr.fit(mr.load(PATHS[name].parent / "model.onnx", output=output), x, [2, 0], ridge=0.1), x


def feed(path: Path, x: Array, target: int) -> dict[str, Array]:
    data, chosen = onnx.load(path).graph.input
    assert chosen.name == "target"
    return {data.name: x, "target": np.array(target, np.int64)}


@pytest.mark.parametrize("name", CASES)
def test_each_target_as_its_own_inverse(name: str, tmp_path: Path) -> None:
    inverses, x = fitted(name)
    path = tmp_path / "explainer.onnx"
    made = mr.export(inverses, path, check=x)
    assert made.exact.targets == 2
    for target, inverse in inverses.items():
        wanted = expected(inverse, x)
        assert_exact(outputs(path, feed(path, x, target)), wanted)
        assert_like(outputs(path, feed(path, x, target), optimised=True), wanted)


@pytest.mark.parametrize("target", [1, -1, 3, 2**40])
def test_a_target_that_the_file_does_not_hold_gives_no_numbers(target: int, tmp_path: Path) -> None:
    inverses, x = fitted("golden_cnn")
    path = tmp_path / "explainer.onnx"
    mr.export(inverses, path, check=x)
    for optimised in (False, True):
        told = outputs(path, feed(path, x, target), optimised=optimised)
        assert np.all(np.isfinite(told.pop("logits")))
        assert {"logit", "source", "attribution", "contribution", "map"} == {*told}
        for name, value in told.items():
            assert np.all(np.isnan(value)), name


@pytest.mark.parametrize("name", ["golden_cnn", "golden_pool_overlap"])
def test_other_runtimes_choose_too(name: str, tmp_path: Path) -> None:
    inverses, x = fitted(name)
    path = tmp_path / "explainer.onnx"
    mr.export(inverses, path, check=x)
    model = ReferenceEvaluator(str(path))
    net = cv2.dnn.readNetFromONNX(str(path))
    names = list(model.output_names)
    for target, inverse in inverses.items():
        wanted, given = expected(inverse, x[:3]), feed(path, x[:3], target)
        assert_like(dict(zip(names, [*model.run(None, given)], strict=True)), wanted)
        for one, value in given.items():
            net.setInput(np.atleast_1d(value), one)
        made = dict(zip(names, net.forward(names), strict=True))
        assert_like({key: made[key].reshape(value.shape) for key, value in wanted.items()}, wanted)


def test_what_is_equal_for_all_targets_is_stored_once(tmp_path: Path) -> None:
    """Weights below a tensor that all targets share, as those of one inverse under another target's name."""
    inverses, x = fitted("golden_cnn")
    other, first = inverses[0], inverses[2]
    lower = [step.tensor for step in first.plan.fitted][1:]
    shared = {**first.weights, **{tensor: other.weights[tensor] for tensor in lower}}
    common = mr.Inverse(**{**vars(first), "weights": shared})
    sizes = {}
    for name, some in {"one": [other], "shared": [other, common], "apart": [other, first]}.items():
        sizes[name] = mr.export(some, tmp_path / f"{name}.onnx", check=x).bytes
    assert sizes["apart"] - sizes["shared"] > sum(4 * other.weights[one].unknowns for one in lower) * 0.9
    assert sizes["shared"] - sizes["one"] < 0.5 * (sizes["apart"] - sizes["one"])
    path = tmp_path / "shared.onnx"
    for inverse in (other, common):
        assert_exact(outputs(path, feed(path, x, inverse.target)), expected(inverse, x))


def test_some_of_the_targets(tmp_path: Path) -> None:
    inverses, x = fitted("golden_mlp")
    path = tmp_path / "explainer.onnx"
    mr.export(list(inverses.values()), path, targets=[0], check=x)
    (data,) = onnx.load(path).graph.input
    assert_exact(outputs(path, {data.name: x}), expected(inverses[0], x))
    told = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert json.loads(told["mipin.targets"]) == [0]


def test_targets_of_an_output_of_several_axes(tmp_path: Path) -> None:
    """Indices into the logits as they are flattened."""
    x = np.asarray(read("golden_pixel").arrays["x"]).astype(np.float32)
    net = mr.load(PATHS["golden_pixel"].parent / "model.onnx")
    inverses = mr.fit(net, x, [(1, 1, 1), (2, 1, 1)], ridge=0.1)
    path = tmp_path / "explainer.onnx"
    mr.export(inverses, path, check=x)
    told = {one.key: json.loads(one.value) for one in onnx.load(path).metadata_props if "targets" in one.key}
    assert told == {"mipin.targets": [13, 22], "mipin.told_targets": [[1, 1, 1], [2, 1, 1]]}
    for index, inverse in zip([13, 22], inverses.values(), strict=True):
        assert_exact(outputs(path, feed(path, x, index)), expected(inverse, x))
