"""Whatever is typed: no traceback, exit code 0, 1 or 2, one line on stderr where it is 2, and no input is touched."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.cli.dispatch import _parser
from mipin_ref.cli.evaluate.arguments import MeasureParser
from mipin_ref.cli.evaluate.measure import MEASURES
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

COMMANDS = (
    ("inspect",),
    ("fit",),
    ("explain",),
    ("patterns",),
    ("compare",),
    ("golden", "make"),
    ("golden", "verify"),
    *(("evaluate", metric) for metric in MEASURES),
)
"""All but demo, which takes no input and a quarter of a minute."""
FILES = ["net.onnx", "x.npy", "y.npy", "photos", "one.mipin", "p.patterns", "names.json", "boxes.npy", "case", "empty"]
NOWHERE = ["out", "missing/out", "/proc/out", "n" * 300, "", ".", "..", "\udcff", "\ud800", "a\0b", "-", "é\x1b[2J"]
FEW = ["0", "1", "2", "3", "-1", "0.5", "1e-3", "1,2", "1,x", "0x10", "١"]
MANY = ["nan", "inf", "1e400", "9" * 17, "9" * 5000]
WORDS = ["gradient", "GradCAM", "mip-in", "patternnet", "gradient,smoothgrad", "scores", "conv", "input", "last-map"]
WORDS += ["all", "numpy", "float32", "probability", "contribution", "blur", "2GB", "1e999GB", "3x3", "99999x1", "end"]
OPTIONS = ["samples=2", "smoothgrad.samples=2", "mip-in.ridge=10", "gradient.x=1", "=", ".=", "x", "samples=NaN"]
OPTIONS += ["samples=1e999", "noise=-1", "smoothgrad.noise=null", "a.b=" + "[" * 9999, "samples=" + "9" * 5000]
TEXTS = st.one_of(st.sampled_from([*FILES, *NOWHERE, *FEW, *MANY, *WORDS, *OPTIONS]), st.text(max_size=6))
WORK = {"--steps", "--mosaics", "--grid", "--option", "--size", "--mean", "--std"}
"""Options whose value may be large and then takes its time."""
NEVER = {"--dask"}
"""Needs a scheduler, of which tests/inverse/cluster/test_cluster.py has one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good file of every sort."""
    place, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3))),
    ]
    x = rng.standard_normal((6, 1, 6, 6)).astype(np.float32)
    with contextlib.chdir(place):
        onnx.save(to_onnx(ops, (1, 6, 6)), "net.onnx")
        np.save("x.npy", x)
        np.save("y.npy", np.arange(6) % 3)
        np.save("boxes.npy", np.full((6, 4), [1, 1, 3, 3]))
        Path("names.json").write_text('["a", "b", "c"]')
        os.mkdir("empty")
        os.mkdir("photos")
        Image.fromarray(np.zeros((6, 6), np.uint8)).save("photos/a.png")
        Path("photos/b.png").write_bytes(b"\x89PNG")
        net = mr.load("net.onnx")
        mr.fit(net, x, 1).save("one.mipin")
        mr.fit_patterns(net, x).save("p.patterns")
        mr.golden.make("net.onnx", x, 1, "case")
    return place


def parser_of(command: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _parser()
    for word in command:
        inner = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        parser = inner.choices[word]
    if isinstance(parser, MeasureParser):
        parser.take_arguments()
    return parser


FITTING = {
    "MODEL": "net.onnx", "DATA": "x.npy", "IMAGES": "x.npy", "CASE": "case", "CANDIDATE": "case/arrays.safetensors",
    "--target": "1", "--out": "out", "--method": "gradient", "--methods": "gradient", "--inverse": "one.mipin",
    "--boxes": "boxes.npy", "--labels": "y.npy", "--calibration": "x.npy", "--class-names": "names.json",
    "--patterns": "p.patterns",
}  # fmt: skip
"""What suits an argument, without which few commands would get as far as to run."""


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A command with most of what it needs, some of it wrong, and some of its options."""
    command = draw(st.sampled_from(COMMANDS))
    actions = [action for action in parser_of(command)._actions if not isinstance(action, argparse._HelpAction)]
    words, methods = list(command), draw(st.sampled_from(["--inverse", "--method"]))
    for action in actions:
        name = max(action.option_strings, key=len, default=str(action.metavar))
        needed = action.required or not action.option_strings or name == methods
        if name in NEVER or not draw(st.booleans() if not needed else st.sampled_from([True] * 9 + [False])):
            continue
        if action.option_strings:
            words.append(draw(st.sampled_from(action.option_strings)))
        if action.nargs == 0:
            continue
        fitting = FITTING.get(name, str(next(iter(action.choices or ["1"]))))
        values = st.sampled_from([*FEW, *WORDS, *OPTIONS]) if name in WORK else TEXTS
        words.append(fitting if draw(st.sampled_from([True] * 4 + [False])) else draw(values))
    more = st.one_of(TEXTS, st.sampled_from(["--", "--help", "-o", "--limit=--", "-o--"]))
    return [*words, *draw(st.lists(more, max_size=draw(st.sampled_from([0, 0, 0, 1]))))]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def copied(folder: Path, place: Path) -> Iterator[None]:
    shutil.copytree(folder, place)
    with contextlib.chdir(place):
        yield
    shutil.rmtree(place)


def run(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else -1
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(commands())
def test_commands_with_random_arguments(folder: Path, arguments: list[str]) -> None:
    before, place = contents(folder), folder.parent / "copies" / "copy"
    shutil.rmtree(place, ignore_errors=True)
    with copied(folder, place):
        code, out, err = run(arguments)
        after = contents(place)
    assert code in (0, 1, 2)
    if code == 2:
        assert err.count("\n") == 1
        assert err.startswith("mipin")
        assert len(err) < 5000
    if code == 0:
        assert err == ""
    assert "\x1b" not in out + err
    (out + err).encode()
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if Path(name).name.endswith(".tmp")]


WHOLE = st.sampled_from([word for command in COMMANDS for word in command])
SIGNS = st.sampled_from(["-o", "--out", "--target", "--help", "--inverse", "--", "-", "--x=", "-oo", "-o--"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, WHOLE, SIGNS), max_size=8))
def test_random_words(arguments: list[str]) -> None:
    """The parser alone: few of these are commands."""
    err, code = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            _parser().parse_args(arguments)
        except SystemExit as stopped:
            code = -1 if stopped.code is None else int(stopped.code)
    assert code in (0, 2)
    assert err.getvalue().count("\n") == (1 if code else 0)
