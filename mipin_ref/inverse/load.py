"""Saved inverses back into use, for the network they were fitted on and no other."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, overload

from mipin_ref.backend import Backend, get_backend
from mipin_ref.data import Calibration
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.graph.load import Model, as_network
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.descent.weights_file import read_weights
from mipin_ref.inverse.family import Family, load_family
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import plan_for
from mipin_ref.inverse.report import Common, Report, timed_rows
from mipin_ref.reading import regular_file
from mipin_ref.store import INVERSES, holds, read


@overload
def load_inverse(
    path: str | Path,
    net: Network | Model,
    *,
    target: int | tuple[int, ...],
    backend: str | Backend | ModuleType = "numpy",
) -> Inverse: ...
@overload
def load_inverse(
    path: str | Path, net: Network | Model, *, target: None = None, backend: str | Backend | ModuleType = "numpy"
) -> Any: ...
def load_inverse(
    path: str | Path,
    net: Network | Model,
    *,
    target: int | tuple[int, ...] | None = None,
    backend: str | Backend | ModuleType = "numpy",
) -> Inverse | Family:
    """Read an inverse that `Inverse.save` wrote; of a file of several, which `Family.save` wrote, all by target, each
    read when it is asked for.

    net: also a path, bytes or a ModelProto; target: refuse an inverse of another class; of several the one of this
    class. Raises InvalidData where there is no such file, CorruptFile where it is truncated, no inverse, of another
    version, another network or another class.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> mr.fit(net, x, target=3, at="auto").save("three.mipin")
    >>> mr.load_inverse("three.mipin", net)
    Inverse(target 3, '/dense2/Gemm_output_0' down to '/pool1/MaxPool_output_0', 2 tensors fitted on 50 samples)
    """
    path = regular_file(path, "a saved inverse")
    net = as_network(net)
    if holds(path, INVERSES):
        family = load_family(path, net, backend)
        if target is None:
            return family
        asked = net.target(net.check_target(target))
        if asked not in family:
            raise CorruptFile(f"{str(path)!r} explains {len(family):,} classes, and class {asked} is none of them")
        return family[asked]
    header, tensors = read(path)
    _check_header(path, header, net, target)
    try:
        options = Options(**header["options"])
        common = None if header.get("common") is None else Common(**header["common"])
        report = Report(timed_rows(header["report"], header["beside"]["seconds"]), common)
        explained, samples = net.known_index(header["target"]), int(header["samples"])
        part, index = facing(net, explained)
        plan = plan_for(part, options, index)
        weights = {
            step.tensor: read_weights(path, tensors, str(number), step, column=plan.is_column(step))
            for number, step in enumerate(plan.fitted)
        }
        calibration = Calibration.read(header["calibration"], tensors, net.input_shape, net.channel_axis(net.input))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InvalidData) as error:
        raise CorruptFile(f"the header of {str(path)!r} is incomplete or damaged: {error}") from error
    return Inverse(
        net, explained, options, plan, weights, report, samples, get_backend(backend, options.dtype), calibration
    )


def _check_header(path: Path, header: dict[str, Any], net: Network, target: int | tuple[int, ...] | None) -> None:
    if header.get("model_sha256") != net.sha256 or header.get("output") != net.output:
        raise CorruptFile(f"{str(path)!r} was fitted on another network (or another output of this one)")
    if target is not None and header.get("target") != net.check_target(target):
        held = net.target(net.known_index(header.get("target")))
        raise CorruptFile(f"{str(path)!r} explains class {held}, not class {target}")
