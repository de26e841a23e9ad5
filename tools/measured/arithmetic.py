"""What a figure was measured on: what its command called of the engine, and what that reads networks into.

Of a command that nobody traced all counts: every function, and every bit of the networks that it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from measured.engine import Digests, Engine, reading
from measured.networks import FOLDER, lists, named, standing
from measured.table import Run


def digest(root: Path) -> str:
    """The engine of a tree in sixteen letters."""
    return Engine.of(root).digest


def networks(root: Path, command: str | None = None) -> str:
    """The files of the networks that lie in a tree, those alone that a command names where one is given, in sixteen
    letters; none where there are none.
    """
    made, empty = hashlib.sha256(), True
    for path in sorted((root / FOLDER).glob("*/model.onnx")):
        if command is None or path.parent.name in named(root, command):
            made.update(f"{path.parent.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
            empty = False
    return "" if empty else made.hexdigest()[:16]


def traced(root: Path, run: Run, told: Iterable[str], engine: Engine) -> Run:
    """A run with what it is measured on. told: as processes tell it, see `traced.read`."""
    told = set(told)
    opened = [one.partition(":")[2] for one in told if one.startswith(f"{FOLDER}:")]
    # What calls no function that reads files depends on no network.
    of = (
        [*opened, *named(root, run.command), *standing(root)] if any(reading(one.split(":")[0]) for one in told) else []
    )
    called = {file: line(names) for file, names in engine.counted(told).items()}
    run = replace(run, called=called, networks=lists(root, of, engine.digest))
    return replace(run, arithmetic=_of(called, run.networks))


def untraced(root: Path, run: Run, engine: Engine) -> Run:
    """A run of which nobody knows what it calls, with what it is measured on."""
    made = " ".join(filter(None, (engine.digest, networks(root, run.command))))
    return replace(run, called=None, networks=None, arithmetic=made)


def arithmetic(root: Path, run: Run, engine: Engine) -> str:
    """What a run is measured on, now."""
    if run.called is None:
        return untraced(root, run, engine).arithmetic or ""
    called = {file: line(names) for file, names in engine.now(digests(run)).items()}
    return _of(called, lists(root, run.networks or {}, engine.digest))


def changed(root: Path, run: Run, engine: Engine) -> list[str] | None:
    """The functions, and networks, that are others since a run was measured; None where nobody knows what it called."""
    if run.called is None:
        return None
    now = lists(root, run.networks or {}, engine.digest)
    others = [f"the layers of {name}" for name, one in (run.networks or {}).items() if now.get(name) != one]
    return [*engine.changed(digests(run)), *others]


def digests(run: Run) -> Digests:
    """The digests of what a run called, as they were."""
    lines = (run.called or {}).items()
    return {file: dict(part.rsplit(":", 1) for part in line.split()) for file, line in lines}


def line(names: dict[str, str]) -> str:
    """Names of a file with their digests, as a table holds them."""
    return " ".join(f"{name}:{digest}" for name, digest in names.items())


def _of(called: dict[str, str], lists: dict[str, str] | None) -> str:
    text = repr((sorted(called.items()), sorted((lists or {}).items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
