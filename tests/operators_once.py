"""torch's newer exporter reads the source of its whole library of operators for every file that it writes, a quarter of
the time of a small one: here once a process.
"""

import sys
from functools import cache


def read_operators_once() -> None:
    """Where a test has loaded torch, and torch's exporter is as it is known to be; else nothing is done."""
    if "torch" not in sys.modules:
        return
    try:
        from torch.onnx._internal.exporter._registration import onnxscript_apis
    except ImportError:
        return
    listed = onnxscript_apis.get_torchlib_ops
    if not hasattr(listed, "cache_info"):
        onnxscript_apis.get_torchlib_ops = cache(listed)
