"""What counts of the engine's code for a command, and which changes of it are told."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from measured.engine import LATER, READING, Engine, reading
from measured.syntax import FUNCTIONS, RAISED, File
from measured.traced import read, variables
from tests.tools.measured.code import CODE

ROOT = Path(__file__).parents[3]
OTHER = """
from mipin_ref.solve.a import NUMBER, RULES, Other
TWICE = 2 * NUMBER
def added(x: Other) -> Other:
    return x + TWICE + RULES[x]
"""


def engine(**files: str) -> Engine:
    return Engine(
        {"solve/a.py": CODE, "solve/b.py": OTHER} | {f"solve/{name}.py": text for name, text in files.items()}
    )


def changed(old: str, new: str, *told: str) -> list[str]:
    """What a change of the first file changes for what was told."""
    assert old in CODE
    return engine(a=CODE.replace(old, new)).changed(engine().counted([f"solve/{one}" for one in told]))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("NUMBER * x", "x + NUMBER", ["solve/a.py:doubled"]),
        ("return z", "return z + 1", ["solve/a.py:doubled"]),
        ("(lambda x: x)(y)", "(lambda x: -x)(y)", ["solve/a.py:doubled"]),
        ("y: int = 1", "y: int = 2", ["solve/a.py:doubled"]),
        ("def doubled", "@cache\ndef doubled", ["solve/a.py:doubled"]),
        ("def doubled", "def renamed", ["solve/a.py:doubled"]),
        ("NUMBER = 2", "NUMBER = 3", ["solve/a.py:NUMBER"]),
        ("size = 3", "size = 4", ["solve/a.py:Kind"]),
        ("class Kind:", "class Kind(Base):", ["solve/a.py:Kind"]),
        ("class Kind:", "@dataclass\nclass Kind:", ["solve/a.py:Kind"]),
        ("x + x", "x", ["solve/a.py:Kind"]),
        ("x + 1", "x + 2", ["solve/a.py:OUTSIDE"]),
        ("Kind: 1", "Kind: 3", ["solve/a.py:RULES[Kind]"]),
        ('"other": 2', '"another": 2', ["solve/a.py:RULES['other']"]),
        ('"other": 2', '**{"other": 2}', ["solve/a.py:RULES['other']"]),
        ("NUMBER = 2", "NUMBER = 2\nprint(NUMBER)", ["solve/a.py"]),
        ("if x < 0", "if x < 1", ["solve/a.py:doubled"]),
        # In what is not called.
        ("too small", "small", []),
        ("self.size / 2", "self.size / 3", []),
        ("range(3)", "range(4)", []),
        ("def several", "@cache\n    def several", []),
        # Words and layout.
        ('"""Double."""', '"""Twice."""', []),
        ('"""A kind."""', '"""Of a kind."""', []),
        ("  # as it is", "", []),
        ("made: int = ", "made = ", []),
        ("x: int, y: int = 1) -> int", "x, y=1)", []),
        ("NUMBER * x", "(NUMBER\n            * x)", []),
        # What is added.
        ("OUTSIDE", "def new():\n    pass\nOUTSIDE", []),
        ("OUTSIDE", "class New(Kind):\n    size = 2\nOUTSIDE", []),
        ("OUTSIDE", "NEW = 3\nOUTSIDE", []),
        ("def several", "def new(self):\n        pass\n    def several", []),
        ('"other": 2', '"other": 2, "new": 3', []),
        ("from functools", "from math import prod\nfrom functools", []),
        ("import Kind as Other", "import Kind as Third", []),
    ],
)
def test_what_changes_for_a_command_that_calls_one_function(old: str, new: str, expected: list[str]) -> None:
    text = CODE.replace(old, new)
    if "print" in new:  # What has no name is there from the beginning.
        before = engine(a=CODE.replace(old, f"{old}\nprint()")).counted(["solve/a.py:doubled"])
        assert engine(a=text).changed(before) == expected
    else:
        assert changed(old, new, "a.py:doubled") == expected


def test_what_is_raised_counts_where_it_was() -> None:
    for old, new in (("too small", "small"), ("ValueError(", "TypeError(")):
        assert changed(old, new, "a.py:doubled", "a.py:doubled!") == ["solve/a.py:doubled!"]


def test_of_what_an_import_calls_counts_what_is_read_later() -> None:
    making = "from mipin_ref.solve.a import doubled\nMADE = doubled(1)\nOTHER = 2\ndef used():\n    return MADE\n"
    told = ["~solve/a.py:doubled", "~solve/a.py:Kind.half"]
    code = engine(c=making)
    assert code.counted(told) == {}
    assert code.counted([*told, "solve/b.py:added"]).keys() == {"solve/a.py", "solve/b.py"}
    assert "doubled" not in code.counted([*told, "solve/b.py:added"])["solve/a.py"]
    counted = code.counted([*told, "solve/c.py:used"])
    assert {*counted["solve/a.py"]} == {"doubled", "NUMBER"}
    assert {*counted["solve/c.py"]} == {"MADE", "OTHER", "used"}
    reading_kind = engine(c="from mipin_ref.solve.a import Kind\nASKED = Kind().half\ndef used():\n    return ASKED\n")
    assert {*reading_kind.counted([*told, "solve/c.py:used"])["solve/a.py"]} == {"Kind", "Kind.half"}


def test_a_function_that_takes_the_place_of_a_called_one() -> None:
    """Of all functions that are added this one alone can be called by what is there."""
    for name in ("half", "__len__"):
        told = ("a.py:Kind.half", "a.py:Kind.__init__")
        assert changed("    size = 5", f"    size = 5\n    def {name}(self):\n        pass", *told) == [
            "solve/a.py:Other"
        ]
    assert changed("    size = 5", "    size = 5\n    def several(self):\n        pass", "a.py:Kind.half") == []


def test_what_a_file_imports_counts_with_what_it_is_made_of() -> None:
    """The file of the constants has no function that is called."""
    told = ("b.py:added",)
    assert changed("NUMBER = 2", "NUMBER = 3", *told) == ["solve/a.py:NUMBER"]
    assert changed("Kind: 1", "Kind: 3", *told) == ["solve/a.py:RULES[Kind]"]
    assert changed("class Kind:", "class Kind(int):", *told) == ["solve/a.py:Kind"]  # a key of the table
    assert changed("size = 5", "size = 6", *told) == []  # imported, and read for annotations alone
    assert changed("NUMBER * x", "x", *told) == []
    assert changed("x + 1", "x + 2", *told) == []
    whole = {"c": "from mipin_ref.solve import b\ndef used():\n    return b.TWICE\n"}
    assert "TWICE" in engine(**whole).counted(["solve/c.py:used"])["solve/b.py"]
    over = {"c": "from mipin_ref.solve.b import TWICE as THAT\ndef used():\n    return THAT\n"}
    before = engine(**over).counted(["solve/c.py:used"])
    assert engine(**over, a=CODE.replace("NUMBER = 2", "NUMBER = 3")).changed(before) == ["solve/a.py:NUMBER"]
    assert engine(**over, b=OTHER.replace("2 * ", "3 * ")).changed(before) == ["solve/b.py:TWICE"]


BASE = """
class Base:
    size = 1
    def emit(self): ...
