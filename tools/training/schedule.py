"""How long the networks for boxed clutter are trained, on which scenes, and at which learning rate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROUND_SCENES = 6400
PASSES = 3
BATCH = 64
LEARNING_RATE = 2e-3
WARM_STEPS = 200
# Pixels that scenes of further rounds are rolled by at most, either way.
SHIFT = 4
FIRST_ROUND_SEED = 1000


def learning_rate(step: int, steps: int) -> float:
    """A linear rise over the first steps under a cosine decay to zero."""
    return float(LEARNING_RATE * min(1.0, (step + 1) / WARM_STEPS) * (1 + np.cos(np.pi * step / steps)) / 2)


class Schedule(NamedTuple):
    """Rounds under one cosine, and more under a second one (Loshchilov and Hutter 2017, "SGDR"), whose products are in
    bfloat16 and whose scenes are rolled. `different` rounds have scenes of their own, those after them see these again
    in turn; None: all have.
    """

    rounds: int
    more: int = 0
    different: int | None = None

    @property
    def total(self) -> int:
        return self.rounds + self.more

    def seed_of(self, number: int, seed: int) -> int:
        """The seed of a round's order, in a run of a seed."""
        return FIRST_ROUND_SEED * (seed + 1) + number

    def scenes_of(self, number: int, seed: int) -> int:
        """The seed of a round's scenes, in a run of a seed."""
        return self.seed_of(number % (self.different or self.total), seed)

    def rate(self, step: int) -> float:
        """The learning rate of a step of all."""
        first, steps = (count * PASSES * (ROUND_SCENES // BATCH) for count in (self.rounds, self.total))
        return learning_rate(step, first) if step < first else learning_rate(step - first, steps - first)

    def told(self, seed: int, flags: str) -> str:
        """What is trained on, as a card says it; flags: of the scenes, besides their seeds."""
        last = min(self.different or self.total, self.total) - 1
        again = " in turn, over and over" if last < self.total - 1 else ""
        rolled = f", in the last {self.more} rounds also rolled by up to {SHIFT} pixels either way" if self.more else ""
        return (
            f"{self.total} rounds of {ROUND_SCENES} scenes, {flags}, --seed {self.scenes_of(0, seed)} to "
            f"{self.scenes_of(last, seed)}{again}, {PASSES} passes over each, channels of every batch in a random order"
            + rolled
        )

    def decay(self) -> str:
        """What the learning rate decays over, as a card says it."""
        if not self.more:
            return "all steps"
        second = f"those of the last {self.more} rounds, with products in bfloat16"
        return f"the steps of {self.rounds} rounds and again over {second}" if self.rounds else second

    def flags(self) -> str:
        """The options that say it."""
        more = f" --more {self.more}" if self.more else ""
        different = f" --different {self.different}" if self.different else ""
        return f"--rounds {self.rounds}{more}{different}"
