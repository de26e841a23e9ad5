"""A folder of results: one JSON file for each part of an experiment, made once and kept."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """What one part found. options: all that the result depends on; seconds: it took by the clock."""

    options: dict[str, Any]
    result: dict[str, Any]
    seconds: float


class Results:
    """The parts in a folder, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def part(
        self, experiment: str, name: str, options: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The result of make(), or the one of the same options that is already there.

        Written whole when it is made, so that an interruption loses this part alone.
        """
        wanted = _plain(options)
        found = self.read(experiment, name)
        if found is not None and found.options == wanted:
            return found.result
        began = time.perf_counter()
        result: dict[str, Any] = _plain(make())
        seconds = round(time.perf_counter() - began, 1)
        path = self._path(experiment, name)
        temporary = path.with_name(path.name + ".tmp")
        content = {"experiment": experiment, "part": name, "options": wanted, "seconds": seconds, "result": result}
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(temporary, path)
        print(f"{experiment} {name}: {seconds:.0f} s", flush=True)
        return result

    def read(self, experiment: str, name: str) -> Part | None:
        """A part, or None where it is not there. Raises ValueError for a file that is none."""
        path = self._path(experiment, name)
        try:
            content = json.loads(path.read_text())
            return Part(content["options"], content["result"], float(content["seconds"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of an experiment; delete it to have it made again") from error

    def _path(self, experiment: str, name: str) -> Path:
        return self.folder / (re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{experiment}--{name}") + ".json")


def _plain(value: Any) -> Any:
    """value as JSON gives it back: keys as strings, tuples as lists, NumPy's numbers as Python's, NaN as None."""

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
