"""A ridge that outweighs what the logit differs by: said in one sentence, wherever such a fit is made or used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.inverse.report import Common, Report, TensorReport, timed_rows
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Dense, Op

RNG = np.random.default_rng(4)
W1, W2, W3 = RNG.standard_normal((6, 8)), RNG.standard_normal((8, 5)), RNG.standard_normal((5, 3))
X = RNG.standard_normal((40, 6)).astype(np.float32)


def network(scale: float) -> onnx.ModelProto:
    """Three layers; the logits are scaled."""
    ops: list[Op] = [
        Dense(("input",), "one", W1),
        Activation(("one",), "bent", "Tanh"),
        Dense(("bent",), "two", W2),
        Activation(("two",), "low", "Tanh"),
        Dense(("low",), "scores", scale * W3, bias=np.array([0.3, 0.1, 0.2])),
    ]
    return to_onnx(ops, (6,))


def first_r2(scale: float, ridge: float) -> float:
    """Of the tensor in front of the logits, by the formula of a regression on one number."""
    low = np.tanh(np.tanh(X.astype(np.float64) @ W1) @ W2)
    logit, centred = low @ (scale * W3[:, 1]), low - low.mean(axis=0)
    signal = logit - logit.mean()
    weights = signal @ centred / (signal @ signal + ridge)
    return float(1 - np.square(centred - signal[:, None] * weights).sum() / np.square(centred).sum())


def test_a_ridge_that_outweighs_the_signal_is_told() -> None:
    inv = mr.fit(mr.load(network(1e-6)), X, 1)
    # Float32 logits of 0.1 are rounded to 1e-8, a hundredth of what they differ by.
    assert inv.report["low"].r2 == pytest.approx(first_r2(1e-6, 1e-3), rel=0.05)
    first = inv.report.outweighed[0]
    assert first.tensor == "low"
    assert inv.report.told_outweighed == (
        "the ridge outweighs what the logit differs by over the 40 calibration samples: R² of 'low' is "
        f"{first.r2:.1g}, so that next to nothing comes back and maps are no answer: give a smaller ridge, or "
        "calibration samples that differ more"
    )
    assert str(inv.report).endswith(f"\n{inv.report.told_outweighed}")
    # Of logits of 0.1.
    assert np.abs(inv.attribute(X).contribution).max() < 1e-7


@pytest.mark.parametrize(("scale", "ridge"), [(1.0, 1e-3), (1e-2, 1e-3), (1e-6, 1e-16), (1e-6, 0)])
def test_one_that_does_not_is_not(scale: float, ridge: float) -> None:
    """Less of the signal is left with a smaller one, and a map is no less of a map for that."""
    net = mr.load(network(scale))
    inv = mr.fit(net, X, 1, ridge=ridge)
    assert not inv.report.outweighed
    assert inv.report.told_outweighed is None
    assert "outweighs" not in str(inv.report)
    assert np.abs(inv.attribute(X).contribution).max() > 1e-4


@pytest.mark.parametrize("scale", np.logspace(-7, -5.5, 7))
def test_however_small_the_logits_are_it_is_told_where_maps_are_lost(scale: float) -> None:
    """Each fit leaves less: what the first leaves of logits so small, the next lose."""
    inv = mr.fit(mr.load(network(scale)), X, 1)
    assert inv.report.outweighed
    assert np.abs(inv.attribute(X).contribution).max() < 1e-5


def test_a_tensor_that_never_differs_is_no_sign_of_it() -> None:
    """Behind weights of zeros there is no spread, of which anything could be explained."""
    ops: list[Op] = [
        Dense(("input",), "one", 0 * W1, bias=np.ones(8)),
        Activation(("one",), "bent", "Tanh"),
        Dense(("input",), "two", W1),
    ]
    ops += [Dense(("two",), "scores", W2[:, :3])]
    inv = mr.fit(mr.load(to_onnx(ops, (6,))), X, 1)
    assert not inv.report.outweighed
    same = X.copy()
    same[:, 3] = 0.5
    assert not mr.fit(mr.load(network(1.0)), same, 1).report.outweighed


def test_who_fits_for_the_user_warns_once() -> None:
    net = mr.load(network(1e-6))
    panel = mr.Panel(net, X, names=["mip-in"])
    with pytest.warns(mr.RidgeWarning, match="the ridge outweighs") as caught:
        panel.ready("mip-in", [0, 1, 2])
    assert len(caught) == 1
    with pytest.warns(mr.RidgeWarning) as caught:
        mr.explain(net, X[:3], target=1, calibration=np.concatenate([X, X]), dtype="float64")
    assert [one.filename for one in caught] == [__file__]
    with pytest.warns(mr.RidgeWarning) as caught:
        mr.attribute(net, X[:3], 1, "mip-in", calibration=X)
    assert [one.filename for one in caught] == [__file__]


def test_explain_and_compare_say_so_on_their_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the inverse is fitted, where it was kept, and where it is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    onnx.save(network(1e-6), "net.onnx")
    np.save("x.npy", X)
    for number, more in enumerate(([], [], ["--inverse", "kept.mipin"])):
        given = ["net.onnx", "x.npy", "--target", "1", *more, "-o", f"out{number}"]
        assert main(["explain", *given]) == 0
        printed = capsys.readouterr()
        assert printed.err.count("warning: the ridge outweighs") == 1, number
        assert "the ridge outweighs what the logit differs by" in Path(f"out{number}/index.html").read_text()
        if number == 1:
            assert "kept from an earlier run" in printed.out
            assert main(["fit", "net.onnx", "x.npy", "--target", "1", "-o", "kept.mipin"]) == 0
            assert "the ridge outweighs" in capsys.readouterr().out
    assert main(["compare", "net.onnx", "x.npy", "--methods", "mip-in,gradient", "-o", "page.html"]) == 0
    assert capsys.readouterr().err.count("warning: the ridge outweighs") == 1
    assert "mip-in: the ridge outweighs what the logit differs by" in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("r2", [0.5]), ("r2", None), ("condition", "1"), ("rows", 1.5), ("rows", True), ("samples", -1), ("ridge", {})],
)
def test_rows_of_a_file_hold_numbers(name: str, value: object) -> None:
    row = mr.fit(mr.load(network(1.0)), X, 1).report["low"].as_row()
    assert timed_rows([row], [0.0])[0] == TensorReport(**row, seconds=0.0)
    with pytest.raises(TypeError, match="the row of low holds other than numbers"):
        timed_rows([{**row, name: value}], [0.0])


def test_a_report_of_no_rows_is_not_outweighed() -> None:
    row = mr.fit(mr.load(network(1.0)), X, 1).report["low"].as_row()
    assert not Report(timed_rows([{**row, "rows": 0}], [0.0])).outweighed


@pytest.mark.parametrize("name", ["tensor", "block", "solver"])
def test_rows_of_a_file_name_what_they_are_of(name: str) -> None:
    row = mr.fit(mr.load(network(1.0)), X, 1).report["low"].as_row()
    with pytest.raises(TypeError, match="does not name what it is of in words"):
        timed_rows([{**row, name: [row[name]]}], [0.0])
    with pytest.raises(TypeError, match="is no name"):
        Common(["low"], 3)  # type: ignore[arg-type]
