"""Golden values: the conformance kit that other implementations of MIP-IN check themselves against, stage by stage."""

from mipin_ref.golden.case import cases
from mipin_ref.golden.make import make

__all__ = ["cases", "make"]
