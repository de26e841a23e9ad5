"""A folder of results: one JSON file for each part of an experiment, made once and kept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from measured.arithmetic import digest, networks
from training.files import write_json


@dataclass(frozen=True)
class Part:
    """What one part found. options: all that the result depends on; seconds: it took by the clock; arithmetic: the
    digests of the engine and networks that made it, None where it is not known.
    """

    options: dict[str, Any]
    result: dict[str, Any]
    seconds: float
    arithmetic: str | None = None


class Results:
    """The parts in a folder, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def part(
        self, experiment: str, name: str, options: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The result of make(), or the one of the same options and arithmetic that is already there.

        Written whole when it is made, so that an interruption loses this part alone.
        """
        wanted = _plain(options)
        there = self.read(experiment, name)
        if there is not None and (there.options, there.arithmetic) == (wanted, arithmetic()):
            return there.result
        began = time.perf_counter()
        result: dict[str, Any] = _plain(make())
        seconds = round(time.perf_counter() - began, 1)
        content = {"experiment": experiment, "part": name, "options": wanted, "arithmetic": arithmetic()}
        content |= {"seconds": seconds, "result": result}
        write_json(self._path(experiment, name), content)
        print(f"{experiment} {name}: {seconds:.0f} s", flush=True)
        return result

    def read(self, experiment: str, name: str) -> Part | None:
        """A part, or None where it is not there. Raises ValueError for a file that is none."""
        path = self._path(experiment, name)
        try:
            content = json.loads(path.read_text())
            seconds = float(content["seconds"])
            return Part(content["options"], content["result"], seconds, content.get("arithmetic"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of an experiment; delete it to have it made again") from error

    def parts(self, experiment: str, names: Iterable[str], of: str = "") -> dict[str, Part]:
        """The parts that are there, by name; of: the network whose parts they are, where an experiment has several."""
        read = {name: self.read(experiment, part_of(of, name)) for name in names}
        return {name: part for name, part in read.items() if part is not None}

    def _path(self, experiment: str, name: str) -> Path:
        return self.folder / (re.sub(r"[^A-Za-z0-9_.+-]+", "_", f"{experiment}--{name}") + ".json")


@cache
def arithmetic() -> str:
    """The digests of the engine's code and of the networks that come with it, as they are."""
    root = Path(mr.__file__).parents[1]
    return f"{digest(root)} {networks(root)}"


def part_of(network: str, name: str) -> str:
    """The name of a network's part; where there is but one network, the name alone."""
    return f"{network}--{name}" if network else name


def or_failed(make: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
    """Tell of a method that refuses a network, as {"failed": reason}, instead of ending the run."""

    def made() -> Mapping[str, Any]:
        try:
            return make()
        except mr.MipinError as error:
            return {"failed": str(error)}

    return made


def _plain(value: Any) -> Any:
    """Give value as it comes back from JSON: keys are strings, tuples lists, NumPy's numbers Python's, NaN None."""

    def told(other: Any) -> Any:
        if isinstance(other, np.ndarray | np.generic):
            return other.tolist()
        if isinstance(other, Path):
            return other.name
        raise TypeError(f"a result cannot hold {type(other).__name__}")

    return _without_nan(json.loads(json.dumps(value, default=told)))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
