"""`mipin compare`: the page holds what the panel and the metrics give; what fails is told, errors are one line."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import warnings
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from PIL import Image

import mipin_ref as mr
import mipin_ref.cli.compare
import mipin_ref.cli.compared
from mipin_ref.cli import main
from mipin_ref.cli.compare import whole_factor
from mipin_ref.graph.explained import automatic
from mipin_ref.panel.registry import METHODS
from mipin_ref.report.compare_page import Comparison, Row, ShownClass, compare_page
from mipin_ref.report.signed_png import LEVELS, block_means, png_bytes, signed_png
from tests.cli.test_explain import residual
from tests.graph.sketch import Sketch
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, GlobalAveragePool, Op, Reshape
from tests.report.test_compare_page import Document, decoded

SAMPLES = 30
FITTED = ("mip-in", "patternnet", "pattern-attribution")
PREFIX = "data:image/png;base64,"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", rng.standard_normal((SAMPLES, 3, 8, 8)).astype(np.float32))
    np.savez(tmp_path / "c.npz", x=rng.standard_normal((60, 3, 8, 8)).astype(np.float32), y=np.arange(SAMPLES) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*options: str) -> int:
    """The input is explained unless something else is asked for."""
    at = [] if "--at" in options else ["--at", "input"]
    return main(["compare", "net.onnx", "x.npy", "-o", "report.html", *at, *options])


def page() -> Document:
    return Document(Path("report.html").read_text())


def maps(document: Document, rows: int, methods: int, ranks: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Levels [rows, methods, ranks, H, W] and scales [rows, methods, ranks] of a page."""
    scales = np.array([float(str(one["data-scale"])) for one in document.all("button") if "data-scale" in one])
    sources = [str(one["src"]) for one in document.all("img") if "scale" in str(one["alt"])]
    levels = np.stack([decoded(b64decode(source.removeprefix(PREFIX))) for source in sources])
    shape = (rows, methods, ranks)
    return levels.reshape(*shape, *levels.shape[1:]), scales.reshape(shape)


def expected(panel: mr.Panel, name: str, x: Any, targets: Any) -> np.ndarray[Any, Any]:
    res = panel.explain(name, x, targets)
    return np.asarray(mr.saliency(res, positive=False, size=(8, 8)))


def test_the_page_holds_the_maps_of_the_panel_and_the_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--calibration", "c.npz", "--limit", "3", "--option", "smoothgrad.samples=4") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"showing the first 3 of {SAMPLES} images" in printed.out
    *_, path, following = printed.out.splitlines()
    assert path == "report.html"
    measured = "mipin evaluate deletion net.onnx x.npy --calibration c.npz --limit 3 --steps 32"
    assert following == f"next: open report.html in a browser; measured: {measured}"
    net, x = mr.load("net.onnx"), np.load("x.npy")[:3]
    quick = [name for name, facts in METHODS.items() if facts.suits(net) and not facts.many_passes]
    panel = mr.Panel(net, np.load("c.npz")["x"], names=quick, method_options={"smoothgrad": {"samples": 4}})
    assert "left out: score-cam, rise, occlusion, kernel-shap, which take hundreds" in printed.out
    scores = mr.attribute(net, np.repeat(x, 3, axis=0), np.tile(np.arange(3), 3), "gradient").output.reshape(3, 3)
    targets = np.argsort(-scores, axis=1)
    document = page()
    levels, scales = maps(document, 3, len(panel.names), 3)
    table = [line.split() for line in printed.out.splitlines()]
    for column, name in enumerate(panel.names):
        full = np.stack([expected(panel, name, x, targets[:, rank]) for rank in range(3)], axis=1)
        cut = np.quantile(np.abs(full), 0.995, axis=(2, 3))
        np.testing.assert_allclose(scales[:, column], cut, rtol=1e-6)
        within = np.clip(full, -cut[..., None, None], cut[..., None, None])
        found = levels[:, column] / LEVELS * scales[:, column, :, None, None]
        assert (np.abs(found - within) <= scales[:, column, :, None, None] / (2 * LEVELS) * (1 + 1e-4)).all()
        deletion = mr.metrics.deletion(net, x, full[:, 0], targets[:, 0], steps=32).mean
        insertion = mr.metrics.insertion(net, x, full[:, 0], targets[:, 0], steps=32).mean
        sensitivity = mr.metrics.class_sensitivity(full[:, 0], full[:, 1]).mean
        (line,) = [words for words in table if words[:1] == [name]]
        assert line[1:4] == [f"{deletion:.4f}", f"{insertion:.4f}", f"{sensitivity:.3f}"]
        assert (line[4] == "–") == (name not in FITTED)
        assert set(line) <= {*document.text("th"), *document.text("td")}
    assert any("left out: score-cam, rise, occlusion, kernel-shap, which" in text for text in document.text("p"))
    classes = [text.split()[0] for text in document.text("option")]
    assert classes == ["class"] * targets.size
    assert [text.split()[1] for text in document.text("option")] == [str(c) for c in targets.ravel()]


