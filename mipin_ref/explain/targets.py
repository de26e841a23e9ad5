"""Which classes each sample is explained for."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.explain.class_names import ClassNames
from mipin_ref.explain.predict import Net
from mipin_ref.layers import HostArray
from mipin_ref.options import checked_integer

PREDICTED = "predicted"
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Several:
    """Classes that every sample is explained for, each of them: indices, names or tuples."""

    classes: tuple[Any, ...]


def highest(scores: HostArray, count: int) -> Indices:
    """The classes of the highest scores [N, C] of each sample [N, count], of equal ones the first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count].astype(np.int64)


def wanted_classes(net: Net, names: ClassNames, target: Any, top: int, logits: HostArray) -> Indices:
    """The classes [N, k] of each sample, as indices into the logits [N, C], the first one first.

    target: "predicted", the `top` highest of each sample; or an index, a class name or a tuple for all samples; or a
    sequence of these, one a sample; or integers [N, k], several a sample; or Several for all.
    Raises InvalidData where it is none of these or does not fit, and for "predicted" of an output that is no
    classifier's.
    """
    checked_integer("top", top, 1, net.classes)
    samples = len(logits)
    if isinstance(target, str) and target == PREDICTED:
        check_classifier(net)
        return highest(logits, top)
    if top != 1:
        raise InvalidData(f"option 'top' goes with the predicted classes, not with target {shown(target)}")
    if isinstance(target, Several):
        chosen = [one_class(net, names, one) for one in target.classes]
        return np.tile(np.array(chosen, np.int64), (samples, 1))
    if isinstance(target, str | tuple) or np.ndim(target) == 0:
        return np.full((samples, 1), one_class(net, names, target), np.int64)
    several = list(target)
    if len(several) != samples:
        raise InvalidData(f"target must be one class or one for each of the {samples} samples, not {len(several)}")
    if isinstance(target, np.ndarray) and target.ndim == 2:
        rows = [[one_class(net, names, one) for one in row] for row in target.tolist()]
        return np.array(rows, np.int64).reshape(samples, -1)
    return np.array([[one_class(net, names, one)] for one in several], np.int64)


def told_targets(net: Net, some: Indices) -> Any:
    """Indices into the logits [n] as methods take targets: one for all where they are the same."""
    told = [net.target(int(c)) for c in some]
    if len(set(told)) == 1:
        return told[0]
    return told if isinstance(told[0], tuple) else np.array(told, np.int64)


def one_class(net: Net, names: ClassNames, target: Any) -> int:
    """The index into the logits of a class: an index, a tuple, or a name. Raises InvalidData where there is none."""
    return names.find(target) if isinstance(target, str) else net.check_target(target)


def check_target(net: Net, names: ClassNames, target: Any) -> None:
    """Raises InvalidData as `wanted_classes` does for a target that is wrong whatever the samples are."""
    if isinstance(target, Several):
        for one in target.classes:
            one_class(net, names, one)
    elif isinstance(target, tuple | int | np.integer) or (isinstance(target, str) and target != PREDICTED):
        one_class(net, names, target)


def is_classifier(net: Net) -> bool:
    """Whether the output is one score a class, of which one is the highest."""
    return max(net.target_shape, default=1) == prod(net.target_shape)


def check_classifier(net: Net) -> None:
    """Raises InvalidData, telling which targets there are, where an output is no one score a class."""
    if not is_classifier(net):
        ranges = ", ".join(f"0..{size - 1}" for size in net.target_shape)
        sizes = "×".join(map(str, net.target_shape))
        example = tuple(size // 2 for size in net.target_shape)
        raise InvalidData(
            f"output {net.output!r} [N, {sizes}] is not one score a class, so there is no predicted one: name a target "
            f"by indices {ranges}, as {example}, on the command line {':'.join(map(str, example))}"
        )
