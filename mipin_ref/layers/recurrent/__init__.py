"""Recurrent layers: LSTM and GRU, whose gates are state (method, section 10)."""

from mipin_ref.layers.recurrent.gru import GRU
from mipin_ref.layers.recurrent.kind import Recurrent
from mipin_ref.layers.recurrent.lstm import LSTM

__all__ = ["GRU", "LSTM", "Recurrent"]
