"""The files of a checkpoint: whose they are, who may write them, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from threadpoolctl import threadpool_limits

import mipin_ref as mr
from mipin_ref.files import locked
from mipin_ref.inverse.passes import checkpoint as module
from mipin_ref.inverse.passes.checkpoint import discard
from tests.inverse.passes.test_resume import Child, Solves, chain_ops, content, passes, residual, same, saved
from tests.inverse.passes.test_resume import X as CHAIN_X
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.stored import flips, resealed

LABELS = np.arange(20) % 3


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> Solves:
    return Solves(monkeypatch)


@pytest.fixture
def kept(tmp_path: Path, solves: Solves) -> Path:
    """The checkpoint of a finished fit of classes 0 and 2: two passes."""
    solves.during(small(), X, [0, 2], checkpoint=tmp_path / "kept", fit_on="target_class")
    assert len(passes(tmp_path / "kept")) == 2
    return tmp_path / "kept"


def again(place: Path) -> Mapping[int, mr.Inverse]:
    return mr.fit(small(), X, [0, 2], checkpoint=place, fit_on="target_class")


def test_a_finished_fit_returns_at_once_and_whole(kept: Path, solves: Solves) -> None:
    expected = mr.fit(small(), X, [0, 2], fit_on="target_class")
    files = {path: path.stat().st_mtime_ns for path in passes(kept)}
    solves.count = 0
    found = again(kept)
    assert solves.count == 0
    assert same(found, expected)
    assert found[2].attribute(X).source.tobytes() == expected[2].attribute(X).source.tobytes()
    assert {path: path.stat().st_mtime_ns for path in passes(kept)} == files


def test_a_pass_that_is_missing_in_the_middle_is_made_again(kept: Path, solves: Solves) -> None:
    expected = mr.fit(small(), X, [0, 2], fit_on="target_class")
    passes(kept)[0].unlink()
    solves.count = 0
    assert same(again(kept), expected)
    assert solves.count == 2
    assert len(passes(kept)) == 2


def test_the_folder_says_what_it_is(kept: Path) -> None:
    (note,) = kept.glob("*/fit.json")
    told = json.loads(note.read_text())
    assert told["format"] == "mipin-checkpoint"
    assert told["targets"] == [0, 2]
    assert told["options"]["fit_on"] == "target_class"
    assert told["data"]["shape"] == [20, 1, 6, 6]
    assert told["model_sha256"] == small().sha256


def other(x: np.ndarray, sample: int) -> np.ndarray:
    changed = x.copy()
    changed[sample, 0, 3, 3] = np.nextafter(changed[sample, 0, 3, 3], np.float32(9))
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"x": other(X, 0)},
        {"x": other(X, 19)},
        {"x": X[:19]},
        {"x": X.astype(np.float64)},
        {"net": small(bias=0.1)},
        {"target": [2, 0]},
        {"target": [0]},
        {"labels": LABELS},
        {"ridge": 2e-3},
        {"conv_bias": True},
        {"at": "relu"},
        {"input_mask": True},
        {"local": False},
        {"fit_on": "target_class"},
        {"dtype": "float32"},
        {"memory": "1.9GB"},
        {"batch_size": 20},
    ],
)
def test_what_differs_in_anything_is_another_fit(changes: dict[str, Any], tmp_path: Path, solves: Solves) -> None:
    given: dict[str, Any] = {"net": small(), "x": X, "target": [0, 2]}
    mr.fit(**given, checkpoint=tmp_path)
    given |= changes
    expected = mr.fit(**given)
    solves.count = 0
    found = mr.fit(**given, checkpoint=tmp_path)
    assert solves.count == 2 * len(found) - ("at" in changes) * len(found)
    assert same(found, expected)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_versions_are_another_fit(kept: Path, solves: Solves, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mipin_ref", "numpy"):
        monkeypatch.setattr(module, "packages", lambda name=name: {name: "99"})
        solves.count = 0
        again(kept)
        assert solves.count == 4
    assert len(list(kept.iterdir())) == 3


def test_the_same_data_in_another_guise_are_the_same_fit(
    kept: Path, solves: Solves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", X)
    solves.count = 0
    mr.fit(small(), tmp_path / "x.npy", [0, 2], checkpoint=kept, fit_on="target_class")
    mr.fit(small(), list(X), range(0, 3, 2), checkpoint=str(kept), fit_on="target_class", memory=2 * 10**9)
    monkeypatch.setattr(module, "_READ_BYTES", 700)
    again(kept)
    assert solves.count == 0


def refused(place: Path, path: Path, message: str | None = None) -> None:
    """With the file's name and what to do."""
    with pytest.raises(mr.CorruptFile, match=message) as error:
        again(place)
    assert str(path) in str(error.value)
    assert "delete this file and its pass is computed again" in str(error.value)


