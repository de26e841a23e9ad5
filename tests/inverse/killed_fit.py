"""A fit in a process of its own, made to be killed: python killed_fit.py MODEL DATA OUT CHECKPOINT OPTIONS.

Says on standard output when it begins, what each pass is, and when it is done; before the pass that the option "pause"
names it waits for a line on standard input.
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


def main() -> None:
    model, data, out, checkpoint, text = sys.argv[1:]
    net, options = mr.load(model), json.loads(text)
    pause = options.pop("pause", None)

    @contextmanager
    def told(enabled: bool) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
        """In place of the progress bar."""

        def start(title: str, total: int) -> Callable[[int], None]:
            say(title)
            if title == pause:
                sys.stdin.readline()
            return lambda count: None

        yield start

    setattr(module, "progress_bar", told)  # noqa: B010 (no public name)
    x = np.load(data)
    say("begin")
    found = mr.fit(net, x, **options, checkpoint=checkpoint or None, progress=True)
    say("done")
    for target, inv in found.items():
        inv.save(f"{out}/{target}.mipin")


if __name__ == "__main__":
    main()
