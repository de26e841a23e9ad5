"""The measurements of tools/bench.py at tiny sizes, and what they are made of; never how long anything takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

import bench
import mipin_ref as mr
from benchmarks import architectures, classes, commands, data, environment, growth, networks, rate, signals, timing, vgg
from measured.cells import cell
from mipin_ref.graph import forward
from mipin_ref.inverse.passes.problem import Problem, Sums
from mipin_ref.layers import Conv, Dense
from paper import photographs
from tests.tools.paper.pointing_data import SIDE, recognisable

TOOLS = Path(__file__).parents[3] / "tools"
MODELS = Path(__file__).parents[3] / "models_onnx"
Table = list[list[str]]

TINY = {
    "footprint": ("--networks", "mnist_mlp", "--target", "3", "--samples", "20"),
    "paper": ("--samples", "24", "--fit-samples", "24", "--epochs", "2", "--recipe-batch", "8", "--batch", "10"),
    "dense": ("--samples", "600", "--fit-samples", "100", "--repeats", "1", "--batch", "250"),
    "vgg": (*("--samples", "50", "--shape", "4", "3", "3", "--hidden", "16", "--classes", "5"), "--memory", "64MB"),
    "rate": ("--samples", "600", "--classes", "2", "--repeats", "1", "--gemm", "64"),
    "classes": (
        *("--samples", "40", "--classes", "2", "--compared", "3", "--dtype", "float64"),
        *("--at", "/relu4/Relu_output_0", "--common", "/relu5/Relu_output_0"),
    ),
    "common": ("--samples", "40", "--tensors", "2", "--dtype", "float64", "--at", "/relu4/Relu_output_0"),
    "dtype": ("--samples", "600", "--repeats", "1", "--networks", "mnist_mlp"),
    "chain": ("--samples", "30", "--network", "mnist_mlp"),
    "memory": ("--samples", "20", "1500", "--networks", "mnist_mlp"),
    "fit": ("--samples", "20"),
    "attribute": ("--samples", "10", "--batch", "4", "--repeats", "1"),
    "explainer": ("--networks", "mnist_mlp", "--samples", "20", "--batches", "2", "--repeats", "2"),
    "thousand": (),
    "methods": ("--batch", "4", "--repeats", "1", "--methods", "gradient", "deeplift", "--dtypes", "float32"),
    "commands": ("--repeats", "1", "--compared", "2", "--methods", "grad-cam,gradient", "--preset", "unit"),
    "demo": ("--repeats", "1"),
    "growth": (*("--samples", "8", "16", "--channels", "2", "--depth", "1"), "--base", "8", "2", "1", "--repeats", "1"),
    "threads": ("--samples", "20", "--repeats", "1", "--networks", "mnist_mlp", "--counts", "1"),
    "architectures": ("--thin", "--networks", "mobilenet_v2", "--samples", "4", "--repeats", "1"),
    "dask-scaling": ("--samples", "300", "--network", "mnist_mlp"),
}


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Embedded digits in the form of Keras's file."""
    with np.load(data.digits_path(None)) as arrays:
        np.savez(tmp_path / "mnist.npz", x_train=arrays["x"][:30, 0], y_train=arrays["y"][:30])
    return tmp_path / "mnist.npz"