def test_what_must_be_fitted_is_fitted_on_the_images_without_calibration(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--limit", "2", "--methods", "mip-in,gradient,patternnet") == 0
    printed, document = capsys.readouterr().out, page()
    assert "calibration: 200 shifts and flips of the 2 images, made with seed 0" in printed
    assert "200 shifts and flips of the 2 images, made with seed 0" in document.text("dd")
    assert not document.all("li")
    assert [one for one in document.text("th") if one in mr.methods()] == ["mip-in", "gradient", "patternnet"] * 2


def test_the_last_map_is_explained_unless_another_tensor_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Every method at one tensor, whose maps are those of the library there, resized."""
    net, x = mr.load("net.onnx"), np.load("x.npy")[:2]
    last = automatic(net)
    assert last != net.input
    asked = ["--limit", "2", "--methods", "mip-in,gradient", "--calibration", "c.npz", "-o", "report.html"]
    for given, tensor in (([], last), (["--at", "auto"], last), (["--at", "input"], net.input)):
        assert main(["compare", "net.onnx", "x.npy", *asked, *given]) == 0
        assert f"explained at {tensor!r}" in capsys.readouterr().out
        assert any(repr(tensor) in text for text in page().text("dd"))
        targets = [int(text.split()[1]) for text in page().text("option")][::3]
        levels, scales = maps(page(), 2, 2, 3)
        panel = mr.Panel(net, np.load("c.npz")["x"])
        for column, name in enumerate(("mip-in", "gradient")):
            res = panel.explain(name, x, targets, at=tensor)
            full = mr.saliency(res, positive=False, size=(8, 8))
            cut = np.quantile(np.abs(full), 0.995, axis=(1, 2))
            np.testing.assert_allclose(scales[:, column, 0], cut, rtol=1e-5)
            found = levels[:, column, 0] / LEVELS * cut[:, None, None]
            within = np.clip(full, -cut[:, None, None], cut[:, None, None])
            assert np.abs(found - within).max() <= cut.max() / (2 * LEVELS) * (1 + 1e-4)


def test_a_method_that_fails_on_the_network_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    weight = np.random.default_rng(0).standard_normal((12, 3))
    onnx.save(to_onnx([Reshape(("input",), "flat", (12,)), Dense(("flat",), "y", weight)], (3, 4)), "net.onnx")
    np.save("x.npy", np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32))
    assert compare("--methods", "grad-cam,gradient", "--option", "gradient.=1") == 2
    capsys.readouterr()
    assert compare("--methods", "grad-cam,gradient") == 0
    assert "grad-cam fails: the last feature map" in capsys.readouterr().out
    assert page().text("b") == ["grad-cam"]
    assert compare("--methods", "grad-cam") == 2
    assert "every method fails: grad-cam: the last feature map" in capsys.readouterr().err


def test_a_map_of_zeros_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.zeros((2, 3, 8, 8), np.float32))
    assert compare("--methods", "input-x-gradient,gradient") == 0
    document = page()
    assert document.text("figcaption") == ["zero everywhere"] * 12
    levels, scales = maps(document, 2, 2, 3)
    assert not levels.any()
    assert not scales.any()
    assert capsys.readouterr().out.count("–  ") == 6
    assert any("every map has the same score" in text for text in document.text("p"))


@pytest.mark.parametrize(("head", "classes"), [("Sigmoid", 3), ("Sigmoid", 1), ("Softmax", 3), (None, 3), (None, 1)])
def test_classes_are_shown_with_the_probability_of_the_head(head: str | None, classes: int) -> None:
    """What the file itself gives: of a sigmoid head they do not add up to one, and one sigmoid output has one."""
    sketch = Sketch(3, 8, 8)
    pooled = sketch.node("GlobalAveragePool", sketch.node("Relu", sketch.conv("x", 3, 6)))
    scores = sketch.dense(sketch.node("Flatten", pooled), 6, classes)
    model = sketch.model(scores if head is None else sketch.node(head, scores))
    onnx.save(model, "net.onnx")
    assert compare("--methods", "gradient", "--limit", "4") == 0
    (told,) = ort.InferenceSession("net.onnx").run(None, {"x": np.load("x.npy")[:4]})
    if head is None and classes > 1:
        told = np.exp(told) / np.exp(told).sum(axis=1, keepdims=True)
    form = "{:.3g}" if head is None and classes == 1 else "{:.1%}"
    expected = [form.format(one) for one in -np.sort(-told.astype(np.float64), axis=1).ravel()]
    document = page()
    assert [text.split()[-1] for text in document.text("option")] == expected
    notes = " ".join(document.text("p"))
    assert ("the sigmoid of the class" in notes) == (head == "Sigmoid")
    assert ("no head in the file" in notes) == (head is None and classes > 1)


def test_labels_and_class_names() -> None:
    names = ["<script>alert(1)</script>", "b", "c"]
    Path("card.json").write_text(json.dumps({"class_names": names}))
    assert compare("--methods", "gradient", "--labels", "c.npz", "--class-names", "card.json", "--limit", "6") == 0
    document = page()
    assert len(document.all("script")) == 1
    predicted = np.array([text.rsplit(" ", 1)[0] for text in document.text("option")]).reshape(6, 3)
    assert all(sorted(row) == sorted(names) for row in predicted.tolist())
    told = [text for text in document.text("span") if text.startswith("label ")]
    for number, text in enumerate(told):
        right = predicted[number, 0] == names[number % 3]
        assert text == f"label {names[number % 3]}" + ("" if right else ", not predicted")
    assert len(told) == 6
    assert any(text.endswith("not predicted") for text in told)
    Path("list.json").write_text(json.dumps(["a", 1, "c"]))
    assert compare("--methods", "gradient", "--class-names", "list.json", "--limit", "1") == 0
    assert {text.split()[0] for text in page().text("option")} == {"a", "1", "c"}


def test_a_network_of_one_logit(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    layers: list[Op] = [
        Conv(("input",), "a", rng.standard_normal((4, 3, 3, 3))),
        Activation(("a",), "b", "Relu"),
        GlobalAveragePool(("b",), "mean"),
        Reshape(("mean",), "flat", (4,)),
        Dense(("flat",), "y", rng.standard_normal((4, 1))),
    ]
    onnx.save(to_onnx(layers, (3, 8, 8)), "net.onnx")
    assert compare("--methods", "gradient", "--limit", "2") == 0
    (line,) = [text.split() for text in capsys.readouterr().out.splitlines() if text.startswith("gradient")]
    assert line[3] == "–"
    document = page()
    assert len(document.all("figure")) == 2
    assert any("under the logit" in text for text in document.text("p"))
    logit = mr.attribute(mr.load("net.onnx"), np.load("x.npy")[:2], 0, "gradient").output
    assert document.text("option") == [f"class 0 {value:.3g}" for value in logit]


def test_many_images_are_explained_some_at_a_time_to_the_same_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []
    for rows in (16, 2):
        monkeypatch.setattr(mipin_ref.cli.compared, "ROWS", rows)
        assert compare("--methods", "gradient,lrp-epsilon", "--limit", "5") == 0
        pages.append(maps(page(), 5, 2, 3))
    np.testing.assert_array_equal(pages[0][0], pages[1][0])
    np.testing.assert_allclose(pages[0][1], pages[1][1], rtol=1e-6)


def test_twenty_images_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--methods", "gradient") == 0
    assert f"showing the first 20 of {SAMPLES} images" in capsys.readouterr().out
    assert len(page().all("select")) == 20
    assert compare("--methods", "gradient", "--limit", "200") == 0
    assert "showing" not in capsys.readouterr().out
    assert len(page().all("select")) == SAMPLES


def test_many_pixels_are_stored_as_means(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mipin_ref.cli.compare, "MAP_PIXELS", 2 * 3 * 9)
    assert compare("--methods", "gradient", "--limit", "2") == 0
    assert "means of 3x3 pixels" in capsys.readouterr().out
    levels, scales = maps(page(), 2, 1, 3)
    x, net = np.load("x.npy")[:2], mr.load("net.onnx")
    for rank in range(3):
        targets = [int(text.split()[1]) for text in page().text("option")][rank::3]
        means = block_means(expected(mr.Panel(net), "gradient", x, targets), 3)
        found = levels[:, 0, rank] / LEVELS * scales[:, 0, rank, None, None]
        cut = np.quantile(np.abs(means), 0.995, axis=(1, 2))[:, None, None]
        np.testing.assert_allclose(
            found, np.clip(means, -cut, cut), atol=scales.max() / (2 * LEVELS) * (1 + 1e-4), rtol=0
        )


def test_the_largest_page_stays_below_ten_megabytes() -> None:
    """Noise of 20 images of 224×224 by 15 methods, for five classes each."""
    rng = np.random.default_rng(0)
    factor = whole_factor(20 * 15 * 5, (224, 224))
    side = -(-224 // factor)
    assert side >= 56
    picture = rng.integers(0, 256, (128, 128, 3), np.uint8)
    # Smooth as photographs are: noise of this size would be larger than any photograph.
    picture[:] = picture.mean(axis=(0, 1)) + 24 * rng.standard_normal((128, 128, 1))
    classes = [ShownClass(f"a class of some name {rank}", "20.0%") for rank in range(5)]
    one = [signed_png(rng.standard_normal((side, side))) for _ in range(5)]
    names = [f"some-method-name-{number}" for number in range(15)]
    rows = [
        Row(f"image {n}", png_bytes(Image.fromarray(picture)), classes, dict.fromkeys(names, one)) for n in range(20)
    ]
    shown = Comparison("model", [], names, [], rows, factor, (["method"], [[name] for name in names]))
    assert len(compare_page(shown).encode()) < 10e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "gradeint"], "there is no method 'gradeint'; did you mean 'gradient'?"),
        (["--methods", "gradient,gradient"], "methods must be named, each once"),
        (["--methods", "gradient,"], "there is no method ''"),
        (["--option", "gradient.samples=3"], "method 'gradient' has no option 'samples'; it has none"),
        (["--option", "gradeint.samples=3"], "there is no method 'gradeint'; did you mean"),
        (["--option", "smoothgrad.samples=x"], "samples must be an integer"),
        (["--option", "samples=3"], "--option must look like smoothgrad.samples=50, not 'samples=3'"),
        (["--option", "smoothgrad.samples"], "--option must look like smoothgrad.samples=50"),
        (["--option", "mip-in.memory=3"], "method 'mip-in' has no option 'memory'; its options are ridge"),
        (["--option", "mip-in.ridge=-1"], "ridge must be a number >= 0, not -1"),
        (["--option", "patternnet.patterns=3"], "patterns come from --calibration"),
        (["--methods", "gradient", "--option", "mip-in.ridge=1"], "mip-in is not among the --methods"),
        (["--methods", "gradient", "--option", "smoothgrad.samples=4"], "smoothgrad is not among the --methods"),
        (["--limit", "201"], "--limit: a page shows at most 200 images, not 201"),
        (["--memory", "1KB"], "below the 64 MB"),
        (["--calibration", "missing.npy"], "missing.npy"),
        (["--labels", "c.npz", "--label-key", "x"], "labels must be"),
        (["--class-names", "x.npy"], "x.npy"),
        (["--class-names", "names.json"], "names.json: names 2 classes; the network has 3"),
        (["--class-names", "text.json"], "no list of class names"),
        (["-o", "nowhere/report.html"], "there is no folder 'nowhere' to write to"),
        (["-o", "."], "'.' is a folder"),
    ],
)
def test_errors_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.json").write_text('["a", "b"]')
    Path("text.json").write_text('{"class_names": "abc"}')
    assert compare(*options) == 2
    told(capsys, message)


def told(capsys: pytest.CaptureFixture[str], message: str) -> None:
    printed = capsys.readouterr()
    assert printed.err.startswith("mipin: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not Path("report.html").exists()


def _nan() -> None:
    x = np.load("x.npy")
    x[2, 0, 0, 0] = np.nan
    np.save("x.npy", x)


def _flat_network() -> None:
    onnx.save(to_onnx([Dense(("input",), "y", np.ones((192, 3)))], (192,)), "net.onnx")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (_nan, [], "x.npy: image 2 holds NaN or Inf"),
        (lambda: np.save("x.npy", np.zeros((0, 3, 8, 8), np.float32)), [], "x.npy: holds no samples"),
        (lambda: np.save("x.npy", np.zeros((4, 3, 9, 9), np.float32)), [], "do not fit the network's input"),
        (lambda: np.save("y.npy", np.zeros(4, int)), ["--labels", "y.npy"], "there are 4 labels for 30 samples"),
        (
            lambda: np.save("y.npy", np.full(SAMPLES, 3)),
            ["--labels", "y.npy"],
            "labels run up to 3; the network has classes 0..2",
        ),
        (_flat_network, ["--at", "y"], "so that it explains the input 'input', and not 'y'"),
        (lambda: Path("net.onnx").unlink(), ["-o", "nowhere/r.html"], "there is no folder 'nowhere'"),
    ],
)
def test_bad_files_are_told_in_one_line(
    change: Callable[[], None], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change()
    assert compare(*options) == 2
    told(capsys, message)


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_alone() -> None:
    command = [sys.executable, "-m", "mipin_ref", "compare", "net.onnx", "x.npy", "-o", "report.html", "--limit", "2"]
    command += ["--calibration", "c.npz"]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout
    terminal, end = pty.openpty()
    seen: list[bytes] = []
    reader = Thread(target=lambda: seen.extend(_chunks(terminal)))
    reader.start()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdout=subprocess.PIPE, stderr=end, env=environment, timeout=120, check=True)
    os.close(end)
    reader.join()
    os.close(terminal)
    shown = b"".join(seen).decode()
    assert "maps and metrics" in shown
    net = mr.load("net.onnx")
    quick = sum(not facts.many_passes and facts.suits(net) for facts in METHODS.values())
    assert f"{quick}/{quick}" in shown


def _chunks(terminal: int) -> list[bytes]:
    """What a terminal shows until nobody writes to it any more."""
    found: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # Linux's way to tell the end of a terminal
            return found
        if not part:
            return found
        found.append(part)


def test_flat_digits_are_shown_as_the_images_that_are_stored() -> None:
    example = mr.data.builtin("mnist_mlp")
    with np.load(example.calibration) as stored:
        np.savez("digits.npz", x=stored["x_test"][:2])
    options = ["-o", "digits.html", "--methods", "gradient", "--at", "input"]
    assert main(["compare", str(example.model), "digits.npz", *options]) == 0
    sizes = [
        Image.open(io.BytesIO(b64decode(str(one["src"]).removeprefix(PREFIX)))).size
        for one in Document(Path("digits.html").read_text()).all("img")
    ]
    assert len(sizes) == 2 + 2 * 5
    assert {*sizes} == {(28, 28)}


def test_a_signal_is_a_line_of_its_steps() -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 40)).astype(np.float32)
    net = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(108, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.from_numpy(x[:1]),), "signal.onnx", dynamo=False)
    np.save("signals.npy", x)
    options = ["-o", "signals.html", "--methods", "gradient,occlusion"]
    assert main(["compare", "signal.onnx", "signals.npy", *options]) == 0
    text = Path("signals.html").read_text()
    assert "Contribution of each step to the score of the class: a line for each signal" in text
    assert text.count('<figure data-rank="0"') == 2 * 2
