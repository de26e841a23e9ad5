"""`explain` whose fit takes long and is interrupted: the same call goes on from the passes that were finished."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.explain import fits, ways
from mipin_ref.explain.cache import Cache
from mipin_ref.inverse.passes.checkpoint import Checkpoint
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Dense, Op

FITTED = 4


@pytest.fixture
def passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where passes are kept; every fit of more than one tensor takes long."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ways, "LONG", 0.0)
    return tmp_path / "mipin_ref" / "passes"


def network() -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(4)
    ops: list[Op] = []
    name, width = "input", 6
    for number in range(FITTED - 1):
        ops.append(Dense((name,), f"dense{number}", rng.standard_normal((width, 8))))
        ops.append(Activation((f"dense{number}",), f"relu{number}", "Relu"))
        name, width = f"relu{number}", 8
    ops.append(Dense((name,), "scores", rng.standard_normal((8, 3))))
    return to_onnx(ops, (6,)), rng.standard_normal((100, 6)).astype(np.float32)


def explained(model: bytes, x: np.ndarray, **options: Any) -> mr.Explanation:
    return mr.explain(model, x[:5], at="input", calibration=x, dtype="float64", **{"progress": False, **options})


def interrupted(model: bytes, x: np.ndarray, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """As by Ctrl-C when so many passes are finished."""
    plain, count = Checkpoint.save, [0]

    def then_stop(self: Checkpoint, *arguments: Any) -> None:
        plain(self, *arguments)
        count[0] += 1
        if count[0] == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", then_stop)
        with pytest.raises(KeyboardInterrupt):
            explained(model, x, progress=True)


def taken_over(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each pass that is asked for from now on was finished before."""
    told: list[bool] = []
    plain = Checkpoint.load

    def counted(self: Checkpoint, *arguments: Any) -> Any:
        finished = plain(self, *arguments)
        told.append(finished is not None)
        return finished

    monkeypatch.setattr(Checkpoint, "load", counted)
    return told


def assert_same(one: mr.Explanation, other: mr.Explanation) -> None:
    np.testing.assert_array_equal(one.result.attribution, other.result.attribution)
    np.testing.assert_array_equal(one.result.source, other.result.source)


def test_the_same_call_goes_on(
    passes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit what it gives when nothing comes between; nothing of the passes is left then."""
    model, x = network()
    interrupted(model, x, monkeypatch, after=2)
    assert "interrupted, the same command goes on from its last finished pass" in capsys.readouterr().err
    assert len([*passes.rglob("pass-*")]) == 2
    told = taken_over(monkeypatch)
    resumed = explained(model, x)
    assert told == [True, True, False, False]
    assert not passes.exists()
    assert_same(resumed, explained(model, x, cache=False))


def damage(folder: Path) -> None:
    first = min(folder.rglob("pass-*"))
    first.write_bytes(first.read_bytes()[:-7])


def occupy(folder: Path) -> None:
    """Let nothing be a folder there."""
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize("spoil", [damage, occupy])
def test_passes_that_cannot_be_used_are_made_anew(spoil: Any, passes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()
    interrupted(model, x, monkeypatch, after=2)
    spoil(passes)
    assert_same(explained(model, x), explained(model, x, cache=False))


def test_a_fit_that_fails_of_itself_is_not_made_again(passes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()
    begun = [0]

    def failing(*arguments: Any, **options: Any) -> None:
        begun[0] += 1
        raise mr.InvalidData("the fit has a fault")

    monkeypatch.setattr(fits, "fit", failing)
    with pytest.raises(mr.InvalidData, match="the fit has a fault"):
        explained(model, x)
    assert begun == [1]


def test_what_takes_no_time_and_what_is_not_kept_leaves_no_pass(passes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()

    def refused(*arguments: Any) -> None:
        raise AssertionError("a pass was kept")

    monkeypatch.setattr(Checkpoint, "save", refused)
    explained(model, x, cache=False)
    monkeypatch.setattr(ways, "LONG", 1e9)
    explained(model, x)
    assert not passes.exists()


def sizes(folder: Path) -> Sequence[int]:
    return [os.stat(one).st_size for one in folder.rglob("pass-*")]


def test_passes_of_fits_that_never_went_on_go_when_they_are_too_many(
    passes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = network()
    interrupted(model, x, monkeypatch, after=2)
    size = sum(sizes(passes))
    assert Cache(passes.parent, limit=4 * size).passes("other") == passes / "other"
    assert sum(sizes(passes)) == size
    assert Cache(passes.parent, limit=size // 2).passes("other") == passes / "other"
    assert not sizes(passes)
    assert Cache(None).passes("other") is None


def test_a_fit_that_ends_leaves_the_passes_of_another(passes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()
    interrupted(model, x, monkeypatch, after=2)
    explained(model, x[:90])
    told = taken_over(monkeypatch)
    explained(model, x)
    assert told == [True, True, False, False]
    assert not passes.exists()
