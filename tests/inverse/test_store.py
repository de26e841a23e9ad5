"""Saved inverses: equal after a round trip, refused when they do not belong, whole or absent on disk."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

import mipin_ref as mr
from mipin_ref import files, store
from tests.backends import backend, on_every_backend
from tests.inverse.test_bad_input import X, small
from tests.stored import resealed


@pytest.fixture
def saved(tmp_path: Path) -> tuple[mr.Network, mr.Inverse, Path]:
    net = small()
    inv = mr.fit(net, X, 1, ridge=0.5, conv_bias=True, at="relu")
    path = tmp_path / "one.mipin"
    inv.save(path)
    return net, inv, path


@on_every_backend
def test_round_trip(saved: tuple[mr.Network, mr.Inverse, Path], name: str) -> None:
    net, inv, path = saved
    again = mr.load_inverse(path, net, target=1, backend=backend(name))
    a, b = replace(inv, backend=again.backend).attribute(X), again.attribute(X)
    assert np.array_equal(a.source, b.source)
    assert np.array_equal(a.attribution, b.attribution)
    assert (again.target, again.options, again.report, again.samples) == (1, inv.options, inv.report, 20)


def test_the_network_may_be_a_file(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "models_onnx" / "golden_cnn" / "model.onnx"
    x = np.random.default_rng(0).random((20, *mr.load(model).input_shape), dtype=np.float32)
    inv = mr.fit(model, x, 1)
    inv.save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", model)
    assert np.array_equal(again.attribute(x).source, inv.attribute(x).source)
    with pytest.raises(mr.MipinError, match=r"nowhere\.onnx"):
        mr.load_inverse(tmp_path / "one.mipin", "nowhere.onnx")


def test_strided_weights_survive(tmp_path: Path) -> None:
    """safetensors writes buffers as they lie: a Fortran-ordered kernel must not come back scrambled."""
    net = small()
    inv = mr.fit(net, X, 1)
    for weights in inv.weights.values():
        object.__setattr__(weights, "blocks", tuple(np.asfortranarray(block) for block in weights.blocks))
    assert not all(weights.blocks[0].flags.c_contiguous for weights in inv.weights.values())
    inv.save(tmp_path / "strided.mipin")
    again = mr.load_inverse(tmp_path / "strided.mipin", net)
    for tensor, weights in inv.weights.items():
        assert np.array_equal(again.weights[tensor].blocks[0], weights.blocks[0])


def test_the_header_says_what_made_it(saved: tuple[mr.Network, mr.Inverse, Path]) -> None:
    net, _, path = saved
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["mipin-inverse"])
    assert header["model_sha256"] == net.sha256
    assert header["options"]["ridge"] == 0.5
    assert set(header["packages"]) == {"mipin_ref", "numpy", "scipy", "onnx", "onnxruntime"}


def test_another_network_is_refused(saved: tuple[mr.Network, mr.Inverse, Path]) -> None:
    with pytest.raises(mr.CorruptFile, match="fitted on another network"):
        mr.load_inverse(saved[2], small(bias=0.5))


def test_another_class_is_refused(saved: tuple[mr.Network, mr.Inverse, Path]) -> None:
    with pytest.raises(mr.CorruptFile, match="explains class 1, not class 2"):
        mr.load_inverse(saved[2], saved[0], target=2)


def test_every_truncation_is_refused(saved: tuple[mr.Network, mr.Inverse, Path], tmp_path: Path) -> None:
    net, _, path = saved
    content = path.read_bytes()
    cut = tmp_path / "cut.mipin"
    for length in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(mr.CorruptFile, match=r"cut\.mipin"):
            mr.load_inverse(cut, net)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, b"PK\x03\x04" + bytes(100), (1 << 60).to_bytes(8, "little") + b"{}"]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.mipin"
    path.write_bytes(content)
    with pytest.raises(mr.CorruptFile, match="not a saved inverse"):
        mr.load_inverse(path, small())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="there is no file"):
        mr.load_inverse(tmp_path / "no.mipin", small())


def rewritten(path: Path, change: Any) -> None:
    """Change header and tensors of a saved inverse in place, and the checksums with them."""
    resealed(path, store.INVERSE, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(version=99), "format version 99"),
        (lambda h, t: h.update(format="x"), "format version"),
        (lambda h, t: h.pop("options"), "incomplete"),
        (lambda h, t: h["options"].update(unknown=1), "incomplete"),
        (lambda h, t: h.pop("beside"), "incomplete"),
        (lambda h, t: h["beside"]["seconds"].pop(), "incomplete"),
        (lambda h, t: h["report"][0].update(seconds=1.0), "incomplete"),
        (lambda h, t: t.pop("0.0"), "incomplete"),
        (lambda h, t: h.update(target="x"), "damaged"),
        (lambda h, t: h.update(target=99), "damaged"),
        (lambda h, t: t.pop("0.intercept"), "no finite weights"),
        (lambda h, t: t["0.intercept"].fill(np.inf), "no finite weights"),
        (lambda h, t: t.update({"0.0": np.zeros((2, 2))}), "no finite weights"),
        (lambda h, t: t["0.0"].fill(np.nan), "no finite weights"),
    ],
)
def test_damaged_content_is_refused(saved: tuple[mr.Network, mr.Inverse, Path], change: Any, message: str) -> None:
    net, _, path = saved
    rewritten(path, change)
    with pytest.raises(mr.CorruptFile, match=message):
        mr.load_inverse(path, net)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(
    saved: tuple[mr.Network, mr.Inverse, Path], failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills, or the user gives up, after some bytes are written."""
    net, _, path = saved
    before = path.read_bytes()

    def fsync(_: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(mr.InvalidData if isinstance(failure, OSError) else KeyboardInterrupt):
        mr.fit(net, X, 2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["one.mipin"]


def test_a_full_disk_leaves_nothing(saved: tuple[mr.Network, mr.Inverse, Path]) -> None:
    """/dev/full refuses every write, as a full disk does."""
    _, inv, path = saved

    def save_on_full_disk() -> None:
        with files.written_whole(path.parent / "new.mipin") as file:
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
            file.write(path.read_bytes())

    with pytest.raises(mr.InvalidData, match=r"new\.mipin.*No space left"):
        save_on_full_disk()
    assert os.listdir(path.parent) == ["one.mipin"]
    assert inv.samples == 20
