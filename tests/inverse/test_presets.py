"""A preset is the options that it stands for: bit for bit, in Python and on the command line; others hold over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.inverse.options import DEFAULTS, METHOD_OPTIONS, OPTIONS, PRESETS
from tests.cli.test_explain import residual
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.pages.page import TEXTS

NAMES = sorted(PRESETS)
OTHER = {"ridge": DEFAULTS["ridge"]}
"""Given besides: what is the default, which no preset may take for not given."""


def same(one: mr.Attribution, other: mr.Attribution) -> None:
    for name in ("source", "attribution", "value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_made_of_options_that_explain_takes_too(name: str) -> None:
    assert PRESETS[name]
    assert PRESETS[name].keys() <= set(METHOD_OPTIONS) <= OPTIONS.keys()
    assert any(value != DEFAULTS[one] for one, value in PRESETS[name].items())


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_with_it_is_one_with_its_options(name: str, tmp_path: Path) -> None:
    net = small()
    made, spelt = mr.fit(net, X, 1, preset=name), mr.fit(net, X, 1, **PRESETS[name])
    same(made.attribute(X), spelt.attribute(X))
    assert made.options == spelt.options
    made.save(tmp_path / "one.mipin")
    assert mr.load_inverse(tmp_path / "one.mipin", net).options == spelt.options
    several = mr.fit(net, X, [0, 1], preset=name)
    same(several[1].attribute(X), spelt.attribute(X))


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_is_given_holds_over_it(name: str) -> None:
    net = small()
    made, spelt = mr.fit(net, X, 1, preset=name, **OTHER), mr.fit(net, X, 1, **{**PRESETS[name], **OTHER})
    assert made.options == spelt.options != mr.fit(net, X, 1, preset=name).options
    same(made.attribute(X), spelt.attribute(X))


@pytest.mark.parametrize("wrong", ["locate", "", 3, ["localise"]])
def test_one_that_there_is_not_is_refused_with_those_there_are(wrong: Any) -> None:
    for call in (lambda: mr.fit(small(), X, 1, preset=wrong), lambda: mr.explain(small(), X, preset=wrong)):
        with pytest.raises(mr.InvalidData, match=r"there is no preset .*; there is 'localise'"):
            call()


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mr.Network:
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((9, 3, 8, 8)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return mr.load("net.onnx")


def spelt(name: str) -> list[str]:
    """The options of a preset as `mipin explain` writes them."""
    return [word for one, value in PRESETS[name].items() for word in ("--option", f"{one}={value}".lower())]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_fits_the_same(name: str, net: mr.Network) -> None:
    fit = ["fit", "net.onnx", "x.npy", "--target", "1", "--at", "last", "-o"]
    assert main([*fit, "preset.mipin", "--preset", name]) == 0
    assert main([*fit, "over.mipin", "--preset", name, "--ridge", f"{OTHER['ridge']:g}"]) == 0
    x = np.load("x.npy")
    for file, options in (("preset", PRESETS[name]), ("over", {**PRESETS[name], **OTHER})):
        expected = mr.fit(net, x, 1, at="last", **options)
        made = mr.load_inverse(f"{file}.mipin", net)
        assert made.options == expected.options
        same(made.attribute(x), expected.attribute(x))


@pytest.mark.parametrize("name", NAMES)
def test_explain_does_the_same_in_python_and_on_the_command_line(name: str, net: mr.Network) -> None:
    x = np.load("x.npy")
    quiet: dict[str, Any] = {"target": 1, "at": "last", "cache": False, "progress": False}
    made = mr.explain(net, x, preset=name, calibration=x, **quiet)
    expected = mr.explain(net, x, calibration=x, **quiet, **PRESETS[name])
    same(made.result, expected.result)
    assert made.explainer.header["options"] == expected.explainer.header["options"] == PRESETS[name]
    assert made.result.source.tobytes() != mr.explain(net, x, calibration=x, **quiet).result.source.tobytes()
    over = mr.explain(net, x, calibration=x, preset=name, **quiet, **OTHER)
    same(over.result, mr.explain(net, x, calibration=x, **quiet, **{**PRESETS[name], **OTHER}).result)
    explain = ["explain", "net.onnx", "x.npy", "--target", "1", "--at", "last", "--calibration", "x.npy", "-o"]
    assert main([*explain, "preset", "--preset", name]) == 0
    assert main([*explain, "spelt", *spelt(name)]) == 0
    with np.load("preset/attribution.npz") as one, np.load("spelt/attribution.npz") as other:
        np.testing.assert_array_equal(one["attribution"], other["attribution"])
        assert str(one["header"]) == str(other["header"])


def test_what_it_does_not_go_with_is_refused(net: mr.Network, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.load("x.npy")
    inverse = mr.fit(net, x, 1, at="last")
    with pytest.raises(mr.InvalidData, match="fitted already: leave preset 'localise' out"):
        mr.explain(net, x, inverse=inverse, preset="localise", cache=False, progress=False)
    with pytest.raises(mr.InvalidData, match="options of MIP-IN's fit, which method 'grad-cam' has none of"):
        mr.explain(net, x, method="grad-cam", preset="localise", cache=False, progress=False)
    inverse.save("one.mipin")
    for words, why in (
        (["--inverse", "one.mipin", "--preset", "localise"], "fitted with its own"),
        (["--method", "grad-cam", "--preset", "localise"], "has none of"),
        (["--preset", "locate"], "there is 'localise'"),
    ):
        assert main(["explain", "net.onnx", "x.npy", "-o", "out", *words]) == 2
        assert why in capsys.readouterr().err
    assert main(["fit", "net.onnx", "x.npy", "--target", "1", "-o", "no.mipin", "--preset", "locate"]) == 2
    assert "there is 'localise'" in capsys.readouterr().err
    assert not Path("no.mipin").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_the_method_defines_it(name: str) -> None:
    told = " ".join(TEXTS["mipin_ref/inverse/README.md"].split())
    options = ", ".join(f"{one}={value!r}" for one, value in PRESETS[name].items())
    assert f'`preset="{name}"` stands for `{options}`' in told