"""
NAMED = """
from mipin_ref.layers.base import Base
class Used(Base):
    def emit(self): ...
class Free:
    size = 1
    def emit(self): ...
class Plain:
    size = 1
class Group(Base, group=True):
    size = 1
class Grouped(Base, group=True):
    size = 1
class Member(Grouped):
    def emit(self): ...
"""
RULING = """
from mipin_ref.layers.named import Free, Group, Member, Plain, Used
RULES = {Used: 1, Free: 2, Plain: 3, Group: 4, Member: 5}
def ruled(kind):
    return RULES[kind]
"""


def test_a_kind_that_is_named_alone_has_no_part() -> None:
    """One of which a function is called has, with what it is made of, and so has one that is not written. So it is with
    groups of kinds.
    """
    files = {"layers/base.py": BASE, "layers/named.py": NAMED, "methods/rules.py": RULING}
    counted = Engine(files).counted(
        [f"layers/named.py:{one}.emit" for one in ("Used", "Member")] + ["methods/rules.py:ruled"]
    )
    for file, kind, told in (
        ("layers/named.py", "Free", False),
        ("layers/named.py", "Plain", True),
        ("layers/named.py", "Group(Base, group=True)", False),
        ("layers/named.py", "Grouped(Base, group=True)", True),
        ("layers/base.py", "Base", True),
    ):
        old = f"class {kind}:\n    size = 1"
        assert old in files[file]
        later = Engine(files | {file: files[file].replace(old, old.replace("1", "2"))})
        assert later.changed(counted) == ([f"{file}:{kind.partition('(')[0]}"] if told else [])
    assert Engine(files).counted(["methods/rules.py:ruled", "layers/named.py:Free.emit"])["layers/named.py"].keys() >= {
        "Free"
    }


def test_files_that_are_added_or_gone() -> None:
    before = engine().counted(["solve/b.py:added"])
    assert engine(new="NUMBER = 5\ndef added():\n    pass\n").changed(before) == []
    gone = Engine({"solve/a.py": CODE}).changed(before)
    assert "solve/b.py:added" in gone
    assert "solve/b.py:TWICE" in gone


def test_no_part_of_reading_counts() -> None:
    files = {"graph/read.py": CODE, "graph/ops/conv.py": CODE, "graph/forward.py": CODE, "solve/a.py": CODE}
    counted = Engine(files).counted([f"{name}:doubled" for name in files])
    assert sorted(counted) == ["graph/forward.py", "solve/a.py"]
    # Of a network's own classes the fields are listed where networks are.
    assert {*counted["graph/forward.py"]} == {"doubled", "NUMBER"}
    assert {"doubled", "NUMBER", "Kind", "RULES"} <= {*counted["solve/a.py"]}


def test_any_change_of_code_is_another_whole() -> None:
    assert engine().digest == engine(a=CODE.replace('"""Double."""', '"""Twice."""')).digest
    for old, new in (("z", "zz"), ("NUMBER = 2", "NUMBER = 3"), ("OUTSIDE", "NEW = 3\nOUTSIDE")):
        assert engine().digest != engine(a=CODE.replace(old, new)).digest


def test_the_real_code_is_taken_apart_whole() -> None:
    """No function of the engine is left out, nor has any the name of what stands outside."""
    for path in sorted((ROOT / "mipin_ref").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        file = File(text)
        scopes = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Module | ast.ClassDef)]
        outer = [node.name for one in scopes for node in one.body if isinstance(node, FUNCTIONS)]
        assert {name.rpartition(".")[2].rstrip(RAISED) for name in file.functions} == {*outer}, path
        assert not file.functions.keys() & file.outside.keys()


LOADED = """
import builtins, os
import numpy as np
import mipin_ref as mr
names = ("mnist_cnn", "golden_squeeze", "golden_attention", "golden_lstm", "golden_frontier")
nets = [mr.load(f"models_onnx/{name}/model.onnx") for name in names]
"""
FORGOTTEN = """
builtins._mipin_ref_called.__self__._said.clear()
open(os.environ["MIPIN_REF_TOLD"], "w").close()
"""
USED = """
for net in nets:
    x = np.random.default_rng(0).random((16, *net.input_shape)).astype(net.dtype)
    net.predict(x)
    if not net.sources:
        mr.fit(net, x, 0).attribute(x)
    if net is nets[0]:
        explain = lambda other, x, target: mr.attribute(other, x, target, "gradient")
        mr.metrics.randomization(net, explain, x[:2], 0, ssim=False)
    for name in mr.methods():
        for options in ({}, {"calibration": x}):
            try:
                mr.attribute(net, x[:2], 0, name, **options)
            except mr.MipinError:
                pass
