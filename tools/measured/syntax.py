"""A file of code, taken apart: its functions by qualified name, and what stands outside of them.

Words and layout are left out: docstrings, comments, annotations of functions. What lies within a function, as lambdas
and functions of its own do, belongs to it. What a function raises, with its message, stands apart from what it does
else, as it counts where it is raised alone.
"""

from __future__ import annotations

import ast
from hashlib import sha256

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
RAISED = "!"
"""Behind the name of a function: what it raises."""


class File:
    """functions: name -> syntax, of "Conv.forward" as of "folded", and of what these raise; outside: name -> syntax of
    each constant, of each class without its functions, "" for what has no name; of a table that is written as a
    dictionary each entry has a name of its own, with its key; methods: of each class, the names; mentions: what each
    of all these reads, by name; imports: name -> module and its name there.
    """

    def __init__(self, text: str) -> None:
        self.functions: dict[str, str] = {}
        self.outside: dict[str, str] = {}
        self.methods: dict[str, set[str]] = {}
        self.mentions: dict[str, set[str]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self._take(_Silent().visit(ast.parse(text)).body, "")

    def _take(self, body: list[ast.stmt], scope: str) -> None:
        for one in body:
            if isinstance(one, FUNCTIONS):
                # A property and its setter have one name.
                name = scope + one.name
                bare = _Bare()
                self.functions[name] = self.functions.get(name, "") + said(bare.visit(one))
                self._mention(name, one)
                if bare.raised:
                    raised = self.functions.get(name + RAISED, "") + said(bare.raised)
                    self.functions[name + RAISED] = raised
                    for of in bare.raised:
                        self._mention(name + RAISED, of)
            elif isinstance(one, ast.ClassDef):
                self._take_class(one, scope)
            elif isinstance(one, ast.ImportFrom):
                self.imports |= {name.asname or name.name: (one.module or "", name.name) for name in one.names}
            elif isinstance(one, ast.If | ast.Try):
                self._take_branches(one, scope)
            elif not isinstance(one, ast.Import) and not scope:
                self._take_constant(one)

    def _take_class(self, one: ast.ClassDef, scope: str) -> None:
        name = scope + one.name
        self.methods[name] = {inner.name for inner in one.body if isinstance(inner, FUNCTIONS)}
        self._take(one.body, f"{name}.")
        one.body = [inner for inner in one.body if not isinstance(inner, (*FUNCTIONS, ast.ClassDef))]
        self._add(name, one)

    def _take_branches(self, one: ast.If | ast.Try, scope: str) -> None:
        """Definitions inside of a branch are as others, and which is taken is a thing without a name."""
        if isinstance(one, ast.If) and "TYPE_CHECKING" in said(one.test):
            return
        parts = [one.body, one.orelse, *([] if isinstance(one, ast.If) else [*(h.body for h in one.handlers)])]
        for part in parts:
            self._take(part, scope)
        if not all(isinstance(inner, ast.Import | ast.ImportFrom) for part in parts for inner in part):
            self._add("", one)

    def _take_constant(self, one: ast.stmt) -> None:
        names, value = targets(one)
        if names == ["__all__"]:
            return
        if len(names) == 1 and isinstance(value, ast.Dict):
            for key, of in zip(value.keys, value.values, strict=True):
                self._add(f"{names[0]}[{'**' + ast.unparse(of) if key is None else ast.unparse(key)}]", of)
            # The table itself, whatever is in it: who reads it reads all of its entries.
            self._add(names[0], ast.Dict([], []), value)
        else:
            for name in names or [""]:
                self._add(name, one)

    def _add(self, name: str, one: ast.AST, reads: ast.AST | None = None) -> None:
        # Two lines for one file and table: names have neither blanks nor colons.
        name = name.replace(" ", "").replace(":", "=")
        self.outside[name] = self.outside.get(name, "") + said(one)
        self._mention(name, reads or one)

    def _mention(self, name: str, one: ast.AST) -> None:
        self.mentions.setdefault(name, set()).update(read_by(one))

    def under(self, name: str) -> list[str]:
        """The names outside of functions that a plain name stands for: itself, and the entries of a table."""
        return [one for one in self.outside if one == name or one.startswith(f"{name}[")]


def targets(one: ast.stmt) -> tuple[list[str], ast.expr | None]:
    """The names that a statement gives a value, and this value; no names where it is no plain assignment."""
    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
        return [one.target.id], one.value
    if isinstance(one, ast.Assign) and len(one.targets) == 1:
        target = one.targets[0]
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        if all(isinstance(part, ast.Name) for part in parts):
            return [part.id for part in parts if isinstance(part, ast.Name)], one.value
    return [], None


def read_by(node: ast.AST) -> set[str]:
    """The names that are read when syntax is carried out: none of an annotation."""
    names = {node.id} if isinstance(node, ast.Name) else set[str]()
    for key, value in ast.iter_fields(node):
        parts = value if isinstance(value, list) else [value]
        names |= {name for one in parts if isinstance(one, ast.AST) and key != "annotation" for name in read_by(one)}
    return names


def said(node: object) -> str:
    """Syntax as text, the same in any version of Python: ast.dump differs in what is empty."""
    if isinstance(node, ast.AST):
        fields = [f"{key}={said(value)}" for key, value in ast.iter_fields(node) if value not in (None, [])]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(said, node))}]"
    return repr(node)


def short(text: str) -> str:
    """A digest in eight letters."""
    return sha256(text.encode()).hexdigest()[:8]


class _Silent(ast.NodeTransformer):
    """Drop every expression that is text alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


class _Bare(ast.NodeTransformer):
    """Drop the annotations of a function, and take out what it raises."""

    def __init__(self) -> None:
        self.raised: list[ast.expr] = []

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        self.raised += [one for one in (node.exc, node.cause) if one is not None]
        return ast.Raise()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        return None if node.value is None else ast.Assign([node.target], node.value)
