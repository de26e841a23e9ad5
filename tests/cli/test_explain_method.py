"""`mipin explain --method`: what the library gives, stored and drawn; usage errors in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
import mipin_ref.cli.explain
from mipin_ref.cli import main
from mipin_ref.panel.registry import METHODS
from tests.cli.test_explain import SAMPLES, residual
from tests.networks import to_onnx
from tests.networks.attention import NETWORKS as ATTENDING
from tests.networks.norms import SHAPE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((SAMPLES, 3, 8, 8)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explain(*options: str) -> int:
    return main(["explain", "net.onnx", "x.npy", "-o", "out", *options])


def stored() -> dict[str, Any]:
    with np.load("out/attribution.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def expected(method: str, **options: Any) -> mr.Attribution:
    return mr.attribute(mr.load("net.onnx"), np.load("x.npy"), 1, method, **options)


def written(stem: str) -> list[str]:
    return sorted(name for name in os.listdir("out") if name.startswith(stem))


@pytest.mark.parametrize("method", [name for name, facts in METHODS.items() if facts.fitting is None])
def test_every_method(method: str) -> None:
    if not METHODS[method].suits(mr.load("net.onnx")):
        onnx.save(to_onnx(ATTENDING["vision_transformer"](), SHAPE), "net.onnx")
        np.save("x.npy", np.random.default_rng(0).standard_normal((SAMPLES, *SHAPE)).astype(np.float32))
    assert explain("--method", method, "--target", "1") == 0
    res, found = expected(method), stored()
    names = {"value", "attribution", "contribution", "output"}
    names |= {"source"} if res.signal is not None else set()
    names |= {"delta"} if res.delta is not None else set()
    assert set(found) == {*names, "header", "map", "names", "class_names", "target", "logits", "probability"}
    for name in names:
        np.testing.assert_allclose(found[name], getattr(res, name), rtol=1e-6, atol=1e-9)
    header = json.loads(str(found["header"]))
    assert (header["method"], header["target"], header["tensor"]) == (method, 1, res.tensor)
    assert len(written("overlay")) == SAMPLES


def test_options_dtype_and_an_inner_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mipin_ref.cli.explain, "BATCH_BYTES", 1)
    given = ("--option", "samples=3", "--option", "noise=0.5", "--dtype", "float32", "--at", "last", "--size", "input")
    assert explain("--method", "smoothgrad", "--target", "1", *given) == 0
    found, res = stored(), expected("smoothgrad", samples=3, noise=0.5, at="last", dtype="float32")
    assert found["attribution"].dtype == np.float32
    np.testing.assert_allclose(found["attribution"], res.attribution, rtol=1e-4, atol=1e-6)
    header = json.loads(str(found["header"]))
    assert header["options"] == {"samples": 3, "noise": 0.5}
    assert header["dtype"] == "float32"


@pytest.mark.parametrize("method", ["lrp-alpha-beta", "lrp-epsilon"])
def test_pictures_and_the_stored_map_are_turned_where_the_method_follows_the_logit(method: str) -> None:
    target = int(np.argmin(mr.load("net.onnx").predict(np.load("x.npy")[:1])[1]))
    assert explain("--method", method, "--target", str(target), "--limit", "1") == 0
    found = stored()
    assert found["output"][0] < 0
    sign = -1 if method == "lrp-alpha-beta" else 1
    relevance = found["contribution"][0].sum(axis=0)
    assert np.array_equal(found["map"][0], sign * relevance)
    assert json.loads(str(found["header"]))["follows_logit"] == (sign < 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "gradeint", "--target", "1"], "there is no method 'gradeint'; did you mean 'gradient'?"),
        (["--method", "gradient", "--target", "9"], "target 9 is out of range"),
        (["--method", "gradient", "--target", "1", "--option", "samples=3"], "it has none"),
        (["--method", "smoothgrad", "--target", "1", "--option", "samples"], "--option must look like samples=50"),
        (["--method", "smoothgrad", "--target", "1", "--option", "=3"], "--option must look like samples=50"),
        (["--method", "smoothgrad", "--target", "1", "--option", "samples=x"], "samples must be an integer"),
        (
            ["--method", "smoothgrad", "--target", "1", "--option", "seed=1", "--option", "seed=2"],
            "--option seed is given twice",
        ),
        (["--method", "gradient", "--target", "1", "--at", "nowhere"], "tensor 'nowhere' is not on the way"),
        (["--method", "gradient", "--target", "1", "--option", "memory=1"], "no option 'memory'"),
        (["--inverse", "three.mipin", "--option", "samples=3"], "--option is for --method"),
        (["--inverse", "three.mipin", "--dtype", "float32"], "--dtype is for --method"),
    ],
)
def test_errors_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(*options) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mipin: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not Path("out").exists()


def test_a_method_or_an_inverse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        explain("--target", "1", "--method", "gradient", "--inverse", "three.mipin")
    assert stopped.value.code == 2
    assert "--method" in capsys.readouterr().err


def test_without_a_target_each_sample_is_explained_for_its_own_class() -> None:
    assert explain("--method", "gradient") == 0
    net, x, found = mr.load("net.onnx"), np.load("x.npy"), stored()
    own = net.predict(x)[1].argmax(axis=1)
    assert np.array_equal(found["target"], own)
    res = mr.attribute(net, x, own, "gradient")
    np.testing.assert_allclose(found["attribution"], res.attribution, rtol=1e-6, atol=1e-9)
