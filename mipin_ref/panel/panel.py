"""MIP-IN and the other methods side by side on one network: each by its name, fitted where it must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.data import as_samples
from mipin_ref.errors import InvalidData, MipinError, shown
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.graph.targets import checked_targets
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.methods.fitting import Fitting
from mipin_ref.options import check_size
from mipin_ref.panel.attribute import attribute, inverted
from mipin_ref.panel.many import common_of_many
from mipin_ref.panel.mip_in import InverseFitting
from mipin_ref.panel.registry import make_method, method_named, methods

Fitted = TypeVar("Fitted", bound=Fitting)


class Panel:
    """Methods of one network, asked in turn for the same samples.

    calibration: samples [N, *input_shape] that MIP-IN and the pattern methods are fitted on when they are first asked:
    array, path, or anything with len() and slicing; None where none of them is to be.
    net: what `open_any` gives; of a file without layers other methods than those of the forward pass fail.
    names: of the methods, as of `methods()`, in the order wanted; where None all that the network allows.
    fit_options: of `fit`, for MIP-IN; fitted_to: the tensor at which inverses and patterns end, where an option of the
    fit says no other, None for the input; method_options: options by a method's name; backend, dtype, memory: as in
    `fit`.
    Raises InvalidData, with the nearest names, for an unknown method, and for options that are not the method's.

    failures: name -> why `attempt` found a method to fail on this network. Inverses stay, one a class asked for.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> panel = mr.Panel(net, x, names=["gradient", "grad-cam"])
    >>> [panel.explain(name, x[:2], target=[0, 1]).attribution.shape for name in panel.names]
    [(2, 1, 28, 28), (2, 64, 11, 11)]
    """

    def __init__(
        self,
        net: Network | ForwardOnly,
        calibration: Any = None,
        *,
        names: Sequence[str] | None = None,
        fit_options: FitOptions | None = None,
        fitted_to: str | None = None,
        method_options: Mapping[str, Mapping[str, Any]] | None = None,
        backend: str | Backend | ModuleType = "numpy",
        dtype: str = "float64",
        memory: str | int = "2GB",
        progress: bool = False,
    ) -> None:
        self.net = net
        self.names = tuple(_checked_names(_methods_of(net) if names is None else names))
        for what, given in (("fit_options", fit_options), ("method_options", method_options)):
            if given is not None and not isinstance(given, Mapping):
                raise InvalidData(f"{what} must be options by name, not {shown(given)}")
        for name in fit_options or {}:
            if name not in InverseFitting.options:
                raise InvalidData(
                    f"a fit has no option {shown(name)}; its options are {', '.join(InverseFitting.options)}"
                )
        self.failures: dict[str, str] = {}
        self._calibration = calibration
        self._given: dict[str, Any] = {"backend": backend, "dtype": dtype, "memory": memory}
        self._progress = progress
        self._fit_options: FitOptions = {**(fit_options or {})}
        self._fitted_to = fitted_to
        self._options = {name: _options(name, options) for name, options in (method_options or {}).items()}
        for name, options in self._options.items():
            fitting = method_named(name).fitting
            if fitting is not None and fitting.options:
                raise InvalidData(f"options of {name!r} are those of its fit")
            make_method(name, options)
        self._fittings: dict[type[Fitting], Fitting] = {}

    @property
    def fitted(self) -> tuple[str, ...]:
        """Those of the methods that need calibration samples."""
        return tuple(name for name in self.names if method_named(name).fitting is not None)

    def options_of(self, name: str) -> dict[str, Any]:
        """The options that a method runs with, those not given included; where it is fitted, those given to the fit."""
        kind = method_named(name)
        if kind.fitting is not None:
            return self._for_fit(kind.fitting)
        return asdict(make_method(name, self._options.get(name, {})).options)

    def passes(self, name: str, *, at: str | None = None) -> int:
        """How many forward passes a method takes for a sample, its fit left out; at: as in `attribute`.

        Raises InvalidData where the method cannot explain that tensor of the network.
        """
        kind = method_named(name)
        if kind.fitting is not None:
            return 1
        method = make_method(name, self._options.get(name, {}))
        net: Any = self.net
        return method.passes(net, method.explained(net, at))

    def explain(self, name: str, x: Any, target: Any, *, at: str | None = None) -> Attribution:
        """One method's Attribution of x [n, *input_shape] for a class, or one a sample [n]; at: as in `attribute`.

        Raises InvalidData where a method that must be fitted has no calibration samples, and whatever the method does.
        """
        fitting, options = self._missing(name), self._options.get(name, {})
        if fitting is not None:
            data = as_samples(x, whole=self.net.whole, inputs=self.net.inputs)
            check_size("x", len(data))
            classes = np.unique(checked_targets(self.net, target, len(data))).tolist()
            x, options = data, {**options, fitting.option: fitting.of(classes)}
        return attribute(self.net, x, target, name, at=at, **self._given, **options)

    def attempt(self, name: str, x: Any, target: Any, *, at: str | None = None) -> Attribution | None:
        """The same, but None where the method fails, of which `failures` then tells the reason.

        Raises InvalidData where it is the samples or the targets that fit no method.
        """
        method_named(name)
        data = as_samples(x, whole=self.net.whole, inputs=self.net.inputs)
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

    def prepare(self, classes: Iterable[int | tuple[int, ...]]) -> None:
        """Fit the inverses of these classes, those that are still missing in the same passes over the data."""
        self._fitting(InverseFitting).of(self._checked_classes(classes))

    def ready(self, name: str, classes: Iterable[int | tuple[int, ...]]) -> None:
        """Fit what one method needs to explain these classes, and is not fitted yet."""
        fitting = self._missing(name)
        if fitting is not None:
            fitting.of(self._checked_classes(classes))

    def share(self, classes: Iterable[int | tuple[int, ...]]) -> None:
        """Fit these classes of MIP-IN, once they are asked for, with a common part where that is cheaper than a fit of
        each; an option `common` that is given stays as it is.
        """
        given = {**self._for_fit(InverseFitting), "dtype": self._given["dtype"]}
        net = inverted(self.net, InverseFitting.whose)
        self._fit_options["common"] = common_of_many(net, self._checked_classes(classes), given)

    def inverse(self, target: int | tuple[int, ...]) -> Inverse:
        """The inverse of one class, fitted where it is not yet."""
        c = self.net.check_target(target)
        return self._fitting(InverseFitting).of([c])[c]

    def _missing(self, name: str) -> Fitting | None:
        """What a method must be given beside its options; None where that is nothing, or is given."""
        kind = method_named(name).fitting
        return None if kind is None or kind.option in self._options.get(name, {}) else self._fitting(kind)

    def _fitting(self, kind: type[Fitted]) -> Fitted:
        """The one that all methods of the panel share."""
        if kind not in self._fittings:
            given = {**self._given, "progress": self._progress, **self._for_fit(kind)}
            self._fittings[kind] = kind(inverted(self.net, kind.whose), self._calibration, given)
        made = self._fittings[kind]
        assert isinstance(made, kind)
        return made

    def _for_fit(self, kind: type[Fitting]) -> dict[str, Any]:
        given = {name: value for name, value in self._fit_options.items() if name in kind.options}
        return given if self._fitted_to is None else {"at": self._fitted_to, **given}

    def _checked_classes(self, classes: Iterable[int | tuple[int, ...]]) -> set[int]:
        try:
            return {self.net.check_target(c) for c in classes}
        except MipinError:
            raise
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(f"classes must be several indices, not {shown(classes)}") from error


def _methods_of(net: Network | ForwardOnly) -> list[str]:
    """All methods that suit the network; of a file without layers those that need none."""
    if not isinstance(net, Network):
        return [name for name in methods() if method_named(name).forward_only]
    return [name for name in methods() if method_named(name).suits(net)]


def _checked_names(names: Sequence[str]) -> Sequence[str]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InvalidData(f"methods must be named, each once, not {shown(names)}")
    for name in names:
        method_named(name)
    if not names or len(set(names)) != len(names):
        raise InvalidData(f"methods must be named, each once, not {shown(list(names))}")
    return names


def _options(name: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidData(f"the options of method {shown(name)} must be a mapping, not {shown(given)}")
    return dict(given)
