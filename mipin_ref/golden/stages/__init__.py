"""The stages of a case, in the order in which they are compared: each is right or wrong for itself."""

from mipin_ref.golden.stages.end import End
from mipin_ref.golden.stages.forward import Forward
from mipin_ref.golden.stages.propagate import Propagate
from mipin_ref.golden.stages.solve import Solve
from mipin_ref.golden.stages.stage import Stage

STAGES: tuple[Stage, ...] = (Forward(), Solve(), Propagate(), End())
"""What makes cases, tolerances, new values and causes takes the stages from here, and knows none by name."""
STAGE_NAMES = tuple(stage.name for stage in STAGES)
STAGE_OF = {stage.name: stage for stage in STAGES}

__all__ = ["STAGES", "STAGE_NAMES", "STAGE_OF", "Stage"]