@pytest.mark.parametrize("which", [0, 1])
def test_every_truncation_is_refused(kept: Path, which: int) -> None:
    path = passes(kept)[which]
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(kept, path, "finished pass of a fit, or is truncated")
    path.unlink()
    again(kept)


@pytest.mark.slow
def test_every_flipped_bit_is_refused(kept: Path) -> None:
    path = passes(kept)[1]
    for _ in flips(path, 250):
        refused(kept, path)


def rewritten(path: Path, change: Any) -> None:
    """With another header or other tensors, and the checksums that belong to them."""
    resealed(path, module.PASS, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(version=99), "format version 99"),
        (lambda h, t: h.update(key="0" * 32), "another fit"),
        (lambda h, t: h.update(targets=[2, 0]), "another pass"),
        (lambda h, t: h.update(tensors=["conv"]), "another pass"),
        (lambda h, t: h.pop("found"), "incomplete"),
        (lambda h, t: h["found"].pop(), "incomplete"),
        (lambda h, t: h["found"][0].pop("samples"), "incomplete"),
        (lambda h, t: h["found"][0]["report"][0].pop("r2"), "incomplete"),
        (lambda h, t: h["beside"]["seconds"].pop(), "incomplete"),
        (lambda h, t: h["beside"]["seconds"][0].pop(), "incomplete"),
        (lambda h, t: t.pop("2.0.0"), "incomplete"),
        (lambda h, t: t.pop("2.rows"), "incomplete"),
        (lambda h, t: t["0.0.0"].fill(np.nan), "no finite weights"),
        (lambda h, t: t.update({"0.0.0": np.zeros((2, 2))}), "no finite weights"),
    ],
)
def test_what_is_incomplete_is_refused(kept: Path, change: Any, message: str) -> None:
    path = passes(kept)[0]
    rewritten(path, change)
    refused(kept, path, message)


def test_passes_do_not_stand_for_one_another(kept: Path) -> None:
    first, second = passes(kept)
    shutil.copy(first, second)
    refused(kept, second, "another pass")
    mr.fit(small(), X, [0, 2], checkpoint=kept, fit_on="target_class", ridge=1.0)
    strange = next(path for path in passes(kept) if path.parent != first.parent and path.name == first.name)
    shutil.copy(strange, first)
    refused(kept, first, "another fit")


