"""The inverses of several targets that share a part: by target, and in one file that is read target by target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.data import Calibration
from mipin_ref.display import OneLine
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.common.fitted import InCommon
from mipin_ref.inverse.common.recorded import Gone, Recorded, recorded_keys
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.descent.weights_file import read_weights, weight_tensors
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.fitter import Fitted, FittedTarget
from mipin_ref.inverse.passes.spec import Key
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan, Step, above, below, network_for, plan_for
from mipin_ref.inverse.report import Common, Report, TensorReport, timed_rows
from mipin_ref.layers import HostArray
from mipin_ref.reading import path_of
from mipin_ref.store import INVERSES, digest, opened_sealed, write

Target = int | tuple[int, ...]


class Family(Mapping[Target, Inverse], OneLine):
    """Inverses by target, from some tensor down one and the same; those of a file are read when they are asked for."""

    def __init__(
        self,
        net: Network,
        targets: Sequence[Target],
        make: Callable[[Target], Inverse],
        on_demand: InCommon | None = None,
    ) -> None:
        """make: the inverse of one of the targets; on_demand: the fit, where what each has alone is not fitted yet."""
        self.net, self._targets, self._make, self._on_demand = net, dict.fromkeys(targets), make, on_demand
        self._made: dict[Target, Inverse] = {}

    def __getitem__(self, target: Target) -> Inverse:
        if target not in self._targets:
            raise KeyError(target)
        if target not in self._made:
            self._made[target] = self._make(target)
        return self._made[target]

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        plan = self[next(iter(self))].plan if self._on_demand is None else self._on_demand.task.plan
        return f"Family({len(self):,} targets, one inverse from {plan.common!r} down)"

    def save(self, path: str | Path) -> None:
        """Write to one .mipin file, what is common once, whole or not at all.

        Raises InvalidData where it cannot be written.
        """
        if self._on_demand is not None:
            save_on_demand(path, self.net, [*self], self._on_demand)
            return
        inverses = list(self.values())
        first, plan = inverses[0], inverses[0].plan
        number = _numbers(plan)
        once = _tensors(first.weights, below(plan), number)
        each = [_tensors(one.weights, above(plan), number) for one in inverses]
        rows = [_rows(one.report, above(plan)) for one in inverses]
        lower = _rows(first.report, below(plan))
        header = {
            "model_sha256": self.net.sha256,
            "output": self.net.output,
            "targets": [one.target for one in inverses],
            "samples": first.samples,
            "options": asdict(first.options),
            "backend": first.backend.name,
            "common": None if first.report.common is None else asdict(first.report.common),
            "report": [row.as_row() for row in lower],
            "reports": [[row.as_row() for row in own] for own in rows],
            "calibration": first.calibration.header(),
            "digests": [digest({}, own) for own in each],
            "recorded": None,
            "common_digest": digest({}, {**once, **first.calibration.tensors()}),
        }
        stacked = {f"each.{name}": np.stack([own[name] for own in each]) for name in each[0]}
        beside = {
            "seconds": [row.seconds for row in lower],
            "each_seconds": [[row.seconds for row in own] for own in rows],
        }
        write(path_of(path), header, {**once, **stacked, **first.calibration.tensors()}, INVERSES, beside=beside)


def load_family(path: Path, net: Network, backend: Any) -> Family:
    """The inverses of a file that `Family.save` wrote; of what each target has alone nothing is read before it is asked
    for.

    Raises CorruptFile where it is damaged, of another version or another network; an inverse whose part of the file is
    damaged raises it when it is asked for.
    """
    with opened_sealed(path, INVERSES) as (header, file):
        if header.get("model_sha256") != net.sha256 or header.get("output") != net.output:
            raise CorruptFile(f"{str(path)!r} was fitted on another network (or another output of this one)")
        try:
            options = Options(**header["options"])
            indices = [net.known_index(one) for one in header["targets"]]
            part, index = facing(net, indices[0])
            plan = plan_for(part, options, index)
            names = [name for name in file.keys() if not name.startswith("each.")]  # noqa: SIM118 (no mapping)
            tensors = {name: file.get_tensor(name) for name in names}
            if digest({}, tensors) != header["common_digest"]:
                raise CorruptFile(f"{str(path)!r} is damaged: its content has another checksum than that in its header")
            number = _numbers(plan)
            once = _weights(path, tensors, below(plan), number)
            calibration = Calibration.read(header["calibration"], tensors, net.input_shape, net.channel_axis(net.input))
            lower = timed_rows(header["report"], header["beside"]["seconds"])
            common = None if header["common"] is None else Common(**header["common"])
            targets = [net.target(one) for one in indices]
            told = [header["reports"], header["beside"]["each_seconds"], header["digests"]]
            if header["recorded"] is not None:
                shared = FittedTarget(once, Report(lower), int(header["samples"]))
                return _on_demand(net, indices, header, tensors, options, plan, shared, common, calibration, backend)
            if any(len(one) != len(targets) for one in told) or len(set(targets)) != len(targets):
                raise CorruptFile(f"{str(path)!r} tells of {len(targets)} targets, and not the same everywhere")
            device, samples = get_backend(backend, options.dtype), int(header["samples"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, InvalidData) as error:
            raise CorruptFile(f"the header of {str(path)!r} is incomplete or damaged: {error}") from error
    place = {target: at for at, target in enumerate(targets)}

    def made(target: Target) -> Inverse:
        at = place[target]
        own = _read_own(path, at, header["digests"][at])
        try:
            weights = {**_weights(path, own, above(plan), number), **once}
            rows = timed_rows(header["reports"][at], header["beside"]["each_seconds"][at])
            report = Report(_in_order(plan, [*rows, *lower]), common)
        except (KeyError, TypeError, ValueError, InvalidData) as error:
            raise CorruptFile(f"{str(path)!r} is incomplete or damaged: {error}") from error
        return Inverse(net, indices[at], options, plan, weights, report, samples, device, calibration)

    return Family(net, targets, made)


def _read_own(path: Path, at: int, checksum: str) -> dict[str, HostArray]:
    """What the target number `at` has alone."""
    with opened_sealed(path, INVERSES) as (_, file):
        names = [name for name in file.keys() if name.startswith("each.")]  # noqa: SIM118 (no mapping)
        own = {name.removeprefix("each."): file.get_slice(name)[at : at + 1][0] for name in names}
    if digest({}, own) != checksum:
        raise CorruptFile(f"{str(path)!r} is damaged: its content has another checksum than that in its header")
    return own


def _numbers(plan: Plan) -> dict[str, int]:
    return {step.tensor: number for number, step in enumerate(plan.fitted)}


def _tensors(weights: Mapping[str, Weights], part: Plan, number: Mapping[str, int]) -> dict[str, HostArray]:
    named: dict[str, HostArray] = {}
    for step in part.fitted:
        named |= weight_tensors(str(number[step.tensor]), weights[step.tensor])
    return named


def _weights(path: Path, tensors: Mapping[str, HostArray], part: Plan, number: Mapping[str, int]) -> dict[str, Weights]:
    def one(step: Step) -> Weights:
        return read_weights(path, tensors, str(number[step.tensor]), step, column=part.is_column(step))

    return {step.tensor: one(step) for step in part.fitted}


def _rows(report: Report, part: Plan) -> list[TensorReport]:
    return [row for row in report.tensors if row.tensor in part.step_of]


def _in_order(plan: Plan, rows: Sequence[TensorReport]) -> tuple[TensorReport, ...]:
    order = {step.tensor: number for number, step in enumerate(plan.steps)}
    return tuple(sorted(rows, key=lambda row: order[row.tensor]))


def family_of(net: Network, indices: Mapping[int, int], fit: InCommon) -> Family:
    """The family of a fit. net: the whole network; indices: target of the part that is fitted -> of all."""
    place = {net.target(whole): part for part, whole in indices.items()}

    def made(target: Target) -> Inverse:
        return replace(fit.inverse(place[target]), net=net, target=indices[place[target]])

    return Family(net, [*place], made, fit if fit.recorded is not None else None)


def save_on_demand(path: str | Path, net: Network, targets: Sequence[Target], fit: InCommon) -> None:
    """Write a family of which each target's own part is fitted when it is asked for."""
    assert fit.recorded is not None
    task, plan = fit.task, fit.task.plan
    once = _tensors(fit.shared.weights, below(plan), _numbers(plan))
    arrays = {f"recorded.{i}": array for i, array in enumerate(fit.recorded.arrays.values())}
    tensors = {**once, **arrays, **fit.calibration.tensors()}
    header = {
        "model_sha256": net.sha256,
        "output": net.output,
        "targets": [net.check_target(one) for one in targets],
        "samples": fit.shared.samples,
        "options": asdict(task.options),
        "backend": task.backend.name,
        "common": asdict(fit.common),
        "report": [row.as_row() for row in fit.shared.report],
        "reports": [],
        "calibration": fit.calibration.header(),
        "digests": [],
        "recorded": {"keys": [*fit.recorded.arrays], "memory": task.memory, "batch_size": task.batch_size},
        "common_digest": digest({}, tensors),
    }
    beside = {"seconds": [row.seconds for row in fit.shared.report], "each_seconds": []}
    write(path_of(path), header, tensors, INVERSES, beside=beside)


