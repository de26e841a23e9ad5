"""A fit in a process of its own, made to be killed: python killed_fit.py MODEL DATA OUT CHECKPOINT OPTIONS.

Says on standard output when it begins, what each pass is, and when it is done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

import mipin_ref as mr
from mipin_ref.inverse import fit as module


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def told(enabled: bool) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """In place of the progress bar."""

    def start(text: str, total: int) -> Callable[[int], None]:
        say(text)
        return lambda count: None

    yield start


def main() -> None:
    model, data, out, checkpoint, text = sys.argv[1:]
    setattr(module, "progress_bar", told)  # noqa: B010 (no public name)
    net, options = mr.load(model), json.loads(text)
    x = np.load(data)
    say("begin")
    found = mr.fit(net, x, **options, checkpoint=checkpoint or None, progress=True)
    say("done")
    for target, inv in found.items():
        inv.save(f"{out}/{target}.mipin")


if __name__ == "__main__":
    main()
