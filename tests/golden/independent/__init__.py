"""MIP-IN a second time, in torch, from the method's text and the golden format; it shares no code with the engine.

It stands for an implementation in another framework: what it computes from a golden case is a candidate for `verify`.
"""

from tests.golden.independent.case import Case
from tests.golden.independent.stages import Independent

__all__ = ["Case", "Independent"]
