"""Recurrent cells that a file writes out step by step, as the operator that they are: LSTM, GRU and RNN."""

from mipin_ref.graph.unrolled.rolled_up import rolled_up
from mipin_ref.graph.unrolled.stacks import stacks_joined

__all__ = ["rolled_up", "stacks_joined"]
