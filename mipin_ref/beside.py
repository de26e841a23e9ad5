"""Samples of networks with several inputs: those of the explained one, and beside them those of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown

HostArray = npt.NDArray[Any]


class Joined(np.ndarray[Any, Any]):
    """Samples [n, ...] of the explained input that carry along those of the others, by name.

    A slice or an index of samples takes the same of the others. Whatever is computed of them has none: which samples
    it belongs to is not known.
    """

    others: Mapping[str, HostArray]

    def __array_finalize__(self, made_of: Any) -> None:
        self.others = {}

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        of_samples = isinstance(index, slice) or (isinstance(index, np.ndarray) and index.ndim == 1)
        if of_samples and isinstance(part, Joined):
            part.others = {name: value[index] for name, value in self.others.items()}
        return part


def joined(x: HostArray, others: Mapping[str, HostArray]) -> HostArray:
    """x with the samples of other inputs, as many as it has; x itself where there are none."""
    if not others:
        return x
    view = np.asarray(x).view(Joined)
    view.others = dict(others)
    return view


def others_of(x: Any) -> Mapping[str, HostArray]:
    """What samples carry along; nothing where they carry nothing."""
    return x.others if isinstance(x, Joined) else {}


def like(values: HostArray, x: Any) -> HostArray:
    """values [k · n, ...], made of samples x [n, ...] in their order, k times over, with what x carries along."""
    others = others_of(x)
    times = len(values) // max(1, len(x))
    return joined(values, {name: np.concatenate([one] * times) for name, one in others.items()})


def by_name(x: Any, inputs: Sequence[str]) -> dict[str, Any]:
    """Samples by input. inputs: of the network, the explained one first.

    Raises InvalidData where x is no mapping, or has not just these names, or not equally many samples of each.
    """
    told = ", ".join(map(repr, inputs))
    if not isinstance(x, Mapping):
        raise InvalidData(
            f"x: the network reads {len(inputs)} inputs of each sample ({told}): give a dict of arrays by these names, "
            f"or an .npz file with these keys, not {shown(type(x).__name__)}"
        )
    missing, extra = [name for name in inputs if name not in x], [name for name in x if name not in inputs]
    if missing:
        raise InvalidData(f"x: holds nothing for input {', '.join(map(repr, missing))}; the network reads {told}")
    if extra:
        raise InvalidData(f"x: the network has no input {', '.join(map(shown, extra))} left open; it reads {told}")
    lengths = {}
    for name in inputs:
        try:
            lengths[name] = len(x[name])
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(f"x: what it holds for input {name!r} is no array of samples") from error
    if len({*lengths.values()}) > 1:
        counted = ", ".join(f"{count} of {name!r}" for name, count in lengths.items())
        raise InvalidData(f"x: the inputs have different numbers of samples: {counted}")
    return {name: x[name] for name in inputs}
