"""The accuracies of the cards, as they are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import train
from measured.pages import tables_in
from tests.pages.page import ROOT


def test_each_network_with_a_card_is_told_and_so_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main(["cards", "--json", str(tmp_path / "told.json")])
    assert "| mnist_mlp | 98.4% | 98.4% |" in capsys.readouterr().out.splitlines()
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    cards = {path.parent.name: json.loads(path.read_text("utf-8")) for path in ROOT.glob("models_onnx/*/card.json")}
    assert told["values"] == {name: card["accuracy"]["test"] for name, card in cards.items()}
    (run,) = tables_in(ROOT)["models-accuracy"].runs
    # `python tools/figures.py measure models-accuracy --again` takes in what is new.
    assert (run.rows, run.values) == (told["rows"], told["values"])