"""


ASKED = [("mipin_ref.graph.load", name) for name in ("load", "as_network", "Model")]
WORDS = ("graph/load.py:as_network", "graph/problem.py:")
"""What gives a network that was read back as it is, and what is said of a file in errors."""


def test_other_rooms_ask_no_file_of_reading_but_for_a_network() -> None:
    for room in ("layers", "solve", "inverse", "methods", "metrics", "panel", "data"):
        for path in (ROOT / "mipin_ref" / room).rglob("*.py"):
            for module, name in File(path.read_text(encoding="utf-8")).imports.values():
                file = f"{'/'.join(module.split('.')[1:])}.py"
                assert not reading(file) or (module, name) in ASKED, path


@pytest.mark.slow
def test_files_of_reading_are_there_and_call_nothing_later(tmp_path: Path) -> None:
    """What is called first behind `load` is none of theirs: else its changes would be seen by nobody."""
    assert all((ROOT / "mipin_ref" / one).exists() for one in (*READING, *LATER))
    (tmp_path / "script.py").write_text(f"{LOADED}{FORGOTTEN}{USED}")
    given = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    told = tmp_path / "told.txt"
    subprocess.run([sys.executable, str(tmp_path / "script.py")], cwd=ROOT, env=variables(told, given), check=True)
    called = read(told) or set()
    assert len(called) > 300
    later = sorted(one for one in called if reading(one.split(":")[0]) and not one.startswith(WORDS))
    assert later == [], "\n".join(later)