def _on_demand(
    net: Network,
    indices: Sequence[int],
    header: Mapping[str, Any],
    tensors: Mapping[str, HostArray],
    options: Options,
    plan: Plan,
    shared: FittedTarget,
    common: Common | None,
    calibration: Calibration,
    backend: Any,
) -> Family:
    """The family that `save_on_demand` wrote. Raises KeyError, TypeError or ValueError where it is none."""
    told = header["recorded"]
    places = {part: whole for whole in indices for part in [facing(net, whole)[1]]}
    part = network_for(facing(net, indices[0])[0], options)
    keys: list[Key] = [(str(kind), str(name)) for kind, name in told["keys"]]
    arrays = {key: tensors[f"recorded.{i}"] for i, key in enumerate(keys)}
    data = Gone((shared.samples, *net.input_shape), np.dtype(net.dtype), calibration.source)
    size = None if told["batch_size"] is None else int(told["batch_size"])
    task = FitTask(part, plan, options, get_backend(backend, options.dtype), data, None, int(told["memory"]), size)
    if keys != recorded_keys(task) or any(len(array) != shared.samples for array in arrays.values()) or common is None:
        raise ValueError("the recordings are not those of the tensors above the common one")
    once = Fitted({ALL_CLASSES: shared}, calibration.seen)
    recorded = Recorded(task, arrays, calibration.seen)
    return family_of(net, places, InCommon(task, [*places], once, common, {}, recorded))
