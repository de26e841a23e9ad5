"""Terminals, pipes, encodings, Ctrl-C and slow imports, as real processes meet them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.processes import assert_refused, environment, mipin, terminal_read
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

LOUD = "map\x1b[31mred\x1b[2J"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.onnx, a tensor of which is named LOUD, and x.npy."""
    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), LOUD, "Relu"),
        Reshape((LOUD,), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3))),
    ]
    onnx.save(to_onnx(ops, (1, 6, 6)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", rng.standard_normal((12, 1, 6, 6)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_names_of_a_model_are_shown_and_not_obeyed(folder: Path) -> None:
    for arguments in (
        ["inspect", "net.onnx"],
        ["explain", "net.onnx", "x.npy", "--method", "gradient", "--target", "0", "--at", f"{LOUD}?", "-o", "out"],
        ["fit", "net.onnx", "x.npy", "--target", "0", "-o", f"{LOUD}.mipin"],
        ["explain", "net.onnx", "x.npy", "--inverse", LOUD, "-o", "out"],
    ):
        done = mipin(*arguments)
        assert "\x1b" not in done.stdout + done.stderr
        assert r"\x1b[31mred\x1b[2J" in done.stdout + done.stderr


@pytest.mark.slow
def test_names_in_a_progress_bar_are_no_commands(folder: Path) -> None:
    """Neither to the terminal nor to the library that draws the bar, which has commands of its own."""
    model = onnx.load("net.onnx")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"[red]{LOUD}" if name == LOUD else name for name in names]
    onnx.save(model, "marked.onnx")
    arguments = ["explain", "marked.onnx", "x.npy", "--method", "gradient", "--target", "0", "--at", f"[red]{LOUD}"]
    with terminal_read() as (end, parts):
        done = mipin(*arguments, "-o", "out", stderr=end, env={"TERM": "xterm", "COLUMNS": "200"})
    shown = b"".join(parts).decode()
    assert done.returncode == 0
    assert r"[red]map\x1b[31mred\x1b[2J" in shown
    assert LOUD not in shown


@pytest.mark.slow
def test_errors_nobody_reads(folder: Path) -> None:
    for arguments in (["explian"], ["inspect", "no.onnx"]):
        reading, writing = os.pipe()
        os.close(reading)
        assert mipin(*arguments, stdout=writing, stderr=writing).returncode == 2
        os.close(writing)


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_no_work(folder: Path) -> None:
    for arguments in (
        ["inspect", "net.onnx"],
        ["fit", "net.onnx", "x.npy", "--target", "all", "-o", "c{target}.mipin"],
        ["explain", "net.onnx", "x.npy", "--method", "gradient", "--target", "1", "-o", "out"],
        ["evaluate", "deletion", "net.onnx", "x.npy", "--methods", "gradient", "-o", "found.json"],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        done = mipin(*arguments, stdout=writing)
        os.close(writing)
        assert done.stderr == ""
        assert done.returncode == 0
    assert {"c0.mipin", "c1.mipin", "c2.mipin", "found.json"} <= set(os.listdir())
    assert Path("out/attribution.npz").is_file()


@pytest.mark.slow
def test_output_to_a_full_disk_is_told(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        assert_refused(
            mipin("fit", "net.onnx", "x.npy", "--target", "1", "-o", "a.mipin", stdout=full), "No space left"
        )
    assert Path("a.mipin").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_output_in_ascii(folder: Path, env: dict[str, str]) -> None:
    done = mipin("inspect", "net.onnx", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"1\xd76\xd76" in done.stdout
    assert_refused(mipin("inspect", "nö.onnx", env=env), "there is no file")


@pytest.mark.slow
def test_paths_that_are_not_utf8(folder: Path) -> None:
    name = b"caf\xe9"
    os.rename("x.npy", name + b".npy")
    done = mipin("fit", "net.onnx", name + b".npy", "--target", "1", "-o", name + b".mipin")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"caf\udce9.mipin" in done.stdout
    assert os.path.isfile(name + b".mipin")
    assert_refused(mipin("inspect", b"\xff.onnx"), r"\udcff.onnx")
    assert_refused(mipin("inspect", "net.onnx", b"\xff"), r"\udcff")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "mipin: the following arguments are required: COMMAND; see mipin --help\n"),
        (("fit", "a", "b", "-o", "c"), "mipin fit: the following arguments are required: --target; see mipin fit"),
        (("explian",), "did you mean explain?"),
        (("evaluate", "Box"), "did you mean box?"),
        (("fit", "a", "b", "--target", "1", "-o", "c", "--limt", "3"), "did you mean --limit?"),
        (("inspect", "a", "b", "c"), "unrecognized arguments: c; see mipin inspect --help"),
        (("explain", "a", "b", "--inverse", "c", "--inverse", "d", "-o", "e"), "--inverse: given twice"),
        (("explain", "a", "b", "--method", "c", "--method", "d", "-o", "e"), "--method: given twice"),
        (("explain", "a", "b", "--method", "c", "--inverse", "d", "-o", "e"), "not allowed with"),
        (("explain", "a", "b", "--method", "c", "--target", "9" * 5000, "-o", "e"), "--target: must be a whole number"),
        (("fit", "a", "b", "--target", "1", "--limit", "9" * 5000, "-o", "e"), "--limit: must be a whole number"),
        (("fit", "net.onnx", "x.npy", "--target", "1", "--ridge", "9" * 5000, "-o", "e"), "ridge must be"),
        (("fit", "net.onnx", "x.npy", "--target", "1", "--ridge", "nan", "-o", "e"), "ridge must be"),
        (("fit", "net.onnx", "x.npy", "--target", "1", "--mean", "1,inf", "-o", "e"), "mean must hold finite numbers"),
        (("fit", "net.onnx", "x.npy", "--target", "9" * 5000, "-o", "e"), "--target must be"),
        (("fit", "a", "b", "--target", "1", "--std", "1,x", "-o", "e"), "--std: must be a number, not 'x'"),
        (("explain", "net.onnx", "x.npy", "--target", "1", "--method", "GradCAM", "-o", "e"), "'grad-cam'?"),
        (("compare", "net.onnx", "x.npy", "--methods", "Smooth_Grad", "-o", "e"), "did you mean 'smoothgrad'?"),
        (
            ("explain", "net.onnx", "x.npy", "--target", "1", "--method", "smoothgrad", "--option",
             "samples=" + "[" * 50_000, "-o", "e"),
            "nested too deeply",
        ),
        (
            ("explain", "net.onnx", "x.npy", "--target", "1", "--method", "smoothgrad", "--option",
             "samples=" + "9" * 5000, "-o", "e"),
            "samples",
        ),
    ],
)  # fmt: skip
def test_errors_are_one_line(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    done = mipin(*arguments)
    assert_refused(done, told)
    assert len(done.stderr) < 1000
    assert sorted(os.listdir()) == ["net.onnx", "x.npy"]


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell's foreground process has
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == %r:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, CtrlC())
from mipin_ref.cli import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["mipin_ref.cli.dispatch", "argparse", "numpy", "scipy.linalg", "onnx", "onnxruntime", "mipin_ref.table"]
)
def test_ctrl_c_while_libraries_are_imported_is_one_line(module: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED % module, "inspect", "net.onnx"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert_refused(done, "interrupted")
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["--help"], ["evaluate", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = f"import sys\nfrom mipin_ref.cli import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
    script += "print(sorted({n.partition('.')[0] for n in sys.modules} & set(%r)), file=sys.stderr)"
    heavy = ["numpy", "scipy", "onnx", "onnxruntime", "PIL", "rich", "jinja2", "safetensors", "skimage"]
    done = subprocess.run(
        [sys.executable, "-c", script % heavy], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stderr == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scipy.stats", "scipy.ndimage", "rich", "jinja2"])
def test_a_model_is_loaded_without(name: str, folder: Path) -> None:
    script = f"import sys, mipin_ref as mr; print(mr.load('net.onnx')); assert {name!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), stdout=subprocess.DEVNULL)
