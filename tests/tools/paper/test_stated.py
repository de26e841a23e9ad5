"""What the paper states: the numbers as they stand in its text, told by a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reproduce_paper


def test_the_paper_s_figures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of Table 1 in percent, of Table 2 with the margins that the paper's section 6.3 states itself."""
    path = tmp_path / "stated.json"
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "published", "--json", str(path)])
    reproduce_paper.main()
    told = json.loads(path.read_text())
    assert told["rows"] == []
    values = told["values"]
    percents = {key: round(100 * values[key], 6) for key in values if key.endswith(("_apc", "_positive"))}
    assert percents == {
        "mnist_mlp_apc": 10.1,
        "mnist_mlp_positive": 2.6,
        "mnist_cnn_apc": 16.5,
        "mnist_cnn_positive": 2.3,
        "rgb32_cnn_apc": 21.1,
        "rgb32_cnn_positive": 10.6,
    }
    assert {key: round(values[key], 6) for key in values if key.startswith(("vgg_", "resnet_"))} == {
        "vgg_mip_in": 0.648,
        "vgg_rival": 0.518,
        "vgg_margin": 0.13,
        "resnet_mip_in": 0.662,
        "resnet_rival": 0.541,
        "resnet_margin": 0.121,
    }
    distances = {"mip_in": 5.53, "lrp_epsilon": 6.88, "pattern_attribution": 0.91, "deep_taylor": 3.62}
    assert {key: values[f"sensitivity_{key}"] for key in distances} == distances
    assert capsys.readouterr().out.splitlines() == [f"{key} {value:g}" for key, value in values.items()]
