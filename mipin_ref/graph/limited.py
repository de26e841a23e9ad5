"""Runs of a file that nobody vouches for: ended from outside where they take too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Timer
from typing import Any

import onnxruntime

from mipin_ref.layers import HostArray

SECONDS = 60.0
"""What one run of a few samples may take: a loop in a file may have no end."""


def run(
    runtime: onnxruntime.InferenceSession, names: Sequence[str], feed: Mapping[str, HostArray], seconds: float = SECONDS
) -> list[Any]:
    """The outputs `names` of a session, given of `feed` what it has inputs for.

    Raises what onnxruntime raises, also where the time is over.
    """
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        known = {value.name for value in runtime.get_inputs()}
        return list(runtime.run(list(names), {name: value for name, value in feed.items() if name in known}, options))
    finally:
        timer.cancel()
