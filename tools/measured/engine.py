"""The engine's code, function by function: what counts of it for a command, and what of this has changed.

Of a command counts each function that it called; of the files where those stand also what stands outside of functions,
and what they read of this in other files: constants, and classes without their functions. What was called while a
module was imported counts where it made something of this. What nobody called, and what was added since, has no part,
but for a function of a class that takes the place of a called one of that name.

A kind of layer that is only named, as in a table of rules, counts no more than what nobody called: every layer of a
network is written by its `emit`, so a kind of which no function was called has none there. Nor does a group of such
kinds.

The files of graph that turn a file into layers have no part either. They hold tables of all that can be read, which
each new spelling makes longer and whose matchers are called for every network: what counts of them is what they make
of networks, see `networks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from measured.syntax import File, short
from measured.traced import IMPORTED

ENGINE = (
    *("backend.py", "window.py", "beside.py", "attribution.py", "data", "layers", "graph", "solve", "inverse"),
    *("methods", "metrics", "panel"),
)
"""Of mipin_ref: what computes signals, weights, attributions, and what is measured of them."""
_FILES = (
    *("asked_inputs", "by_layer", "canonical", "choices", "columns", "computed", "conditions", "draft", "drafting"),
    *(
        "exact_sums",
        "exponentials",
        "external",
        "filled",
        "fold",
        "frontier",
        "functions",
        "inferred",
        "inputs",
        "integer_products",
        "label",
    ),
    *("limits", "load", "lone", "lone_input", "lone_rows", "lone_sizes", "lone_steps"),
    *("looked_up", "loops", "made_of", "masked", "measuring"),
    *("node", "nodes", "norm_rules", "one_sample", "open", "order", "picked_rows", "picks", "plausible", "presentable"),
    *("problem", "quantised", "read", "rescaled", "rows", "seats", "sequence_lengths", "sorted_samples", "spelled"),
    *("spelled_norms", "spelled_softmax", "spread", "squeezed", "stand_ins", "strided", "told", "trial"),
    *("tried_lengths", "verify", "whole_sequences"),
)
READING = (
    *("graph/ops", "graph/rewrites", "graph/fusions", "graph/unrolled"),
    *(f"graph/{name}.py" for name in _FILES),
)
"""Of these what runs while a file is read, and never again: a test asks."""
LATER = ("graph/rewrites/divisors.py", "graph/rewrites/facing.py")
"""Of these what is also asked of a network that was read."""
LAYERS = "layers/"
"""Where the kinds of layers stand."""
GRAPH = "graph/"
"""Where of what stands outside of functions constants count alone, which called ones read: fields of a network that are
not at their default are listed with it.
"""

Digests = dict[str, dict[str, str]]
"""File -> name -> digest."""
Pairs = set[tuple[str, str]]
"""Files with names."""


class Engine:
    """The engine of a tree. files: path from the package's folder -> text."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {name: File(text) for name, text in sorted(files.items())}

    @classmethod
    def of(cls, root: Path) -> Engine:
        """The engine that lies in a tree."""
        package, files = root / "mipin_ref", {}
        for room in ENGINE:
            place = package / room
            for path in place.rglob("*.py") if place.is_dir() else [place] * place.is_file():
                files[path.relative_to(package).as_posix()] = path.read_text(encoding="utf-8")
        return cls(files)

    @cached_property
    def digest(self) -> str:
        """All of it in sixteen letters."""
        made = sha256()
        for name, file in self._files.items():
            for part in (file.functions, file.outside):
                made.update(repr((name, sorted(part.items()))).encode())
        return made.hexdigest()[:16]

    def counted(self, told: Iterable[str]) -> Digests:
        """What counts of a command, with its digests. told: as processes tell it, see `traced.read`."""
        told = set(told)
        called, imported = (
            {pair for one in told if one.startswith(IMPORTED) == early for pair in self._function(one)}
            for early in (False, True)
        )
        counted = {pair for pair in called if pair[1] in self._files[pair[0]].functions}
        seen: set[tuple[str, str]] = set()
        for file in {file for file, _ in called}:
            here = self._files[file]
            own = () if file.startswith(GRAPH) else here.outside
            counted |= {(file, name) for name in own}
            names = {*own, *(name for other, name in called if other == file)}
            for read in {read for name in names for read in here.mentions.get(name, ())} | {*own}:
                counted |= self._outside(file, read, imported, seen)
        return self.digests(counted)

    def _function(self, told: str) -> list[tuple[str, str]]:
        """File and name of a function that counts, one or none."""
        file, _, name = told.removeprefix(IMPORTED).partition(":")
        return [(file, name)] if file in self._files and not reading(file) else []

    def digests(self, names: Iterable[tuple[str, str]]) -> Digests:
        """The digests of functions and what stands outside of them; of what is not there, none."""
        given = set(names)
        names, made = sorted(given - self._named_alone(given)), Digests()
        called = {name.rpartition(".")[2] for _, name in names}
        for file, name in names:
            here = self._files.get(file)
            if here is None:
                continue
            text = here.functions.get(name) or here.outside.get(name)
            if text is not None:
                # A function that is added to a class may take the place of one that is called.
                own = sorted(one for one in here.methods.get(name, ()) if one in called or one.startswith("__"))
                made.setdefault(file, {})[name] = short(f"{text}{own}")
        return made

    def _named_alone(self, names: Pairs) -> Pairs:
        """Those of the names that are kinds of layers without a layer, nor one of a kind that is made of them."""
        asked = {(file, name.rpartition(".")[0]) for file, name in names}
        classes = {(file, name) for file, name in names if file in self._files and name in self._files[file].methods}
        alone = {
            (file, name)
            for file, name in classes - asked
            if file.startswith(LAYERS) and ("emit" in self._files[file].methods[name] or self._is_group(file, name))
        }
        waiting = list(classes - alone)
        while waiting:
            file, name = waiting.pop()
            for read in self._files[file].mentions[name]:
                for one in self._places(file, read) & alone:
                    alone.remove(one)
                    waiting.append(one)
        return alone

    def _is_group(self, file: str, name: str) -> bool:
        """Whether a class says that it is what kinds have in common."""
        return "keyword(arg='group'," in self._files[file].outside[name]

    def _places(self, file: str, name: str) -> Pairs:
        """Where a name of a file may stand: there, or where it is imported from, and so on."""
        module, there = self._files[file].imports.get(name, ("", ""))
        return {(file, name)}.union(*(self._places(other, there) for other in self._of(module)))

    def is_function(self, file: str, name: str) -> bool:
        """Whether this is a function of this tree, or what one raises."""
        return file in self._files and name in self._files[file].functions

    def now(self, before: Digests) -> Digests:
        """The digests of the same names in this tree."""
        return self.digests((file, name) for file, names in before.items() for name in names)

    def changed(self, before: Digests) -> list[str]:
        """What differs in this tree, as "layers/conv/kind.py:Conv.forward"."""
        now = self.now(before)
        return [
            f"{file}:{name}".rstrip(":")
            for file, names in before.items()
            for name, digest in names.items()
            if now.get(file, {}).get(name) != digest
        ]

    def _outside(self, file: str, name: str, imported: Pairs, seen: Pairs) -> Pairs:
        """What stands outside of functions under a name of a file, and all that this is made of: also functions that
        made it while the file was imported.
        """
        if (file, name) in seen or reading(file):
            return set()
        seen.add((file, name))
        here = self._files[file]
        if name in here.imports:
            module, there = here.imports[name]
            whole = {(other, one) for other in self._of(f"{module}.{there}") for one in self._files[other].outside}
            return whole | {one for other in self._of(module) for one in self._outside(other, there, imported, seen)}
        made = {(file, one) for one in here.under(name) if not (file.startswith(GRAPH) and one in here.methods)}
        made |= {(file, one) for one in here.functions if one.split(".")[0] == name and (file, one) in imported}
        for _, one in tuple(made):
            for read in here.mentions[one]:
                made |= self._outside(file, read, imported, seen)
        return made

    def _of(self, module: str) -> Iterator[str]:
        """The file of a module, if it is the engine's."""
        place = "/".join(module.split(".")[1:])
        yield from (name for name in (f"{place}.py", f"{place}/__init__.py") if name in self._files)


def reading(file: str) -> bool:
    """Whether a file is of what turns files into layers."""
    return file not in LATER and any(file == one or file.startswith(f"{one}/") for one in READING)
