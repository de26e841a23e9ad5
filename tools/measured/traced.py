"""Which functions of the engine a command calls: every process that it starts tells those that it calls.

Every function of the package says its name when it is called first, for which the modules are compiled here, from
source and into no cache. Where TOLD is set in the environment, Python begins with child/sitecustomize.py, which starts
a tracer in whatever process inherits it; all of them write lines at the end of one file. A process that is started
without it, which might call what nobody tells, is told itself.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from threading import local
from types import CodeType, FrameType, ModuleType
from typing import Any

from measured.syntax import RAISED, Function

PACKAGE = "mipin_ref"
TOLD = "MIPIN_REF_TOLD"
"""The variable with the file to which each process adds what it calls."""
CHILD = Path(__file__).parent / "child"
"""What stands in PYTHONPATH for it."""
UNTOLD = "?"
"""The line of a process that tells nothing."""
SAYS = "_mipin_ref_called"
"""What functions call with the path of their file from the package's folder and their name."""
PLACE = {"subprocess.Popen": 3, "os.exec": 2, "os.posix_spawn": 2, "os.spawn": 3}
"""Where among what an event is given the environment stands; it is None for that of this process."""
DEAF = re.compile(r"-[a-zA-Z]*[EI]")
"""Options by which Python reads nothing of its environment. With -S it does, finds no numpy, and so calls no engine."""
HARMLESS = ("ldconfig", "git")
"""Programs that start no Python."""
IMPORTED = "~"
"""In front of what was called while a module was imported: such calls fill tables and make constants."""
NETWORK = re.compile(r"models_onnx/([\w-]+)/model\.onnx$")
"""A network that lies in the tree."""


def variables(told: Path, given: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes tell what they call."""
    paths = os.pathsep.join(filter(None, [str(CHILD), given.get("PYTHONPATH")]))
    return {**given, TOLD: str(told), "PYTHONPATH": paths}


def read(told: Path) -> set[str] | None:
    """What processes told: "layers/conv/kind.py:Conv.forward", with IMPORTED in front where it was called in an import,
    and "models_onnx:NAME" for a network that the package opened; None where one told nothing.
    """
    lines = set(told.read_text(encoding="utf-8").split("\n")) - {""} if told.exists() else set()
    return None if UNTOLD in lines else lines


class Tracer(MetaPathFinder):
    """Finds the modules of the package, and writes what they say to the end of a file."""

    def __init__(self, told: str) -> None:
        self._said: set[str] = set()
        self._importing = local()
        self._file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        setattr(builtins, SAYS, self._called)
        sys.meta_path.insert(0, self)
        sys.addaudithook(self._hear)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.split(".")[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self._importing)
        elif spec is not None or name == PACKAGE:
            self._call(UNTOLD)
        return spec

    def _called(self, name: str) -> None:
        self._call(IMPORTED + name if getattr(self._importing, "depth", 0) else name)

    def _call(self, name: str) -> None:
        if name not in self._said:
            self._said.add(name)
            # At once, whole and at the end: a process may be killed, and others write there too.
            os.write(self._file, f"{name}\n".encode())

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], str | os.PathLike):
            network = NETWORK.search(os.path.realpath(given[0]))
            if network is not None and _within_package():
                self._call(f"models_onnx:{network[1]}")
        elif event in PLACE and not _tells(event, given):
            self._call(UNTOLD)


def _within_package() -> bool:
    """Whether a function of the package is at work: tools also read networks to digest them."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not str(frame.f_globals.get("__name__")).startswith(f"{PACKAGE}."):
        frame = frame.f_back
    return frame is not None


def _tells(event: str, given: tuple[Any, ...]) -> bool:
    """Whether a process that is started will tell what it calls."""
    program, words = given[:2] if event != "os.spawn" else given[1:3]
    name = Path(os.fsdecode(program)).name
    if name in HARMLESS:
        return True
    own = given[PLACE[event]]
    there = os.environ if own is None else {os.fsdecode(key): os.fsdecode(value) for key, value in own.items()}
    if TOLD not in there or str(CHILD) not in there.get("PYTHONPATH", "").split(os.pathsep):
        return False
    options = []
    for word in map(os.fsdecode, list(words)[1:]):
        if not word.startswith("-") or word in ("-c", "-m"):
            break
        options.append(word)
    return not (name.startswith("python") and any(map(DEAF.fullmatch, options)))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, importing: local) -> None:
        super().__init__(name, path)
        self._importing = importing

    def exec_module(self, module: ModuleType) -> None:
        depth = getattr(self._importing, "depth", 0)
        self._importing.depth = depth + 1
        try:
            super().exec_module(module)
        finally:
            self._importing.depth = depth

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        parts = Path(self.path).parts
        file = "/".join(parts[len(parts) - parts[::-1].index(PACKAGE) :])
        return compile(ast.fix_missing_locations(_Says(file).visit(tree)), self.path, "exec", dont_inherit=True)


class _Says(ast.NodeTransformer):
    """Each function begins with saying its file and name, behind its docstring, and says so before it raises: see
    `syntax` for what a name is.
    """

    def __init__(self, file: str) -> None:
        self._file, self._scope, self._inside = file, "", False

    def _says(self, at: ast.expr | ast.stmt, what: str = "") -> ast.Call:
        call = ast.Call(ast.Name(SAYS, ast.Load()), [ast.Constant(f"{self._file}:{self._scope}{what}")], [])
        return ast.copy_location(call, at)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        before = self._scope
        if not self._inside:
            self._scope = f"{before}.{node.name}".lstrip(".")
        self.generic_visit(node)
        self._scope = before
        return node

    def _function(self, node: Function) -> Function:
        before = self._scope, self._inside
        if not self._inside:
            self._scope, self._inside = f"{self._scope}.{node.name}".lstrip("."), True
        self.generic_visit(node)
        first = node.body[0]
        says = ast.copy_location(ast.Expr(self._says(first)), first)
        node.body.insert(int(ast.get_docstring(node) is not None), says)
        self._scope, self._inside = before
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Function:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Function:
        return self._function(node)

    def visit_Raise(self, node: ast.Raise) -> list[ast.stmt]:
        self.generic_visit(node)
        return [ast.copy_location(ast.Expr(self._says(node, RAISED)), node), node]

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.generic_visit(node)
        pair = ast.Tuple([self._says(node.body), node.body], ast.Load())
        node.body = ast.copy_location(ast.Subscript(pair, ast.Constant(1), ast.Load()), node.body)
        return node
