"""Run a script and tell which files of the engine had functions called: python -m measured.traced TOLD SCRIPT ...

Every function of the engine says its file when it is called, for which the modules are compiled here, from source and
into no cache. A script that starts other processes, which might call what nobody tells, tells nothing.
"""

from __future__ import annotations

import ast
import builtins
import json
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

SAYS = "_mipin_ref_called"
"""What functions call with the path of their file from the package's folder."""
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system")
HARMLESS = ("ldconfig",)
"""Programs that libraries ask where other libraries lie."""


class Tracer(MetaPathFinder):
    """Finds the modules of the package; called: the files whose functions were, None where processes were started."""

    def __init__(self) -> None:
        self.called: set[str] | None = set()
        setattr(builtins, SAYS, self._call)
        sys.addaudithook(self._hear)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.split(".")[0] == "mipin_ref" else None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec

    def _call(self, file: str) -> None:
        if self.called is not None:
            self.called.add(file)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        started = event in STARTS and Path(str(given[0] if given else "")).name not in HARMLESS
        # Where multiprocessing starts a process of whichever kind, it imports a module of that name first.
        if started or (event == "import" and str(given[0]).startswith("multiprocessing.popen_")):
            self.called = None


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        parts = Path(self.path).parts
        file = "/".join(parts[len(parts) - parts[::-1].index("mipin_ref") :])
        return compile(ast.fix_missing_locations(_Says(file).visit(tree)), self.path, "exec", dont_inherit=True)


class _Says(ast.NodeTransformer):
    """Each function begins with saying its file, behind its docstring."""

    def __init__(self, file: str) -> None:
        self._file = file

    def _says(self, at: ast.expr | ast.stmt) -> ast.Call:
        call = ast.Call(ast.Name(SAYS, ast.Load()), [ast.Constant(self._file)], [])
        return ast.copy_location(call, at)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        first = node.body[0]
        node.body.insert(
            int(ast.get_docstring(node) is not None), ast.copy_location(ast.Expr(self._says(first)), first)
        )
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.generic_visit(node)
        pair = ast.Tuple([self._says(node.body), node.body], ast.Load())
        node.body = ast.copy_location(ast.Subscript(pair, ast.Constant(1), ast.Load()), node.body)
        return node


def main(told: str, script: str, *words: str) -> None:
    tracer = Tracer()
    sys.meta_path.insert(0, tracer)
    sys.argv, sys.path[0] = [script, *words], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
    Path(told).write_text(json.dumps(None if tracer.called is None else sorted(tracer.called)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
