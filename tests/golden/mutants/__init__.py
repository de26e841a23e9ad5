"""Deliberate faults of the independent implementation: name -> fault, and the case, stage and tensor that show it."""

from tests.golden.mutants.attention import ATTENTION
from tests.golden.mutants.copies import COPIES
from tests.golden.mutants.dead import DEAD
from tests.golden.mutants.ends import ENDS
from tests.golden.mutants.fit import FIT
from tests.golden.mutants.forward import FORWARD
from tests.golden.mutants.gates import GATES
from tests.golden.mutants.geometry import GEOMETRY
from tests.golden.mutants.joint import JOINT
from tests.golden.mutants.locations import LOCATIONS
from tests.golden.mutants.mutant import Caught, Mutant, caught
from tests.golden.mutants.passes import PASSES
from tests.golden.mutants.recurrent import RECURRENT
from tests.golden.mutants.tokens import TOKENS

MUTANTS: dict[str, Mutant] = {
    **FORWARD,
    **GEOMETRY,
    **FIT,
    **JOINT,
    **PASSES,
    **GATES,
    **ENDS,
    **TOKENS,
    **COPIES,
    **DEAD,
    **RECURRENT,
    **ATTENTION,
    **LOCATIONS,
}

__all__ = ["MUTANTS", "Caught", "Mutant", "caught"]
