"""Compare a candidate with a case, stage by stage, and say which tensor is off first and why it may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.display import OneLine
from mipin_ref.golden.candidate import checked, chosen, open_candidate
from mipin_ref.golden.case import Case, Tensor, read_case
from mipin_ref.golden.causes import Causes
from mipin_ref.golden.perturb import DTYPES
from mipin_ref.golden.stages import STAGE_NAMES
from mipin_ref.layers import HostArray
from mipin_ref.options import checked_choice


@dataclass(frozen=True)
class Finding:
    """A tensor that is off.

    error: the largest absolute difference, of exact tensors how many entries differ; at: where the largest one is;
    tolerance: what it may be; wrong: how many entries are beyond it, of `entries`; cause: the likely one, where known.
    """

    name: str
    stage: str
    tensor: str
    error: float
    tolerance: float
    at: tuple[int, ...]
    wrong: int
    entries: int
    cause: str | None = None

    def __str__(self) -> str:
        if self.tolerance:
            size = f"by {self.error:.3g}, {self.error / self.tolerance:.3g} times the tolerance of {self.tolerance:.3g}"
        else:
            size = f"by {self.error:.6g}, where nothing may differ"
        cause = f"; likely cause: {self.cause}" if self.cause else ""
        where = f"largest at {list(self.at)}"
        return f"{self.name!r} (stage {self.stage}) is off {size}, in {self.wrong} of {self.entries}, {where}{cause}"


@dataclass(frozen=True)
class Verification(OneLine):
    """case: its name; compared: tensors by stage; left_out: names that were there but are not compared at the
    candidate's precision; findings: what is off, in order of stages; worst: the largest error as a part of its
    tolerance, of those that have one.
    """

    case: str
    compared: Mapping[str, int]
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]
    worst: float

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The first tensor that is off."""
        return self.findings[0] if self.findings else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        first = self.first
        return {
            "case": self.case,
            "ok": self.ok,
            "compared": dict(self.compared),
            "left_out": list(self.left_out),
            "worst": self.worst,
            "first": None if first is None else asdict(first),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{stage} {count}" for stage, count in self.compared.items())
        first = self.first
        if first is None:
            left = f"; {len(self.left_out)} not compared at this precision" if self.left_out else ""
            return f"{self.case}: all within tolerance, at most {self.worst:.2g} of it ({counts}{left})"
        more = f" ({len(self.findings) - 1} more are off)" if len(self.findings) > 1 else ""
        return f"{self.case}: {first}{more}"


def verify(
    case: str | Path | Case,
    candidate: str | Path | Mapping[str, Any],
    *,
    stages: Collection[str] | None = None,
    dtype: str | None = None,
) -> Verification:
    """Compare arrays with a case's golden values.

    case: its folder or that of its model, or what `make` or `read_case` returned; candidate: .npz, .safetensors, or
    arrays by name, of any stages, or another case (its folder or its file of arrays); stages: only these; dtype: what
    the candidate was computed in, by default the dtype of each array.
    Raises InvalidData for arrays that are missing, unknown, of a wrong shape or not finite; CorruptFile where the case
    or the candidate is damaged, of another version, or the model is another.

    >>> import mipin_ref as mr
    >>> folder = next(folder for folder in mr.golden.cases() if folder.parent.name == "golden_mlp")
    >>> print(mr.golden.verify(folder, folder))
    golden_mlp: all within tolerance, at most 0 of it (forward 7, solve 12, propagate 12, end 3)
    """
    if dtype is not None:
        checked_choice("dtype", dtype, DTYPES)
    case = case if isinstance(case, Case) else read_case(case)
    given = open_candidate(candidate)
    tensors = chosen(case, given, stages, dtype)
    arrays = {tensor.name: checked(tensor, given.read(tensor.name)) for tensor in tensors}
    bounds = {tensor.name: _bound(tensor, arrays[tensor.name], dtype) for tensor in tensors}
    findings: list[Finding] = []
    causes, worst = Causes(case, arrays), 0.0
    for tensor in tensors:
        bound = bounds[tensor.name]
        if bound is None:
            continue
        apart = _apart(tensor, case.golden(tensor), arrays[tensor.name])
        if bound:
            worst = max(worst, float(apart.max(initial=0.0)) / bound)
        off = _compared(tensor, apart, bound)
        if off is None:
            continue
        findings.append(Finding(**off, cause=None if findings else causes.likely(tensor, bound)))
    counted = [tensor for tensor in tensors if bounds[tensor.name] is not None]
    compared = {stage: sum(tensor.stage == stage for tensor in counted) for stage in STAGE_NAMES}
    left_out = tuple(tensor.name for tensor in tensors if bounds[tensor.name] is None)
    return Verification(case.name, {s: n for s, n in compared.items() if n}, left_out, tuple(findings), worst)


def _bound(tensor: Tensor, value: HostArray, dtype: str | None) -> float | None:
    return 0.0 if tensor.exact else tensor.tolerance[dtype or str(value.dtype.newbyteorder("="))]


def _apart(tensor: Tensor, golden: HostArray, value: HostArray) -> HostArray:
    """Absolute differences; of exact tensors 1 where entries differ."""
    if tensor.exact:
        return np.not_equal(value.astype(np.int64), golden.astype(np.int64)).astype(np.float64)
    return np.asarray(np.abs(value.astype(np.float64) - golden))


def _compared(tensor: Tensor, apart: HostArray, bound: float) -> dict[str, Any] | None:
    """What a Finding says but the cause; None where the differences are within the bound."""
    wrong = int(np.sum(apart > bound))
    if not wrong:
        return None
    at = np.unravel_index(int(np.argmax(apart)), apart.shape)
    return {
        "name": tensor.name,
        "stage": tensor.stage,
        "tensor": tensor.tensor,
        "error": float(wrong if tensor.exact else apart.max()),
        "tolerance": bound,
        "at": tuple(int(i) for i in at),
        "wrong": wrong,
        "entries": apart.size,
    }
