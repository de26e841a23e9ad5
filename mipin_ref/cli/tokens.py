"""Texts at the command line: what is read of them, and how a line shows what counts."""

from __future__ import annotations

import sys
from argparse import Namespace

import numpy as np

from mipin_ref.cli.model import opening
from mipin_ref.cli.streams import Guarded
from mipin_ref.explain.texts import TextRun, check_no_texts, text_run
from mipin_ref.graph.asked_inputs import asked_inputs
from mipin_ref.report.explained import ShownSample
from mipin_ref.report.explained.scale import common_scale
from mipin_ref.text import printable

NAMED = 3
"""Tokens whose scores stand at the end of a line."""
LEAST = 0.2
"""Of the full colour: what counts less has none."""
STEPS = {1: ((255, 205, 205), (255, 150, 150), (255, 90, 90)), -1: ((205, 215, 255), (150, 175, 255), (95, 130, 255))}
"""Grounds for and against the class, the strongest last: as on the page, and legible under black."""


def text_run_of(options: Namespace) -> TextRun | None:
    """The texts, or ids, and their tokenizer; None where none is given. Raises InvalidData as `text_run` does."""
    tokenizer = options.tokenizer if options.tokenizer is not None else options.vocabulary
    if tokenizer is None:
        check_no_texts(options.images)
        return None
    told = opening(options)
    return text_run(
        asked_inputs(options.model), options.images, options.calibration, tokenizer, told["input_shape"], told["given"]
    )


def print_tokens(sample: ShownSample) -> None:
    """A line on the first class of a sample: its tokens, coloured on a terminal, and the scores of the largest."""
    first = sample.classes[0]
    tokens = [printable(one) for one in sample.tokens or ()]
    joints = [" "] * len(tokens) if sample.joints is None else sample.joints
    order = np.argsort(-np.abs(first.map), kind="stable")[:NAMED]
    named = ", ".join(f"{tokens[i]} {first.map[i]:+.3g}" for i in order.tolist())
    shares = common_scale([first.map]).share(first.map)
    parts: list[tuple[str, tuple[int, int, int] | None]] = [(f"{sample.name}, {first.name} {first.score}: ", None)]
    for number, (joint, token, share) in enumerate(zip(joints, tokens, shares.tolist(), strict=True)):
        parts += [(printable(joint) if number else "", None), (token, _ground(share))]
    parts.append((f"  ({named})\n", None))
    out = sys.stdout
    if isinstance(out, Guarded):
        out.write_coloured(parts)
    else:
        out.write("".join(text for text, _ in parts))


def _ground(share: float) -> tuple[int, int, int] | None:
    if abs(share) < LEAST:
        return None
    steps = STEPS[1 if share > 0 else -1]
    return steps[min(len(steps) - 1, int(abs(share) * len(steps)))]
