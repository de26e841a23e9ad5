"""The recorder: runs the canonical network in onnxruntime and hands out the tensors asked for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from math import prod
from threading import Lock
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import onnxruntime

from mipin_ref.beside import by_name, joined, others_of
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.emit import emit, switches_of
from mipin_ref.graph.fired import Fired, fired_among, fired_of
from mipin_ref.graph.front import Front
from mipin_ref.graph.layer_list import LayerList, leading_to
from mipin_ref.graph.remembered import remembered_of
from mipin_ref.graph.runs import run_together, samples_a_run, takes_little, widest_of
from mipin_ref.graph.runtime import runtime_reason
from mipin_ref.graph.runtime import session as session
from mipin_ref.graph.shut import finite_mask
from mipin_ref.layers import HostArray, Shape, Stateful
from mipin_ref.threads import BLAS_THREADS

NAMED = 5
"""Samples with NaN or Inf that a message numbers, at most."""

SESSIONS = 2
"""How many of a network's sessions stay open at most: each holds a copy of the weights that it needs."""

_Key = tuple[tuple[str, ...], tuple[str, ...], tuple[Fired, ...], int, bool]
_kept: MutableMapping[LayerList, dict[_Key, _Open]] = WeakKeyDictionary()
_keeping = Lock()


@dataclass(frozen=True, eq=False)
class Record(OneLine):
    """values: tensor name -> [n, ...]; switches: max-pool output name -> flat winning index over n·C·map [n, ...];
    fired: which values of a tensor fired, of those asked for [n, ...].
    """

    values: Mapping[str, HostArray]
    switches: Mapping[str, npt.NDArray[np.int64]]
    fired: Mapping[Fired, npt.NDArray[np.bool_]] = field(default_factory=dict)


def record_bytes(net: LayerList, values: Collection[str], layers: Collection[Stateful]) -> int:
    """Bytes of what is recorded of a sample: values, also those that states are made of, and states; of each switch
    onnxruntime's eight, and its tap's; and of what is run in front of the layers.
    """
    switches = sum(prod(layer.state_shape) for layer in layers)
    read = {name for layer in layers for what, name in layer.reads if what == "value"}.union(values)
    front = 0 if net.stem is None else net.stem.room
    return front + net.dtype.itemsize * sum(prod(net.shapes[name]) for name in read) + 9 * switches


@dataclass(frozen=True, eq=False)
class _Open:
    """A session and the weights that it reads where they lie."""

    runtime: onnxruntime.InferenceSession
    weights: Mapping[str, HostArray]


def _session_of(
    net: LayerList,
    wanted: Sequence[str],
    switches: Sequence[str],
    fired: Sequence[Fired],
    threads: int,
    *,
    keep: bool,
    quick: bool,
    again: bool,
) -> _Open:
    key = (tuple(wanted), tuple(switches), tuple(fired), threads, quick)
    with _keeping:
        opened = _kept.get(net, {}).get(key)
    if opened is None:
        beside: dict[str, HostArray] = {}
        model = emit(net, wanted, switches, fired, beside=beside).SerializeToString()
        opened = _Open(session(model, threads, beside, quick, again=again), beside)
    if keep:
        with _keeping:
            others = {other: kept for other, kept in _kept.get(net, {}).items() if other != key}
            _kept[net] = dict([*others.items(), (key, opened)][-SESSIONS:])
    return opened


