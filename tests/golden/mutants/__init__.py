"""Deliberate faults of the independent implementation: name -> fault, and the case, stage and tensor that show it."""

from tests.golden.mutants.fit import FIT
from tests.golden.mutants.forward import FORWARD
from tests.golden.mutants.geometry import GEOMETRY
from tests.golden.mutants.joint import JOINT
from tests.golden.mutants.mutant import Caught, Mutant, caught
from tests.golden.mutants.passes import PASSES

MUTANTS: dict[str, Mutant] = {**FORWARD, **GEOMETRY, **FIT, **JOINT, **PASSES}

__all__ = ["MUTANTS", "Caught", "Mutant", "caught"]
