"""What a figure was measured on: what its command called of the engine, and what that reads networks into.

Of a command that nobody traced all counts: every function, and every bit of the networks that it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from measured.engine import Digests, Engine, reading
from measured.networks import FOLDER, file_of, lists, named, present, standing
from measured.table import Run


def digest(root: Path) -> str:
    """The engine of a tree in sixteen letters."""
    return Engine.of(root).digest


def networks(root: Path, command: str | None = None) -> str:
    """The files of the networks that lie in a tree, those alone that a command names where one is given, in sixteen
    letters; none where there are none.
    """
    names, made = present(root) if command is None else named(root, command), hashlib.sha256()
    for name in names:
        made.update(f"{name}\n".encode() + hashlib.sha256(file_of(root, name).read_bytes()).digest())
    return made.hexdigest()[:16] if names else ""


def traced(root: Path, run: Run, told: Iterable[str], engine: Engine) -> Run:
    """A run with what it is measured on. told: as processes tell it, see `traced.read`."""
    told = set(told)
    opened = [one.partition(":")[2] for one in told if one.startswith(f"{FOLDER}:")]
    # What reads no file depends on none that is read elsewhere; imports call functions that list what can be read.
    others = standing(root) if any(map(reading, _files(told))) else []
    of = [*opened, *named(root, run.command), *others]
    return rated(run, engine.counted(told), lists(root, of, engine.digest))


def rated(run: Run, called: Digests, networks: dict[str, str]) -> Run:
    """A run with what it calls, what the networks that count are read into, and the digest of both."""
    lines = {file: _line(names) for file, names in called.items()}
    return replace(run, called=lines, networks=networks, arithmetic=_of(lines, networks))


def untraced(root: Path, run: Run, engine: Engine) -> Run:
    """A run of which nobody knows what it calls, with what it is measured on."""
    made = " ".join(filter(None, (engine.digest, networks(root, run.command))))
    return replace(run, called=None, networks=None, arithmetic=made)


def arithmetic(root: Path, run: Run, engine: Engine) -> str:
    """What a run is measured on, now."""
    if run.called is None:
        return untraced(root, run, engine).arithmetic or ""
    return rated(run, engine.now(digests(run)), lists(root, run.networks or {}, engine.digest)).arithmetic or ""


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


def _line(names: dict[str, str]) -> str:
    return " ".join(f"{name}:{digest}" for name, digest in names.items())


def _files(told: Iterable[str]) -> set[str]:
    """The files of which functions were called, but for those that imports call."""
    return {one.partition(":")[0] for one in told}


def _of(called: dict[str, str], lists: dict[str, str]) -> str:
    text = repr((sorted(called.items()), sorted(lists.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
