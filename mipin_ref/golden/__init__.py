"""Golden values: the conformance kit that other implementations of MIP-IN check themselves against, stage by stage."""

from mipin_ref.golden.build import make
from mipin_ref.golden.case import Case, cases, read_case
from mipin_ref.golden.compare import Finding, Verification, verify
from mipin_ref.golden.regenerate import remake

__all__ = ["Case", "Finding", "Verification", "cases", "make", "read_case", "remake", "verify"]
