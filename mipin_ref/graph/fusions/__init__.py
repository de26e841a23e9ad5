"""onnxruntime's own operators of several steps, as the standard operators that they stand for: one fusion a file."""

from mipin_ref.graph.fusions.spelled_out import SpelledOut, spelled_out

__all__ = ["SpelledOut", "spelled_out"]