class Recorder:
    """Runs batches forward and returns the wanted tensors, checked to be finite.

    fired: tensors of which is told which values fired, where these themselves are not asked for. keep: the session
    stays open for the next recorder of the same tensors, while the network lives and has not had SESSIONS others since:
    to emit and open a model takes longer than a small batch. quick: see `session`; what is recorded so is rounded
    otherwise, and remembered for the same request alone.
    """

    def __init__(
        self,
        net: LayerList,
        wanted: Sequence[str],
        switches: Collection[str] = (),
        fired: Collection[Fired] = (),
        *,
        threads: int | None = None,
        keep: bool = False,
        quick: bool = False,
    ) -> None:
        self._net, self._quick = net, quick
        self._wanted = list(dict.fromkeys(wanted))
        self._switches = list(dict.fromkeys(switches))
        starts = {*net.starts}
        self._fired = list(dict.fromkeys(fired))
        flagged = [one for one in self._fired if one[0] not in starts]
        self._fetched = [t for t in self._wanted if t not in starts] + [switches_of(t) for t in self._switches]
        self._fetched += [fired_of(one) for one in flagged]
        reached = {*self._wanted, *switches, *(tensor for tensor, _ in self._fired)}
        self._session, self._front, read = None, None, starts.intersection(reached)
        threads = BLAS_THREADS.count if threads is None else threads
        needed = leading_to([layer for layer in net.layers if layer.output not in starts], reached)
        memory = None if quick or switches else remembered_of(net)
        besides = (frozenset[str]() if memory is None else memory.along) - {*self._wanted}
        along = [one.output for one in needed if one.output in besides]
        self._made = [*self._fetched, *along]
        alike = {switches_of(t): t for t in self._switches} | {fired_of(one): one[0] for one in flagged}
        self._shapes = {name: net.shapes[alike.get(name, name)] for name in self._made}
        self._size, self._threads = samples_a_run(needed, net.dtype.itemsize), threads
        self._counted = {switches_of(one.output): prod(one.in_shapes[0]) for one in needed if one.output in switches}
        if self._fetched:
            computed = [name for name in self._wanted if name not in starts]
            asked = [*computed, *along], self._switches, flagged, threads
            again = takes_little(widest_of(needed, net.dtype.itemsize))
            self._session = _session_of(net, *asked, keep=keep, quick=quick, again=again)
            read.update(value.name for value in self._session.runtime.get_inputs())
        self._started = [name for name in net.shapes if name in read]
        front = net.stem if net.file is None else net.file
        made = [] if front is None else [name for name in self._started if name != net.input or name in front.tensors]
        if front is not None and made:
            self._front = Front(front, made, threads)

    def __call__(self, x: HostArray, first: int = 0, *, sources: Mapping[str, HostArray] | None = None) -> Record:
        """Record one batch x [n, *input_shape].

        first: its position in the data, for error messages; sources: what the layers start from beside x, by tensor
        [n, ...], where it is known and is not to be made of x.

        Raises InvalidData for a wrong shape or dtype, and for NaN or Inf in x or in any recorded tensor.
        """
        net = self._net
        check_batch(net, x)
        others, carried = _others(net, x), others_of(x)
        with np.errstate(over="ignore"):  # what is too large for the network's dtype is told as Inf
            x = np.ascontiguousarray(x, net.dtype) if net.reads is None else as_integers(x, net.reads)
        check_finite(x, f"the data, samples {first}..{first + len(x) - 1},", rows_from=first)
        started = {net.input: x}
        if sources is None and self._front is None and net.stem is None and net.sources:
            # The end of a network: what its layers start from was recorded, and goes along with the samples.
            sources = carried
        if sources is not None:
            started |= {name: np.ascontiguousarray(value, net.dtype) for name, value in sources.items()}
        elif self._front is not None:
            made = self._front(joined(x, others), net.dtype)
            started |= {name: value.reshape(len(x), *net.shapes[name]) for name, value in made.items()}
        for name in self._started:
            if name != net.input:
                if name not in net.carrying:
                    started[name] = finite_mask(started[name], name, first)
                check_finite(started[name], f"activation {name!r}, samples {first}..{first + len(x) - 1},")
        alone = sources is not None or self._front is not None or bool(self._switches)
        kept = None if alone else remembered_of(net)
        if kept is None:
            values = self._run({name: started[name] for name in self._started})
        else:
            # What is quick is rounded by what else is asked for: sums are put together otherwise.
            called = [f"{self._fetched} {name}" if self._quick else name for name in self._made]
            found = kept.tensors(
                called[: len(self._fetched)],
                x,
                lambda rows: dict(zip(called, self._run({net.input: x[rows]}).values(), strict=True)),
            )
            values = dict(zip(self._fetched, found.values(), strict=True))
        values = {name: values[name] for name in self._fetched}
        switches = {t: values.pop(switches_of(t)) for t in self._switches}
        given = {name: started[name] for name in self._started}
        flags = {
            one: fired_among(given[one[0]], one) if one[0] in given else values.pop(fired_of(one))
            for one in self._fired
        }
        for name, value in values.items():
            check_finite(value, f"activation {name!r}, samples {first}..{first + len(x) - 1},")
        values.update({name: value for name, value in given.items() if name in self._wanted})
        return Record(values, switches, flags)

    def _run(self, started: Mapping[str, HostArray]) -> dict[str, HostArray]:
        if self._session is None:
            return {}
        wanted = {value.name for value in self._session.runtime.get_inputs()}
        given = {name: value for name, value in started.items() if name in wanted}
        try:
            made = run_together(self._session.runtime, self._shapes, given, self._size, self._counted, self._threads)
        except Exception as failure:  # as in `session`
            raise UnsupportedModel(
                f"onnxruntime cannot run the network on {len(next(iter(started.values())))} samples: "
                f"{runtime_reason(failure)}"
            ) from failure
        return dict(zip(self._made, made, strict=True))


