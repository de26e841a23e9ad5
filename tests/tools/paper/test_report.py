"""The report: one page that fetches nothing, shows what is there and says what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import figure8, report, scenes
from paper.page import heat
from paper.results import Results
from tests.tools.paper.reading import part_in
from tests.tools.training.clutter_data import files
from training import clutter


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> str:
    out = folder / "report.html"
    given = ["--results", str(folder / "out"), "--out", str(out), *options]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "report", *given])
    reproduce_paper.main()
    return out.read_text()


def test_a_page_without_results_says_all_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page(written(monkeypatch, tmp_path))
    assert len([tag for tag, _ in page.tags if tag == "h2"]) == len(report.EXPERIMENTS)
    told = capsys.readouterr().out
    for experiment in report.EXPERIMENTS:
        parts = experiment.expected()
        assert f"{experiment.NAME}: {len(parts)} of {len(parts)} parts missing" in told
        assert f"Missing, {len(parts)} of {len(parts)} parts" in page.text
        assert experiment.PAPER in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_page_of_results_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Results(tmp_path / "out")
    shown = [[1.0, 2], [3, 4]]
    picture = heat(np.array(shown))
    store.part("figure5", "input", {}, lambda: {"pictures": [picture] * 4})
    store.part(
        "figure5",
        "mip-in",
        {},
        lambda: {"pictures": [picture] * 4, "shares": {"on": 0.5, "around": 0.25, "background": 0.25}},
    )
    store.part("figure5", "deeplift", {}, lambda: {"failed": "no <b>map</b> & none"})
    store.part("accuracy", "clutter_vgg", {"samples": 10, "seed": 1}, lambda: {"accuracy": 0.5})
    html = written(monkeypatch, tmp_path)
    page = Page(html)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 8
    for attributes in images:
        assert str(attributes["src"]).startswith("data:image/png;base64,")
        assert attributes["alt"]
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    assert "no <b>map</b> & none" in page.text, "text of a result is text"
    assert "50.0%" in page.text
    assert "Missing, 12 of 15 parts: gradient, " in page.text
    assert "Missing, 1 of 2 parts: clutter_resnet." in page.text


def test_a_damaged_result_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accuracy--clutter_vgg.json").write_text("{")
    with pytest.raises(SystemExit) as caught:
        written(monkeypatch, tmp_path)
    assert caught.value.code == 2
    assert "accuracy--clutter_vgg.json is no result" in capsys.readouterr().err.strip().splitlines()[-1]


def test_with_data_what_is_missing_is_made_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    asked = []
    for experiment in report.EXPERIMENTS:
        monkeypatch.setattr(
            experiment, "run", lambda options, results, name=experiment.NAME: asked.append((name, options))
        )
    written(monkeypatch, tmp_path, "--mnist", str(mnist), "--fashion", str(fashion))
    names = [name for name, _ in asked]
    assert names[0] == "study", "the stand-in's last row reads it"
    # There is no model of photographs, and ILSVRC is asked for by its own command.
    assert set(names) == {one.NAME for one in report.EXPERIMENTS} - {"pointing", "parts", "table2"}
    assert all(options.mnist == mnist for _, options in asked)
    asked.clear()
    written(monkeypatch, tmp_path, "--model-efficientnet", "net.onnx", "--photographs", "folder")
    assert [(name, options.model) for name, options in asked] == [
        (name, Path("net.onnx")) for name in ("pointing", "parts")
    ]


def test_an_interruption_ends_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(options: Any, results: Any) -> None:
        raise KeyboardInterrupt

    mnist, fashion = files(tmp_path)
    monkeypatch.setattr(report.EXPERIMENTS[0], "run", interrupted)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "table1", *given])
    with pytest.raises(SystemExit) as caught:
        reproduce_paper.main()
    assert caught.value.code == 130
    assert "what was finished is in the folder" in capsys.readouterr().err


def test_figure8_counts_what_lies_in_the_box_asked_for() -> None:
    maps = np.zeros((3, 8, 8))
    maps[0, :2, :2] = [[1, 2], [3, -9]]
    maps[0, 4:6, 4:6] = 1
    maps[0, 7, 7] = 100
    maps[1, 0, 0] = 1
    pair = np.array([[0, 0, 2, 2], [4, 4, 6, 6]])
    shares = figure8.own_share(maps, np.stack([pair] * 3), 0)
    np.testing.assert_allclose(shares, [6 / 10, 1, np.nan])
    np.testing.assert_allclose(figure8.own_share(maps, np.stack([pair] * 3), 1)[:2], [4 / 10, 0])


@pytest.mark.slow
def test_figure8_explains_either_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    few = ["--networks", "clutter_vgg", "--samples", "4", "--methods", "gradient", "grad-cam"]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "figure8", *given, *few])
    reproduce_paper.main()
    pairs = clutter.compose(clutter.load_sources(mnist, fashion, "test"), "test", 4, scenes.PAIRS_SEED, pairs=True)
    net = scenes.network("clutter_vgg")
    x = pairs.x.astype(np.float32) / np.float32(255)
    own, alike = [], []
    for i in range(4):
        maps = [mr.saliency(mr.attribute(net, x[i : i + 1], int(c), "gradient"), positive=False)[0] for c in pairs.y[i]]
        alike.append(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1])
        for turn in (0, 1):
            sums = [np.maximum(maps[turn][y0:y1, x0:x1], 0).sum() for x0, y0, x1, y1 in pairs.boxes[i]]
            own.append(sums[turn] / sum(sums))
    result = part_in(Results(tmp_path / "out"), "figure8", "clutter_vgg--gradient").result
    assert result["own"] == pytest.approx(np.mean(own), abs=1e-3)
    assert result["alike"] == pytest.approx(np.mean(alike), abs=1e-3)
    page = Page(written(monkeypatch, tmp_path))
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 12
