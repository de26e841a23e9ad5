"""Texts at the command line: what is read of them, and how a line shows what counts."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.cli.model import opening
from mipin_ref.cli.streams import Guarded
from mipin_ref.explain.said import Said, check_masks, said_in
from mipin_ref.explain.texts import TextRun, Texts, check_no_texts, text_run
from mipin_ref.graph.asked_inputs import asked_inputs
from mipin_ref.layers import HostArray, Shape
from mipin_ref.report.explained import ShownSample
from mipin_ref.report.explained.scale import common_scale
from mipin_ref.text import printable

NAMED = 3
"""Tokens whose scores stand at the end of a line."""
LONGEST = 300
"""Tokens that a line shows; a page shows all."""
LEAST = 0.2
"""Of the full colour: what counts less has none."""
STEPS = {1: ((255, 205, 205), (255, 150, 150), (255, 90, 90)), -1: ((205, 215, 255), (150, 175, 255), (95, 130, 255))}
"""Grounds for and against the class, the strongest last: as on the page, and legible under black."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of samples of ids. said: [N] of each; texts: what is known of them, None without a tokenizer."""

    said: Sequence[Said]
    texts: Texts | None

    @classmethod
    def of(cls, x: HostArray, positions: Sequence[int], run: TextRun | None) -> Tokens:
        """Those of samples x [N, ...]; positions: [N] of them in the data.

        Raises InvalidData for a sample whose mask hides all of its tokens.
        """
        check_masks(x)
        texts = None if run is None else run.texts
        made = [said_in(texts, x, n, position) for n, position in enumerate(positions)]
        return cls(made, texts)

    @property
    def fill(self) -> int:
        """The id that takes the place of a token: what fills up shorter texts, else 0."""
        return 0 if self.texts is None or self.texts.pad is None else self.texts.pad

    def called(self, number: float) -> str:
        """An id in words: its token, where that is known."""
        names = () if self.texts is None else self.texts.names
        known = float(number).is_integer() and 0 <= number < len(names)
        return f"{names[int(number)]} (id {number:.0f})" if known else f"id {number:g}"

    @property
    def longest(self) -> int:
        """How many tokens the longest of the texts has."""
        return max(int(one.drawn.sum()) for one in self.said)

    def among(self, grid: Shape) -> npt.NDArray[np.bool_]:
        """Which places of samples hold tokens [N, *grid]."""
        return np.stack([one.drawn for one in self.said]).reshape(len(self.said), *grid)


def told_of_ids(shape: Shape, run: TextRun | None) -> str:
    """A line on ids that a network reads, in place of one on how pixels are preprocessed."""
    length = prod(shape)
    if run is not None and (encoded := run.texts.encoded) is not None:
        count = len(encoded)
        return f"{count:,} text{'s' if count > 1 else ''} of up to {length} tokens"
    return f"ids as they are stored, {length} a text"


def text_run_of(options: Namespace, data: str) -> TextRun | None:
    """The texts, or ids, of a path, and their tokenizer; None where none is given.

    Raises InvalidData as `text_run` does.
    """
    tokenizer = options.tokenizer if options.tokenizer is not None else options.vocabulary
    if tokenizer is None:
        check_no_texts(data)
        return None
    told = opening(options)
    asked = asked_inputs(options.model)
    return text_run(asked, data, options.calibration, tokenizer, told["input_shape"], told["given"])


def print_tokens(sample: ShownSample) -> None:
    """A line on the first class of a sample: its tokens, coloured on a terminal, and the scores of the largest."""
    first = sample.classes[0]
    tokens = [printable(one) for one in sample.tokens or ()]
    joints = [" "] * len(tokens) if sample.joints is None else sample.joints
    order = np.argsort(-np.abs(first.map), kind="stable")[:NAMED]
    named = ", ".join(f"{tokens[i]} {first.map[i]:+.3g}" for i in order.tolist()) if first.map.any() else "all 0"
    shares = common_scale([first.map]).share(first.map)
    parts: list[tuple[str, tuple[int, int, int] | None]] = [(f"{sample.name}, {first.name} {first.score}: ", None)]
    shown = list(zip(joints, tokens, shares.tolist(), strict=True))[:LONGEST]
    for number, (joint, token, share) in enumerate(shown):
        # A tab, too, is white space between two tokens, and a line stays one.
        between = printable(re.sub(r"\s", " ", joint)) if number else ""
        parts += [(between, None), (token, _ground(share))]
    if len(tokens) > len(shown):
        parts.append((f" … and {len(tokens) - len(shown):,} more tokens", None))
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