def logits(
    net: LayerList, x: HostArray | Mapping[str, HostArray], *, batch_size: int = 256, quick: bool = False
) -> HostArray:
    """The logits [N, classes] of x [N, *input_shape]; quick: see `Recorder`.

    Raises InvalidData where x is empty or does not fit.
    """
    x = with_others(net, x)
    check_batch(net, x)
    if not len(x):
        raise InvalidData("the data hold no sample")
    recorder = Recorder(net, [net.logits], quick=quick)
    parts = [recorder(x[i : i + batch_size], i).values[net.logits] for i in range(0, len(x), batch_size)]
    return np.concatenate(parts).reshape(len(x), -1)


Scoring = Callable[[HostArray, int], HostArray]
"""Samples [n, *input_shape] and the position of the first in the data -> what is explained of every target [n, C]."""


class Reads(Protocol):
    """What is asked of a network about what it reads."""

    @property
    def input_shape(self) -> Shape: ...
    @property
    def whole(self) -> bool: ...


class ReadsSeveral(Protocol):
    """What is asked of a network about the inputs that each sample has values of, the explained one first."""

    @property
    def inputs(self) -> tuple[str, ...]: ...


def with_others(net: ReadsSeveral, x: Any) -> HostArray:
    """Samples as they are, or, of a network that reads several inputs, a dict of arrays by their names, joined.

    Raises InvalidData where the dict does not hold just these, in equal numbers.
    """
    if len(net.inputs) == 1 or others_of(x):
        return x  # type: ignore[no-any-return]
    named = {name: np.asarray(value) for name, value in by_name(x, net.inputs).items()}
    return joined(named[net.inputs[0]], {name: named[name] for name in net.inputs[1:]})


def check_batch(net: Reads, x: Any) -> None:
    """Raises InvalidData where x is no floating-point array [n, *input_shape]."""
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if not isinstance(shape, tuple) or not isinstance(dtype, np.dtype):
        raise InvalidData(f"data must be arrays, not {type(x).__name__}")
    if tuple(shape[1:]) != net.input_shape:
        raise InvalidData(
            f"data have shape {tuple(shape)}; the network takes [N, {', '.join(map(str, net.input_shape))}]"
        )
    if not (np.issubdtype(dtype, np.floating) or (net.whole and dtype.kind in "iu")):
        raise InvalidData(f"data are {dtype}; pass floating point, scaled as in training (for bytes often x / 255)")


def _others(net: LayerList, x: Any) -> Mapping[str, HostArray]:
    """What the network reads beside the explained input, of these samples. Raises InvalidData where it does not fit."""
    front = net.stem if net.file is None else net.file
    if front is None or not front.bound.beside:
        return {}
    others = others_of(x)
    found = {}
    for name, one in front.bound.beside.items():
        if name not in others:
            raise InvalidData(
                f"the network reads input {name!r} of each sample besides, and these samples carry nothing for it: a "
                "method that changes or repeats samples takes no network of several inputs"
            )
        value = others[name]
        if value.shape != (len(x), *one.shape):
            raise InvalidData(
                f"x: input {name!r} has shape {list(value.shape)}; the network takes [N, "
                f"{', '.join(map(str, one.shape))}]"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found[name] = value.astype(one.dtype, copy=False)
        if one.dtype.kind != "f" and not np.array_equal(found[name], value):
            raise InvalidData(f"x: input {name!r} holds integers ({one.dtype}), and the data hold other numbers")
        check_finite(found[name], f"the data of input {name!r}")
    return found


def as_integers(x: HostArray, dtype: np.dtype[Any]) -> HostArray:
    """Samples as the integers that the network reads. Raises InvalidData where they are none."""
    with np.errstate(invalid="ignore"):  # NaN and Inf are told as other numbers
        whole = np.ascontiguousarray(x, dtype)
    if not np.array_equal(whole, x):
        raise InvalidData(f"the network reads integers ({dtype}), and the data hold other numbers")
    return whole


def check_finite(a: HostArray, what: str, *, rows_from: int | None = None) -> None:
    """Raises InvalidData where an array holds NaN or Inf. rows_from: the number of the first of several samples of a
    person's data, of which those that hold some are named.
    """
    if a.dtype.kind != "f":
        return
    # Minimum and maximum carry NaN and Inf without a temporary of a's size.
    if a.size and not (np.isfinite(a.min()) and np.isfinite(a.max())):
        told = ""
        if rows_from is not None and len(a) > 1:
            spoilt = (np.flatnonzero(~np.isfinite(a.reshape(len(a), -1)).all(axis=1)) + rows_from).tolist()
            more = f" and {len(spoilt) - NAMED} more" if len(spoilt) > NAMED else ""
            which = f"sample{'s' if len(spoilt) > 1 else ''} {', '.join(map(str, spoilt[:NAMED]))}{more}"
            told = f" in {which}: leave out, or fill in what is missing"
        raise InvalidData(f"{what} hold NaN or Inf{told}")