def tables(printed: str) -> list[Table]:
    """The Markdown tables in a text, headings first, without the line of dashes."""
    parsed: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n)+", printed, re.MULTILINE):
        head, dashes, *rows = [
            [cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()
        ]
        assert set("".join(dashes)) == {"-"}
        assert all(len(row) == len(head) for row in rows)
        parsed.append([head, *rows])
    return parsed


def run(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> tuple[str, list[Table]]:
    """What a command prints, and its tables. What it tells as JSON must say the same."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        bench.main([command, *TINY[command], *arguments, "--json", str(told)])
        figures = json.loads(told.read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    agree_with_told(command, tables(printed), figures)
    return printed, tables(printed)


def agree_with_told(command: str, printed: list[Table], figures: dict[str, Any]) -> None:
    """The rows of numbers, by the templates of the module, are the table; each value is a number that a cell has."""
    assert figures.keys() <= {"rows", "values"}
    rows, values = figures.get("rows", []), figures.get("values", {})
    assert rows or values
    for row in (*rows, values):
        assert all(value is None or isinstance(value, str | int | float) for value in row.values())
    columns = getattr(sys.modules[f"benchmarks.{command.replace('-', '_')}"], "COLUMNS", None)
    if columns is not None and command not in ("explainer", "threads", "memory"):
        assert printed[0][1:] == [[cell(one, row) for one in columns.values()] for row in rows]


def column(table: Table, name: str) -> list[str]:
    return [row[table[0].index(name)] for row in table[1:]]


def in_seconds(cell: str) -> float:
    value, unit = cell.split()
    return float(value) * {"ms": 1e-3, "s": 1.0}[unit]


def agree(ratios: list[str], expected: list[float]) -> None:
    """Ratios as printed, of times as printed."""
    assert [float(cell.removesuffix("×")) for cell in ratios] == pytest.approx(expected, rel=0.03, abs=0.02)


def test_every_command_is_tested_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(bench.COMMANDS) >= set(TINY)
    with pytest.raises(SystemExit) as caught:
        bench.main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for name in bench.COMMANDS:
        assert f"\n    {name} " in told


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.main(["nothing"])
    assert caught.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_each_run_begins_with_what_it_ran_on(capsys: pytest.CaptureFixture[str], mnist: Path) -> None:
    printed, ((head, *rows),) = run(capsys, "footprint", "--mnist", str(mnist))
    first, *blas = printed.split("\n\n")[0].splitlines()
    assert f"numpy {np.__version__}" in first
    assert f"onnxruntime {onnxruntime.__version__}" in first
    assert len(blas) == len([one for one in threadpool_info() if one["user_api"] == "blas"])
    assert not any("/" in line for line in blas)
    # The page's table is of this form.
    assert head == ["network", "classes", "samples", "dtype", "memory=", "wall", "peak resident"]
    assert [row[:5] for row in rows] == [["mnist_mlp", "3", "20", "float64", "1GB"]]


@pytest.mark.slow
def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    printed, _ = run(capsys, "demo")
    wall, processor = re.findall(r"(\d\S*) s", printed.splitlines()[-1])
    # A tenth of either is rounding; both are of a process that does something, on no more than these CPUs.
    assert 0.9 < float(processor) < 1.1 * environment.cpus() * float(wall)


@pytest.mark.slow
def test_paper(capsys: pytest.CaptureFixture[str], mnist: Path) -> None:
    _, (table,) = run(capsys, "paper", "--mnist", str(mnist))
    assert column(table, "by") == ["recipe", "float32", "float64"] * 3
    assert column(table, "inverse")[::3] == ["64×22×22 → 16×24×24", "16×24×24 → 1×28×28", "all"]
    spent = [in_seconds(cell) for cell in column(table, "time")]
    agree(column(table, "recipe ÷ this"), [spent[i // 3 * 3] / s for i, s in enumerate(spent)])
    assert spent[6:] == pytest.approx([a + b for a, b in zip(spent[:3], spent[3:6], strict=True)], rel=0.02)
    errors = [float(cell) for cell in column(table, "‖X - X̂‖² an image")[:6]]
    for recipe, narrow, wide in (errors[:3], errors[3:]):
        assert wide < recipe
        assert narrow == pytest.approx(wide, rel=1e-3)


@pytest.mark.slow
def test_dense(capsys: pytest.CaptureFixture[str]) -> None:
    _, (table,) = run(capsys, "dense")
    assert column(table, "by") == ["scikit-learn", "mipin_ref"] * 4
    assert column(table, "inverse") == ["512 → 512"] * 4 + ["512 → 784"] * 4
    spent = [in_seconds(cell) for cell in column(table, "time")]
    agree(column(table, "scikit-learn ÷ this"), [spent[i // 2 * 2] / s for i, s in enumerate(spent)])
    for dtype, *apart in zip(*(column(table, name) for name in ("dtype", "ΔW", "Δb")), strict=True):
        assert max(map(float, apart)) < {"float64": 1e-9, "float32": 1e-2}[dtype]
    # scikit-learn's own solution, not the engine's twice.
    assert float(column(table, "ΔW")[0]) > 0


@pytest.mark.slow
def test_vgg(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (products, ratios) = run(capsys, "vgg", "--batch", "20")
    assert "36 → 16 → 16 → 5" in printed
    assert [row[0] for row in products[1:]] == ["accumulate"] * 3 + ["forward"] * 3 + ["signals"]
    assert products[3][1] == "[16, 20] @ [20, 36]"
    assert float(products[3][2]) == pytest.approx(2 * 50 * 16 * 36 / 1e12, rel=5e-3)
    assert float(products[1][2]) == pytest.approx(2 * 50 * 16 * 16 / 1e12, rel=5e-3)
    spent = [in_seconds(cell) for cell in column(ratios, "time")]
    agree(column(ratios, "fit ÷ this"), [spent[0] / s for s in spent])
    assert spent[1] < spent[2] < spent[3]
    assert spent[3] == pytest.approx(sum(in_seconds(row[3]) for row in products[1:]), rel=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("stays_single")
def test_rate(capsys: pytest.CaptureFixture[str]) -> None:
    _, (shares, passes) = run(capsys, "rate")
    tensors = ["/relu2/Relu_output_0", "/relu1/Relu_output_0", "/flatten/Flatten_output_0", "all"]
    assert column(shares, "sums of tensor") == tensors * 2
    # Two classes, 600 samples: f(f + 2d) a sample, and the target alone as the one regressor of the first.
    by_hand = [2 * 600 * f * (f + 2 * d) / 1e9 for f, d in ((1, 512), (512, 512), (512, 784))]
    done = [float(cell) for cell in column(shares, "GFLOP")]
    assert done == pytest.approx([*by_hand, sum(by_hand)] * 2, rel=5e-3)
    spent, reached, gemm = (column(shares, name) for name in ("in updates", "GFLOP/s", "GEMM GFLOP/s"))
    assert [in_seconds(s) * float(r) for s, r in zip(spent, reached, strict=True)][1::4] == pytest.approx(
        done[1::4], rel=0.03
    )
    share = [float(cell.removesuffix("%")) for cell in column(shares, "share")]
    expected = [100 * float(r) / float(g) for r, g in zip(reached, gemm, strict=True)]
    assert share == pytest.approx(expected, abs=3, rel=0.05)
    one, several = ([in_seconds(cell) for cell in column(passes, name)] for name in ("one call", "a call a target"))
    agree(column(passes, "a call a target ÷ one call"), [s / o for s, o in zip(several, one, strict=True)])


@pytest.mark.slow
@pytest.mark.usefixtures("stays_single")
def test_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    _, (table,) = run(capsys, "dtype")
    assert column(table, "dtype") == ["float64", "float32"]
    spent = [in_seconds(cell) for cell in column(table, "fit")]
    agree(column(table, "float64 ÷ this"), [1.0, spent[0] / spent[1]])
    for name in ("ΔS", "ΔA"):
        same, apart = map(float, column(table, name))
        assert same == 0.0 < apart < 1e-2


@pytest.mark.slow
def test_classes(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table, maps) = run(capsys, "classes")
    assert column(table, "fit") == ["one class", "3 classes", "ratio"]
    assert column(maps, "class") == ["3"]
    assert 0.5 < float(column(maps, "median correlation of maps")[0]) <= 1
    assert "from /relu5/Relu_output_0 down one inverse for all targets" in printed


def test_classes_point_alone_and_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = recognisable(tmp_path)
    given = ("--model", str(model), "--photographs", str(tmp_path), "--samples", "40", "--classes", "2")
    told = tmp_path / "told.json"
    more = ("--compared", "3", "5", "--common", "pool", "--at", "stem relu", "--mosaics", "2", "--dtype", "float64")
    bench.main(["classes", *given, *more, "--json", str(told)])
    (row,) = json.loads(told.read_text(encoding="utf-8"))["rows"]
    assert (row["mosaics"], row["tensor"], row["agreement"]) == (4, "pool", None)
    images = photographs.photographs(tmp_path)
    x, _ = photographs.calibration(images, 40, 0, SIDE)
    asked, labels = photographs.mosaics(images, 4, 0, SIDE, targets=[3, 5])
    shared = mr.fit(model, x, [0, 1, 3, 5], common="pool", at="stem relu")
    scores = []
    for of in ({c: mr.fit(model, x, c, at="stem relu") for c in (3, 5)}, shared):
        maps = [mr.saliency(of[(3, 5)[i % 2]].attribute(asked[i : i + 1]))[0] for i in range(4)]
        cells = [labels[i].tolist().index((3, 5)[i % 2]) for i in range(4)]
        halves = [one.reshape(2, 12, 2, 12).sum(axis=(1, 3)).ravel() for one in maps]
        scores.append([half[cell] / half.sum() for half, cell in zip(halves, cells, strict=True)])
    assert row["pointed_alone"] == pytest.approx(np.mean(scores[0]), rel=1e-6)
    assert row["pointed_shared"] == pytest.approx(np.mean(scores[1]), rel=1e-6)
    assert row["pointed_apart"] == pytest.approx(np.abs(np.subtract(scores[0], scores[1])).max(), rel=1e-4)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="photographs of classes"):
        bench.main(["classes", *given, "--compared", "0", "--common", "pool", "--at", "stem relu", "--mosaics", "2"])


def test_empty_maps_agree_with_each_other_alone() -> None:
    empty, some = np.zeros(4), np.array([0.0, 1, 2, 1])
    assert [classes.related(*pair) for pair in ((empty, empty), (empty, some), (some, empty))] == [1, 0, 0]
    assert classes.related(some, 3 - some) == pytest.approx(-1)


def test_common_is_what_auto_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = recognisable(tmp_path)
    given = ("--model", str(model), "--photographs", str(tmp_path), "--at", "stem relu", "--tensors", "3")
    printed, (table,) = run(capsys, "common", *given)
    agreements = [float(one) for one in column(table, "agreement")]
    tensors = column(table, "in common from")
    assert column(table, "own tensors") == ["0", "1", "2"][: len(tensors)]
    assert len(tensors) > 1
    expected = next((tensor for tensor, one in zip(tensors, agreements, strict=True) if one >= 0.999), "no tensor")
    assert f"auto: {expected}, in " in printed
    # By public calls alone, of the last of the tensors.
    images = photographs.photographs(tmp_path)
    x, _ = photographs.calibration(images, 40, 0, SIDE)
    net = mr.load(model)
    taken, counts = np.unique(net.predict(x)[1].argmax(axis=1), return_counts=True)
    probes = sorted(taken[np.argsort(-counts, kind="stable")][:2].tolist())
    shared, medians = mr.fit(net, x, probes, common=tensors[-1], at="stem relu"), []
    for probe in probes:
        pair = (mr.fit(net, x, probe, at="stem relu"), shared[probe])
        a, b = (inverse.attribute(x).contribution.reshape(40, -1) for inverse in pair)
        medians.append(np.median([np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)]))
    assert agreements[-1] == pytest.approx(min(medians), abs=6e-5)
    others = [float(one) for one in column(table, "the other's")]
    # With nothing of its own a class has the other's inverse, in which that one's logit alone counts.
    one, other = (mr.fit(net, x, probe, at="stem relu") for probe in probes)
    medians = []
    for own, strange in ((one, other), (other, one)):
        a, b = (
            inverse.attribute(x).contribution.reshape(40, -1) for inverse in (own, replace(strange, target=own.target))
        )
        medians.append(np.median([np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)]))
    assert others[0] == pytest.approx(min(medians), abs=6e-5)
    assert all(-1 <= float(one) <= 1 for one in column(table, "maps of other samples"))


def test_memory(capsys: pytest.CaptureFixture[str]) -> None:
    _, (table,) = run(capsys, "memory")
    assert column(table, "samples") == ["20", "1,500"]
    held = [float(cell.split()[0]) for cell in column(table, "peak resident")]
    assert column(table, "peak resident")[0].endswith(" GB")
    assert [float(c.removesuffix("×")) for c in column(table, "peak ÷ peak at 20")] == pytest.approx(
        [1, held[1] / held[0]], abs=0.015
    )


def test_chain(capsys: pytest.CaptureFixture[str]) -> None:
    _, (table,) = run(capsys, "chain")
    inverse = mr.fit(mr.load(data.model_path("mnist_mlp")), data.digits(None, 30), 3)
    assert table[1:] == [[row.tensor, row.block, f"{row.r2:.2f}"] for row in inverse.report]
    assert len(table) > 3


@pytest.mark.slow
def test_attribute(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "attribute")
    names = ["onnxruntime forward", "torch forward + backward", "torch forward + backward of two signals"]
    names += ["attribute, float32", "attribute, float64", "attribute, float32, in NumPy"]
    names += ["of it the recorded forward pass", "once: its session opened"]
    assert column(table, "what") == names
    assert "one thread" in printed
    spent = [in_seconds(cell) for cell in column(table, "time")]
    agree(column(table, "this ÷ onnxruntime forward"), [s / spent[0] for s in spent])
    agree(column(table, "torch forward + backward ÷ this"), [spent[1] / s for s in spent])


@pytest.mark.slow
def test_attribute_of_a_layer_without_a_torch_twin(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--model", str(MODELS / "golden_attention" / "model.onnx"), "--target", "1")
    printed, (table,) = run(capsys, "attribute", *asked)
    assert "torch is left out" in printed
    assert column(table, "what")[:2] == ["onnxruntime forward", "attribute, float32"]
    assert set(column(table, "torch forward + backward ÷ this")) == {"–"}


@pytest.mark.slow
def test_thousand(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "thousand")
    assert (column(table, "network"), column(table, "classes")) == (["clutter_vgg"], ["15"])
    (file,), (page,) = ([float(cell.removesuffix(" MB")) for cell in column(table, name)] for name in ("file", "page"))
    # The runtime alone has 4.0 MB.
    assert 1 < file < 4.0 < page < 9
    assert 0 < float(column(table, "largest error")[0]) < 0.05
    assert "correlation" in printed


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_explainer(runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "explainer", "--runtime", runtime)
    assert "one thread" in printed
    assert (column(table, "network"), column(table, "batch")) == (["mnist_mlp"], ["2"])
    (ratio,) = (float(cell.removesuffix("×")) for cell in column(table, "ratio"))
    (forward,), (explained,) = (map(in_seconds, column(table, name)) for name in ("forward", "explainer"))
    assert ratio == pytest.approx(explained / forward, rel=0.2)
    assert column(table, "optimised") == ["r = 1.00000, 100.0%"]


@pytest.mark.slow
def test_methods(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed, (table,) = run(capsys, "methods")
    assert column(table, "what") == [
        "torch forward + backward",
        "gradient, float32",
        "deeplift, float32",
        "gradient, float32, in NumPy",
        "gradient, float32, its recorded forward pass",
    ]
    assert "mnist_cnn, class 3, batch 4, one thread" in printed
    spent = [in_seconds(cell) for cell in column(table, "time")]
    agree(column(table, "this ÷ torch forward + backward"), [s / spent[0] for s in spent])
    apart = re.search(r"gradients (\S+) of the largest apart", printed)
    assert apart
    assert float(apart[1]) < 1e-4
    networks.conv_chain(tmp_path / "chain.onnx", channels=3, depth=2, side=5)
    printed, (table,) = run(capsys, "methods", "--model", str(tmp_path / "chain.onnx"))
    assert "chain, class 3" in printed


@pytest.mark.slow
def test_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with np.load(data.digits_path(None)) as arrays:
        for number, digit in enumerate(arrays["x"][:4, 0]):
            Image.fromarray(digit).save(tmp_path / f"{number}.png")
    model = str(data.model_path("mnist_cnn"))
    printed, (table,) = run(capsys, "commands", "--model", model, "--images", str(tmp_path))
    assert column(table, "what") == [
        "mipin explain, first run",
        "mipin explain, second run",
        "captum's Grad-CAM in a script",
        "mipin compare of 2",
    ]
    assert "4 photographs" in printed
    assert all(in_seconds(cell) > 0 for cell in (*column(table, "wall"), *column(table, "processor: user")))


@pytest.mark.slow
def test_captum_explains_the_class_and_tensor_that_explain_does(tmp_path: Path) -> None:
    with np.load(data.digits_path(None)) as arrays:
        digits = arrays["x"][:3]
        for number, digit in enumerate(digits[:, 0]):
            Image.fromarray(digit).save(tmp_path / f"{number}.png")
    model = data.model_path("mnist_cnn")
    out = tmp_path / "out"
    assert commands.grad_cam(str(model), str(tmp_path), "unit", str(out)) == 3
    x = digits.astype(np.float32) / 255
    net = mr.load(model)
    res = mr.attribute(net, x, net.predict(x)[1].argmax(axis=1), "grad-cam", dtype="float32")
    for number, one in enumerate(mr.saliency(res, size=(28, 28))):
        drawn = np.asarray(Image.open(out / f"{number}.png")).astype(int)
        # Torch and Pillow resize alike but for rounding; colours have 255 levels.
        assert np.abs(drawn - mr.overlay(x[number, 0], one)).mean() < 3


@pytest.mark.slow
def test_dask_scaling(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "dask-scaling")
    assert "mnist_mlp, 300 images, class 3, memory=2GB" in printed
    assert column(table, "workers × threads") == ["1 × 1", "2 × 1"]
    wall, client, worker = (
        [in_seconds(cell) for cell in column(table, name)]
        for name in ("wall", "CPU of the client", "CPU of the busiest worker")
    )
    agree(column(table, "wall: 1 × 1 ÷ this"), [wall[0] / spent for spent in wall])
    spent = [a + b for a, b in zip(client, worker, strict=True)]
    agree(column(table, "CPU: 1 × 1 ÷ this"), [spent[0] / one for one in spent])
    assert column(table, "ΔW from 1 × 1") == ["0.0e+00"] * 2
    for name in ("ΔW from one process", "ΔS", "ΔA"):
        assert all(0 < float(cell) < 1e-9 for cell in column(table, name))


@pytest.mark.slow
def test_growth(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed, (points, slopes) = run(capsys, "growth", "--out", str(tmp_path / "chart.png"))
    assert [row[:4] for row in points[1:]] == [
        ["samples", "8", "2", "1"],
        ["samples", "16", "2", "1"],
        ["channels", "8", "2", "1"],
        ["depth", "8", "2", "1"],
    ]
    spent = [in_seconds(cell) for cell in column(points, "fit")]
    assert float(slopes[1][1]) == pytest.approx(np.log2(spent[1] / spent[0]), abs=0.03)
    assert [row[1] for row in slopes[2:]] == ["nan", "nan"]
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert printed.rstrip().endswith("chart.png")


@pytest.mark.slow
def test_threads(capsys: pytest.CaptureFixture[str]) -> None:
    _, (table,) = run(capsys, "threads")
    assert [row[:4] for row in table[1:]] == [["mnist_mlp", "1", "1", "1"]]
    assert column(table, "1/1/1 ÷ this") == ["1.00×"]


def test_too_few_digits_are_told() -> None:
    with pytest.raises(SystemExit, match=r"2,270 digits, not 3,000"):
        bench.main(["dtype", "--samples", "3000"])


def test_contestants_take_turns_and_warm_ups_do_not_count() -> None:
    log: list[str] = []

    def called(name: str) -> int:
        log.append(name)
        return len(log)

    timed = timing.interleaved({name: partial(called, name) for name in "ab"}, 2, warm_up=1)
    assert log == list("ababab")
    assert [len(timed[name].seconds) for name in "ab"] == [2, 2]
    assert [timed[name].value for name in "ab"] == [5, 6]
    told = timing.interleaved({"a": iter([3.0, 1.0, 2.0]).__next__}, 3, clock=lambda value: value)
    assert told["a"].seconds == [3.0, 1.0, 2.0]
    assert told["a"].median == 2.0


def test_threads_are_limited_and_given_back() -> None:
    import torch

    mr.fit(mr.load(data.model_path("mnist_mlp")), data.digits(None, 3), 0)  # So that every library is loaded.

    def counts() -> list[int]:
        return [one["num_threads"] for one in threadpool_info()]

    own, available, opened = torch.get_num_threads(), environment.cpus(), forward.session
    torch.set_num_threads(2)
    try:
        with threadpool_limits(limits=2):
            before = counts(), torch.get_num_threads()
            assert before == ([2] * len(before[0]), 2)
            with timing.threads(1):
                assert set(counts()) == {1}
                with ThreadPoolExecutor(1) as pool:  # OpenMP counts for each thread on its own.
                    assert pool.submit(torch.get_num_threads).result() == 1
                assert environment.cpus() == 1
                session = forward.session(str(data.model_path("mnist_mlp")))
                assert session.get_session_options().intra_op_num_threads == 1
            assert (counts(), torch.get_num_threads()) == before
    finally:
        torch.set_num_threads(own)
    assert environment.cpus() == available
    assert forward.session is opened


def test_each_package_has_its_own_limit() -> None:
    code = (
        "import numpy, scipy.linalg, threadpoolctl\n"
        "from benchmarks.threads import limit\n"
        "limit({'numpy': 1, 'scipy': 2})\n"
        "for one in threadpoolctl.threadpool_info():\n"
        "    for owner in ('numpy', 'scipy'):\n"
        "        if owner + '.libs' in one['filepath']: print(owner, one['num_threads'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOOLS, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["numpy 1", "scipy 2"]


def test_the_peak_of_a_process_is_its_own() -> None:
    held = bytearray(b"1" * (400 << 20))
    small = timing.measured([sys.executable, "-c", "pass"])
    large = timing.measured([sys.executable, "-c", "held = bytearray(b'1' * (300 << 20))"])
    assert len(held) > small.peak
    assert 300 << 20 < large.peak < 900 << 20
    assert small.peak < 100 << 20
    assert large.seconds > 0


def test_a_command_that_fails_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="failed"):
        timing.measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_arguments_and_values_pass_to_a_process_of_its_own() -> None:
    process = timing.in_child(growth.slope, values=[1, 2, 4], costs=[9.0, 1.0, 8.0], last=2)
    assert process.value == pytest.approx(3.0)
    assert process.peak > 0


def test_the_products_of_vgg19_are_those_of_the_paper() -> None:
    done = dict.fromkeys(("accumulate", "forward", "signals"), 0.0)
    for product in vgg.products(batch=500, flat=25088, hidden=4096, classes=1000):
        done[product.part] += product.operations * 50_000 / 500 / 1e12
    assert done == pytest.approx({"accumulate": 13.63, "forward": 12.36, "signals": 1.68}, abs=0.01)


def test_times_of_products_are_scaled_to_all_batches() -> None:
    every = vgg.products(batch=10, flat=8, hidden=4, classes=3)
    products, ratios = tables(vgg.tables(every, [1, 2, 4, 8, 16, 32, 64], 2.5, 600.0) + "\n")
    assert [in_seconds(cell) for cell in column(products, "time")] == [5, 5, 10, 20, 40, 80, 160]
    assert [in_seconds(cell) for cell in column(ratios, "time")] == [600, 20, 180, 320]
    assert column(ratios, "fit ÷ this") == ["1.00×", "30.00×", "3.33×", "1.88×"]


def test_maps_do_not_depend_on_how_they_are_asked_for() -> None:
    maps = networks.FeatureMaps(50, (6, 2, 3), pool=16)
    every = maps[0:50]
    assert every.shape == (50, 6, 2, 3)
    assert every.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([maps[a : a + 7] for a in range(0, 50, 7)]), every)
    assert len({sample.tobytes() for sample in every}) == 50
    assert every.min() == 0.0
    assert (every > 0).mean() == pytest.approx(1 / 3, abs=0.05)
    assert maps.passes == [50, 7]


def test_made_networks_have_the_layers_they_are_asked_for(tmp_path: Path) -> None:
    networks.classifier(tmp_path / "vgg.onnx", (4, 3, 3), 16, 5)
    net = mr.load(tmp_path / "vgg.onnx")
    dense = [layer for layer in net.layers if isinstance(layer, Dense)]
    assert [layer.weight.shape for layer in dense] == [(36, 16), (16, 16), (16, 5)]
    res = mr.fit(net, networks.FeatureMaps(30, (4, 3, 3)), 1, at=networks.FEATURES).attribute(
        networks.FeatureMaps(2, (4, 3, 3))[0:2]
    )
    assert res.source.shape == (2, 4, 3, 3)
    networks.conv_chain(tmp_path / "chain.onnx", channels=3, depth=4, side=5)
    convs = [layer for layer in mr.load(tmp_path / "chain.onnx").layers if isinstance(layer, Conv)]
    assert [layer.weight.shape for layer in convs] == [(3, 3, 3, 3)] * 4


def test_slopes_are_powers() -> None:
    sizes = [1, 2, 4, 8]
    assert growth.slope(sizes, [5 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert growth.slope(sizes, [1, 1, 1, 4], 2) == pytest.approx(2.0)
    assert np.isnan(growth.slope([3], [1.0]))


@pytest.mark.slow
@pytest.mark.parametrize(("network", "kind", "samples"), [("mnist_mlp", "Dense", 700), ("mnist_cnn", "Conv", 50)])
def test_problems_on_their_own_are_those_of_the_fit(network: str, kind: str, samples: int) -> None:
    x = data.digits(None, samples)
    inverse = mr.fit(mr.load(data.model_path(network)), x, 3, ridge=1.0)
    steps = signals.steps(inverse, kind)
    assert len(steps) == 2
    for step in steps:
        with signals.regression(inverse, step, x) as given:
            # S is stored in single precision, which the ridge keeps harmless.
            weights = signals.solve(given, "float64", 1.0, batch=samples // 3).weights
            assert isinstance(given.signal, np.memmap)
            folder = Path(str(given.signal.filename)).parent
        fitted = inverse.weights[step.tensor]
        pairs = zip((*weights.blocks, weights.intercept), (*fitted.blocks, fitted.intercept), strict=True)
        for ours, theirs in pairs:
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
        assert not folder.exists()


def test_updates_are_clocked_only_meanwhile() -> None:
    plain = Sums.update
    with rate.clocked_updates() as by_tensor:
        mr.fit(mr.load(data.model_path("mnist_mlp")), data.digits(None, 520), 0)
    assert len(by_tensor) == 3
    assert all(one.seconds > 0 for one in by_tensor.values())
    assert Sums.update is plain
    inverse = mr.fit(mr.load(data.model_path("mnist_cnn")), data.digits(None, 4), 0)
    problem = Problem(inverse.backend, signals.steps(inverse, "Conv")[0], False, 4)
    with pytest.raises(SystemExit, match="Dense layers alone"):
        rate.operations(problem, 4)


def test_too_few_rows_to_accumulate_are_told() -> None:
    with pytest.raises(SystemExit, match="500 samples of 512 regressors"):
        bench.main(["rate", "--samples", "500", "--repeats", "1", "--classes", "1", "--gemm", "64"])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mnist_mlp", "mnist_cnn"])
def test_the_rivals_of_attribute_compute_the_same_network(network: str) -> None:
    import torch

    from benchmarks import attribute
    from benchmarks.torch_twin import as_torch

    x = data.unseen_digits()[:3]
    path = data.model_path(network)
    net = mr.load(path)
    runners = attribute.contestants(str(path), data.digits(None, 5), x, 3, ["float32"])
    module = as_torch(net)
    logits = forward.logits(net, x)
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), logits, rtol=1e-4, atol=1e-4)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(runners[attribute.FORWARD](), probabilities, rtol=1e-3, atol=1e-5)
    gradient = runners[attribute.BACKWARD]()
    assert gradient.shape == x.shape
    # Between the kinks of its Relus the network is affine: a step along the gradient raises the logit by its square.
    step = 1e-4
    moved = module.double()(torch.from_numpy(x).double() + step * gradient.double())[:, 3]
    still = module(torch.from_numpy(x).double())[:, 3]
    square = (gradient.double() ** 2).sum(dim=(1, 2, 3))
    np.testing.assert_allclose(((moved - still) / step).numpy(), square.numpy(), rtol=0.05)


@pytest.mark.slow
def test_architectures_go_through(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "architectures", "--exports", "torchscript:13", "torchscript:20")
    assert "4 random images" in printed
    assert column(table, "network") == ["mobilenet_v2"] * 2
    assert column(table, "exporter, opset") == ["torchscript 13", "torchscript 20"]
    assert all(int(cell) > 20 for cell in column(table, "layers"))
    for name in ("fit: last map / pixels", "peak", "attribute, forwards"):
        assert all(len(cell.split(" / ")) == 2 for cell in column(table, name))
    # Both run float32; the spread is that of four images.
    assert all(float(cell) < 1e-4 for cell in column(table, "logit apart"))


def test_unknown_architectures_are_told() -> None:
    with pytest.raises(SystemExit, match="no such networks: vgg; there are mobilenet_v2, "):
        bench.main(["architectures", "--networks", "vgg"])


@pytest.mark.parametrize(
    ("package", "network"), [("timm", "mobilevit_xxs"), ("transformers", "bert_tiny"), ("transformers", "t5_encoder")]
)
def test_a_package_that_is_missing_is_named(package: str, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit, match=rf"needs package {package}: pip install {package}, or name others with"):
        bench.main(["architectures", "--networks", network])


def test_a_network_that_fails_is_named_behind_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise SystemExit("refused")

    monkeypatch.setattr(architectures, "in_child", failing)
    with pytest.raises(SystemExit, match="failed: unet torchscript:17"):
        run(capsys, "architectures", "--networks", "unet", "--exports", "torchscript:17")
    (table,) = tables(capsys.readouterr().out)
    assert table[1][:3] == ["unet", "torchscript 17", "failed"]


def test_timm_s_networks_ask_for_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SystemExit, match="pip install timm"):
        bench.main(["architectures", "--networks", "seresnet50"])


def test_fit_parts_are_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    printed, (table,) = run(capsys, "fit")
    parts, (*times, whole) = column(table, "part"), [in_seconds(cell) for cell in column(table, "time")]
    assert sum(times) == pytest.approx(whole, rel=0.02)
    assert {"forward passes", "signals down", "solutions", "rest"} < set(parts)
    assert parts[-1] == "all"
    # Of mnist_cnn: Conv 1→16 5×5 on 24², Conv 16→64 3×3 on 22², three Dense; their Grams by hand.
    forward = 2 * (16 * 25 * 24**2 + 64 * 16 * 9 * 22**2 + 64 * 11**2 * 512 + 512 * 10)
    gram = 81 * 24**2 * 16**2 + 25 * 22**2 * 64**2
    told = dict(re.findall(r"([A-Za-z ]+) (\d+\.\d)(?:,|$)", printed.splitlines()[-1].split(":")[1]))
    assert float(told[" Grams"]) == pytest.approx(gram / forward, abs=0.06)
    assert float(told[" together"]) == pytest.approx(3 + gram / forward, abs=0.06)
