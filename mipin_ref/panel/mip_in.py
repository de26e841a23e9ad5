"""MIP-IN as one of the methods: an inverse that is given, or one fitted on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.data import as_samples
from mipin_ref.data.calibration import samples_like
from mipin_ref.data.part import Rows
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.explained import deepest
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import faced, facing
from mipin_ref.graph.targets import checked_targets, is_one
from mipin_ref.inverse.fit import FitOptions, fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import Options, with_preset
from mipin_ref.inverse.report import warn_outweighed
from mipin_ref.methods.fitting import Fitting
from mipin_ref.methods.method import Method, Run
from mipin_ref.options import check_size

OF_THE_RUN = frozenset({"at", "dtype"})
"""Options of a fit that are arguments of `attribute`, whatever the method."""
OF_THE_METHOD = frozenset({"inverse", "calibration"})


class InverseFitting(Fitting):
    """The inverses of one network, one a class: those that are missing are fitted in the same passes over the data."""

    option = "inverse"
    whose = "mip-in"
    made = "inverses"
    by_class = True
    options = tuple(FitOptions.__annotations__)

    def __init__(self, net: Network, samples: Any, given: Mapping[str, Any]) -> None:
        super().__init__(net, samples, given)
        self._inverses: dict[int, Inverse] = {}
        self._warned = False

    def of(self, classes: Iterable[int]) -> dict[int, Inverse]:
        """Every inverse there is, by class, those of `classes` among them."""
        missing = sorted({*classes} - self._inverses.keys())
        ends: dict[str | None, list[int]] = {}
        for c in missing:
            ends.setdefault(self._end(facing(self.net, c)[0]), []).append(c)
        for end, some in ends.items():
            given = {**self.given, "at": end}
            made = fit(self.net, self.samples, [self.net.target(c) for c in some], **given)
            if not self._warned:  # Once, where classes are asked for one after another.
                self._warned = warn_outweighed(made[self.net.target(c)].report for c in some) is not None
            self._inverses |= {c: made[self.net.target(c)] for c in some}
        return dict(self._inverses)

    def _end(self, part: Network) -> str | None:
        """The tensor to fit down to: the one asked for; where nothing was said, as far down as inverses reach."""
        if "at" in self.given or part.input not in part.blocked:
            return self.given.get("at")
        return deepest(part)


@dataclass(frozen=True, eq=False)
class MipInOptions(Options):
    """inverse: an Inverse of the network, or several by class; calibration: samples to fit one on, in its place;
    preset: options of that fit by one name, which the others go before; the others: of that fit, see `fit`.
    """

    inverse: Any = None
    calibration: Any = None
    preset: str | None = None
    labels: Any = None
    checkpoint: str | PathLike[str] | None = None
    client: Any = None
    preprocess: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inverse is None and self.calibration is None:
            raise InvalidData(
                "mip-in must be fitted, and there are no calibration samples: give option 'calibration', or an Inverse "
                "as option 'inverse'"
            )
        if self.inverse is not None and self.calibration is not None:
            raise InvalidData("give option 'calibration' or option 'inverse', not both")

    def of_the_fit(self) -> dict[str, Any]:
        """The arguments of `fit` among them."""
        left_out = OF_THE_METHOD | OF_THE_RUN
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}


class MipIn(Method):
    """The target logit pushed through linear inverses of the layers, which are fitted on calibration samples (paper,
    Algorithm 1): the source signal, and the attribution A. Samples of several classes are explained class by class.
    """

    name = "mip-in"
    multiplier = True
    follows_logit = Inverse.follows_logit
    signals = True
    fitting = InverseFitting
    Options = MipInOptions

    def __init__(self, options: MipInOptions) -> None:
        super().__init__(options)
        self._fitting: InverseFitting | None = None

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        first = ("inverse", "calibration")
        return (*first, *(name for name in super().option_names() if name not in {*first, *OF_THE_RUN}))

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Any:
        """See `Method.checked`; those of a preset stand in place of its name. Raises InvalidData too for options of a
        fit beside an inverse that is given, and for a preset that there is not.
        """
        options = super().checked(with_preset(given.get("preset"), {**given, "preset": None}))
        if options.inverse is not None and (other := [name for name in given if name not in OF_THE_METHOD]):
            raise InvalidData(f"option {other[0]!r} is one of the fit, and the inverse that is given is fitted already")
        return options

    def explained(self, net: Network, at: str | None) -> str:
        """The tensor that a user means, by default that to which the inverses that are given lead."""
        if at is not None or self.options.inverse is None:
            return super().explained(net, at)
        return _ends(self._given(net).values())

    def attribute(self, net: Network, x: Any, target: Any, at: str | None, run: Run) -> Attribution:
        """See `Method.attribute`: what the inverse of each class makes of its samples."""
        targets, data = _asked(net, x, target)
        classes = np.unique(targets).tolist()
        tensor = None if at is None else self.explained(faced(net, targets)[0], at)
        inverses = self._inverses(net, classes, tensor, run)
        if is_one(target):
            return inverses[classes[0]].attribute(data, at=tensor, batch_size=run.batch_size)
        data = samples_like(inverses[classes[0]].calibration, data, whole=net.whole, inputs=net.inputs)
        targets = checked_targets(net, target, len(data))
        if len(classes) == 1:
            alone = inverses[classes[0]].attribute(data, at=tensor, batch_size=run.batch_size)
            return replace(alone, target=targets)
        tensor = _ends(inverses[c] for c in classes) if tensor is None else tensor
        rows = [np.flatnonzero(targets == c) for c in classes]
        parts = [
            inverses[c].attribute(Rows(data, some), at=tensor, batch_size=run.batch_size)
            for c, some in zip(classes, rows, strict=True)
        ]
        return _joined(parts, np.argsort(np.concatenate(rows)), targets)

    def _inverses(self, net: Network, classes: Sequence[int], at: str | None, run: Run) -> Mapping[int, Inverse]:
        options: MipInOptions = self.options
        if options.inverse is not None:
            given = self._given(net)
            if missing := [c for c in classes if c not in given]:
                there = ", ".join(str(net.target(c)) for c in given)
                raise InvalidData(
                    f"option 'inverse' has none of class {net.target(missing[0])}; it has those of {there}"
                )
            return given
        end = None if at == net.input else at
        if self._fitting is None or self._fitting.net is not net or self._fitting.given["at"] != end:
            arguments = {
                **options.of_the_fit(),
                "at": end,
                "backend": run.backend,
                "dtype": run.backend.dtype,
                "batch_size": run.batch_size,
                "memory": run.memory,
                "progress": run.progress,
            }
            self._fitting = InverseFitting(net, options.calibration, arguments)
        return self._fitting.of(classes)

    def _given(self, net: Network) -> Mapping[int, Inverse]:
        """The inverses of option `inverse` by class. Raises InvalidData for what is none, or of another network."""
        given = self.options.inverse
        inverses = {given.net.target(given.target): given} if isinstance(given, Inverse) else given
        if not isinstance(inverses, Mapping) or not all(isinstance(one, Inverse) for one in inverses.values()):
            raise InvalidData(f"option 'inverse' must be an Inverse, or several by class, not {shown(given)}")
        for c, one in inverses.items():
            # As `fit` gives them where the output has several axes, or by index into the logits.
            if c not in (told := one.net.target(one.target), one.target):
                raise InvalidData(f"option 'inverse' has under {shown(c)} the inverse of class {told}")
            if (one.net.sha256, one.net.output) != (net.sha256, net.output):
                raise InvalidData("the inverse was fitted on another network (or another output of this one)")
        if not inverses:
            raise InvalidData("option 'inverse' has no inverse")
        return {one.target: one for one in inverses.values()}


def _asked(net: Network, x: Any, target: Any) -> tuple[npt.NDArray[np.int64], Any]:
    """The targets, and the data; both are checked as far as they can be before anything is fitted.

    A path stays one: it is opened again with the preprocessing of the calibration data.
    """
    path = isinstance(x, str | PathLike)
    if path and (isinstance(target, tuple) or not hasattr(target, "__len__")):
        return np.array([net.check_target(target)]), x
    data = as_samples(x, whole=net.whole, inputs=net.inputs)
    check_size("x", len(data))
    if not path:
        check_batch(net, data[0:1])
    return checked_targets(net, target, len(data)), x if path else data


def _ends(inverses: Iterable[Inverse]) -> str:
    """The tensor that all of them lead to. Raises InvalidData where there are several."""
    ends = sorted({one.plan.explained for one in inverses})
    if len(ends) > 1:
        raise InvalidData(
            f"the inverses end at different tensors, {ends[0]!r} and {ends[1]!r}: name one with option 'at'"
        )
    return ends[0]


def _joined(parts: Sequence[Attribution], order: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> Attribution:
    """One result of several, whose samples stand in another order in the data; targets: [N], in that of the data."""

    def joined(field: str) -> npt.NDArray[Any]:
        return np.asarray(np.concatenate([getattr(part, field) for part in parts])[order])

    return replace(
        parts[0],
        value=joined("value"),
        signal=joined("signal"),
        attribution=joined("attribution"),
        output=joined("output"),
        target=targets,
    )
