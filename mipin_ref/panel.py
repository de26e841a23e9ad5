"""MIP-IN and the other methods side by side on one network: each by its name, fitted where it must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.data import as_samples
from mipin_ref.errors import InvalidData, MipinError, shown
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.network import Network
from mipin_ref.inverse.fit import FitOptions, fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import HostArray as Array
from mipin_ref.methods.attribute import attribute, checked_targets
from mipin_ref.methods.patterns import Patterns, fit_patterns
from mipin_ref.methods.registry import make_method, methods, needs_patterns, unknown_method

MIPIN = "mip-in"


class Panel:
    """Methods of one network, asked in turn for the same samples.

    calibration: samples [N, *input_shape] that MIP-IN and the pattern methods are fitted on when they are first asked:
    array, path, or anything with len() and slicing; None where none of them is to be.
    names: of the methods, "mip-in" and `methods()`, in the order wanted; all where None.
    fit_options: of `fit`, for MIP-IN; method_options: options by a method's name; backend, dtype, memory: as in `fit`.
    Raises InvalidData, with the nearest names, for an unknown method, and for options that are not the method's.

    failures: name -> why `attempt` found a method to fail on this network. Inverses stay, one a class asked for.
    """

    def __init__(
        self,
        net: Network,
        calibration: Any = None,
        *,
        names: Sequence[str] | None = None,
        fit_options: FitOptions | None = None,
        method_options: Mapping[str, Mapping[str, Any]] | None = None,
        backend: str | Backend | ModuleType = "numpy",
        dtype: str = "float64",
        memory: str | int = "2GB",
        progress: bool = False,
    ) -> None:
        self.net = net
        self.names = tuple(_checked_names([MIPIN, *methods()] if names is None else names))
        for what, given in (("fit_options", fit_options), ("method_options", method_options)):
            if given is not None and not isinstance(given, Mapping):
                raise InvalidData(f"{what} must be options by name, not {shown(given)}")
        for name in fit_options or {}:
            if name not in FitOptions.__annotations__:
                raise InvalidData(
                    f"a fit has no option {shown(name)}; its options are {', '.join(FitOptions.__annotations__)}"
                )
        self.failures: dict[str, str] = {}
        self._calibration = calibration
        self._given: dict[str, Any] = {"backend": backend, "dtype": dtype, "memory": memory}
        self._progress = progress
        self._fit_options: FitOptions = {**(fit_options or {})}
        self._options = {name: _options(name, options) for name, options in (method_options or {}).items()}
        for name, options in self._options.items():
            if name == MIPIN:
                raise InvalidData(f"options of {MIPIN!r} are those of its fit")
            make_method(name, options)
        self._inverses: dict[int, Inverse] = {}
        self._patterns: Patterns | None = None

    @property
    def fitted(self) -> tuple[str, ...]:
        """Those of the methods that need calibration samples."""
        return tuple(name for name in self.names if name == MIPIN or needs_patterns(name))

    def explain(self, name: str, x: Any, target: Any, *, at: str | None = None) -> Attribution:
        """One method's Attribution of x [n, *input_shape] for a class, or one a sample [n]; at: as in `attribute`.

        Raises InvalidData where a method that must be fitted has no calibration samples, and whatever the method does.
        """
        _check_name(name)
        if name == MIPIN:
            return self._by_inverses(as_samples(x, whole=self.net.whole), target, at)
        options = self._options.get(name, {})
        if needs_patterns(name) and "patterns" not in options:
            options = {**options, "patterns": self._fitted_patterns()}
        return attribute(self.net, x, target, name, at=at, **self._given, **options)

    def attempt(self, name: str, x: Any, target: Any, *, at: str | None = None) -> Attribution | None:
        """The same, but None where the method fails, of which `failures` then tells the reason.

        Raises InvalidData where it is the samples or the targets that fit no method.
        """
        _check_name(name)
        data = as_samples(x, whole=self.net.whole)
        if not len(data):
            raise InvalidData("there are no samples to explain")
        check_batch(self.net, data)
        if not np.isfinite(data[:]).all():
            raise InvalidData("the samples hold NaN or Inf")
        checked_targets(self.net, target, len(data))
        if name in self.failures:
            return None
        try:
            return self.explain(name, data, target, at=at)
        except MipinError as error:
            self.failures[name] = str(error)
            return None

    def prepare(self, classes: Iterable[int]) -> None:
        """Fit the inverses of these classes, those that are still missing in the same passes over the data."""
        try:
            wanted = {self.net.check_target(c) for c in classes}
        except MipinError:
            raise
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(f"classes must be several indices, not {shown(classes)}") from error
        missing = sorted(wanted - self._inverses.keys())
        if missing:
            given = {**self._given, "progress": self._progress, **self._fit_options}
            self._inverses |= fit(self.net, self._needed(MIPIN), missing, **given)

    def ready(self, name: str, classes: Iterable[int]) -> None:
        """Fit what one method needs to explain these classes, and is not fitted yet."""
        _check_name(name)
        if name == MIPIN:
            self.prepare(classes)
        elif needs_patterns(name) and "patterns" not in self._options.get(name, {}):
            self._fitted_patterns()

    def inverse(self, target: int) -> Inverse:
        """The inverse of one class, fitted where it is not yet."""
        self.prepare([target])
        return self._inverses[self.net.check_target(target)]

    def _by_inverses(self, data: Any, target: Any, at: str | None) -> Attribution:
        targets = checked_targets(self.net, target, len(data))
        classes = np.unique(targets).tolist()
        self.prepare(classes)
        if len(classes) == 1:
            found = self._inverses[classes[0]].attribute(data, at=at)
            return found if np.ndim(target) == 0 else replace(found, target=targets)
        rows = {c: np.flatnonzero(targets == c) for c in classes}
        x = data[:]
        parts = [self._inverses[c].attribute(x[rows[c]], at=at) for c in classes]
        order = np.argsort(np.concatenate(list(rows.values())))

        def joined(field: str) -> Array:
            return np.asarray(np.concatenate([getattr(part, field) for part in parts])[order])

        return replace(
            parts[0],
            value=joined("value"),
            signal=joined("signal"),
            attribution=joined("attribution"),
            output=joined("output"),
            target=targets,
        )

    def _fitted_patterns(self) -> Patterns:
        if self._patterns is None:
            self._patterns = fit_patterns(
                self.net, self._needed("the pattern methods"), progress=self._progress, **self._given
            )
        return self._patterns

    def _needed(self, name: str) -> Any:
        if self._calibration is None:
            raise InvalidData(f"{name} must be fitted, and there are no calibration samples")
        return self._calibration


def _checked_names(names: Sequence[str]) -> Sequence[str]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InvalidData(f"methods must be named, each once, not {shown(names)}")
    for name in names:
        _check_name(name)
    if not names or len(set(names)) != len(names):
        raise InvalidData(f"methods must be named, each once, not {shown(list(names))}")
    return names


def _check_name(name: object) -> None:
    known = [MIPIN, *methods()]
    if not isinstance(name, str) or name not in known:
        raise unknown_method(name, known)


def _options(name: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidData(f"the options of method {shown(name)} must be a mapping, not {shown(given)}")
    return dict(given)
