"""The result of every attribution method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.display import InNotebook, OneLine, brief
from mipin_ref.errors import InvalidData

Floats = npt.NDArray[np.floating[Any]]
Targets = int | tuple[int, ...] | npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Attribution(OneLine, InNotebook):
    """The attribution of one target, or of one a sample, for N samples, as NumPy arrays.

    value: [N, ...] the explained tensor X itself, the input or the tensor `at`;
    signal: [N, ...] the source signal S (paper, Algorithm 1), in the units of X; None of a method without one;
    attribution: [N, ...] the attribution A: in MIP-IN the target logit pushed through the linear parts of the inverses;
    output: [N] the target logit y_c; target: its index, a tuple of them where the
    output has more axes, or [N] an index a sample;
    tensor: the ONNX name of the explained tensor;
    channel_axis: the axis of X, counted with the batch, that holds channels; None where X has none;
    method: its name; multiplier: whether A is what each value counts for (a gradient, say), so that A * X is its
    contribution, or A is that contribution itself (relevance, in the units of y_c);
    follows_logit: whether A is y_c times something that does not know its sign, so that maps of A are turned where the
    logit is negative (see `oriented`), or says for and against already, as a gradient does; every method of this
    package states it, and where nothing is stated nothing is turned;
    delta: [N] the completeness gap, Σ contribution - (y_c(X) - y_c(baseline)), of methods that aim at none; else None;
    input_size: (H, W) of the network's input where that is an image, whatever tensor is explained; else None;
    places: [H, W] of a tensor of tokens that lie in a picture: the number of the token at each place, -1 where there is
    none, so that a class token is left out of maps; else None.
    """

    value: Floats
    signal: Floats | None
    attribution: Floats
    output: Floats
    target: Targets
    tensor: str
    channel_axis: int | None
    method: str = "mip-in"
    multiplier: bool = True
    follows_logit: bool = False
    delta: Floats | None = None
    input_size: tuple[int, int] | None = None
    places: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.output)

    def __getitem__(self, rows: slice) -> Attribution:
        """The same for some of the samples."""
        target = self.target if isinstance(self.target, int | tuple) else self.target[rows]
        signal = None if self.signal is None else self.signal[rows]
        delta = None if self.delta is None else self.delta[rows]
        value, attribution, output = self.value[rows], self.attribution[rows], self.output[rows]
        return replace(
            self, value=value, signal=signal, attribution=attribution, output=output, target=target, delta=delta
        )

    def __repr__(self) -> str:
        rest = "" if self.signal is None else ", with source signal"
        return (
            f"Attribution({self.method!r}, target {brief(self.target)}, {brief(self.tensor)} {brief(self.value)}{rest})"
        )

    @property
    def source(self) -> Floats:
        """S [N, ...]. Raises InvalidData where the method has no source signal."""
        if self.signal is None:
            raise InvalidData(f"method {self.method!r} has no source signal; MIP-IN and patternnet have one")
        return self.signal

    @property
    def distractor(self) -> Floats:
        """X - S [N, ...]: the part of the value without information on the target; see `source`."""
        return self.value - self.source

    @property
    def contribution(self) -> Floats:
        """[N, ...]: what each value contributes, A * X of a multiplier, and relevance as it is."""
        return self.attribution * self.value if self.multiplier else self.attribution

    @property
    def oriented(self) -> Attribution:
        """The same, with A as maps show it: turned where it follows the logit and the logit is negative.

        Positive is then where the tensor agrees with the pattern of the class, whatever the logit's sign. Saliency
        maps, pictures, pages and metrics on maps are of this; `attribution` and `contribution` of the result are not.
        """
        if not self.follows_logit:
            return self
        sign = np.where(self.output < 0, -1, 1).astype(self.attribution.dtype)
        return replace(self, attribution=self.attribution * sign.reshape(-1, *(1,) * (self.attribution.ndim - 1)))