def test_a_folder_in_which_nothing_was_finished_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for place in ("new", "mine"):
        with pytest.raises(mr.InvalidData, match="nothing to invert"):
            mr.fit(small(last=0.0), X, 0, checkpoint=tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("given", [3, True, b"bytes"])
def test_what_is_no_path_is_refused(given: Any) -> None:
    with pytest.raises(mr.InvalidData, match="checkpoint must be the path of a folder or None, not"):
        mr.fit(small(), X, 0, checkpoint=given)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(mr.InvalidData, match="is a file; name a folder"):
        mr.fit(small(), X, 0, checkpoint=tmp_path / "file")


@pytest.mark.slow
def test_two_fits_share_a_folder_and_the_same_one_is_refused(tmp_path: Path) -> None:
    """Two processes at once with other targets; a third at the same as one of them, until that is killed."""
    rng = np.random.default_rng(148)
    onnx.save(to_onnx(residual(rng), (2, 16, 16)), str(tmp_path / "net.onnx"))
    x = rng.standard_normal((300, 2, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    net, place = mr.load(tmp_path / "net.onnx"), tmp_path / "shared"
    with (
        # As many threads here as there: their number may show in the last bits.
        threadpool_limits(limits=1),
        Child(tmp_path, place, {"target": [2], "pause": "sum4, class 2"}) as one,
        Child(tmp_path, place, {"target": [0]}) as two,
    ):
        one.line("sum4, class 2")
        with pytest.raises(mr.InvalidData, match=r"another process is at this very fit in .*shared"):
            mr.fit(net, x, [2], checkpoint=place)
        one.killed_after(0)
        found = mr.fit(net, x, [2], checkpoint=place)
        assert two.ended()[-1] == "done"
    with threadpool_limits(limits=1):
        assert same(found, mr.fit(net, x, [2]))
        mr.fit(net, x, 0).save(tmp_path / "1.mipin")
    assert saved(tmp_path, [0]) == saved(tmp_path, [1])
    assert len(list(place.iterdir())) == 2


@pytest.mark.slow
def test_killed_while_a_file_is_renamed(tmp_path: Path) -> None:
    """The bytes are there, under the temporary name alone: the pass is made again, and the rest is swept away."""
    model, data = tmp_path / "net.onnx", tmp_path / "x.npy"
    onnx.save(to_onnx(chain_ops(), (2, 10, 10)), str(model))
    np.save(data, CHAIN_X)
    script = (
        "import os, signal, sys, numpy as np, mipin_ref as mr\n"
        "place, model, data, stop_at = sys.argv[1:]\n"
        "original, calls = os.replace, []\n"
        "def replace(old, new):\n"
        "    calls.append(new)\n"
        "    if len(calls) == int(stop_at):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    original(old, new)\n"
        "os.replace = replace\n"
        "mr.fit(mr.load(model), np.load(data), [0, 2], checkpoint=place, fit_on='target_class')\n"
    )
    net = mr.load(model)
    expected = mr.fit(net, CHAIN_X, [0, 2], fit_on="target_class")
    for call in (1, 2, 5):  # the note, the first and the last pass
        place = tmp_path / str(call)
        command = [sys.executable, "-c", script, *map(str, (place, model, data, call))]
        environment = os.environ | {"PYTHONPATH": str(Path(mr.__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(list(place.glob("*/.*.tmp"))) == 1
        assert len(passes(place)) == max(0, call - 2)
        assert same(mr.fit(net, CHAIN_X, [0, 2], checkpoint=place, fit_on="target_class"), expected)
        assert sorted(path.name for path in place.glob("*/*")) == [
            "fit.json",
            "lock",
            *(f"pass-{wave:04d}-0000.safetensors" for wave in range(4)),
        ]


def test_discard_takes_away_what_is_ours_and_not_in_use(kept: Path) -> None:
    mr.fit(small(), X, 1, checkpoint=kept)
    used = next(path.parent for path in kept.glob("*/fit.json") if json.loads(path.read_text())["targets"] == [1])
    (kept / "notes.txt").write_text("mine")
    (kept / "mine").mkdir()
    with locked(used / "lock"):
        discard(kept)
        assert sorted(kept.iterdir()) == sorted([used, kept / "notes.txt", kept / "mine"])
        assert len(passes(kept)) == 2
    discard(kept)
    assert sorted(path.name for path in kept.iterdir()) == ["mine", "notes.txt"]
    (kept / "notes.txt").unlink()
    (kept / "mine").rmdir()
    discard(kept)
    assert not kept.exists()
    discard(kept)


def test_one_target_alone_is_an_inverse(tmp_path: Path) -> None:
    for _ in range(2):
        assert content(mr.fit(small(), X, 1, checkpoint=tmp_path)) == content(mr.fit(small(), X, 1))
