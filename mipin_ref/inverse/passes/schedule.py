"""Which passes a fit makes, out of its plan, its budget and what is known: no data are read and no network is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.passes.budget import Budget, coalesced_samples
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.passes.row_store import Room, worth_keeping
from mipin_ref.inverse.passes.spec import Key, PassSpec, signal_shape
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import Shape

SUMS_SHARE = 0.5
"""Share of the memory for sums."""

LARGEST_SHARE = 0.8
"""Share of the memory for the sums of one tensor and one target where they take more than SUMS_SHARE."""

OPERATIONS, ELEMENTS = 2e10, 1e8
"""Rough rates a second of a signal's computation: operations, and elements read or written."""


@dataclass(frozen=True)
class Stored:
    """A signal kept between passes: its bytes, and whether they lie on the disk."""

    size: int
    disk: bool


Kept = Mapping[int, Mapping[str, Stored]]
"""Signals that are kept: by target and tensor."""


@dataclass(frozen=True)
class Known:
    """What is known of a fit before its next pass.

    total: samples of the data; samples: of them, those that count for each target, None where predictions will tell;
    waves, groups: passes that are finished, whole waves and groups of the next one; fitted: tensors of those waves.
    """

    total: int
    samples: Mapping[int, int | None]
    waves: int = 0
    groups: int = 0
    fitted: frozenset[str] = frozenset()
    kept: Kept = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Wave:
    """Steps that are fitted in the same passes, one a group of targets; bytes: of their sums a target, at most."""

    steps: tuple[Step, ...]
    groups: tuple[tuple[int, ...], ...]
    bytes: int


def waves(plan: Plan, backend: Backend, memory: int, known: Known) -> list[Wave]:
    """The waves that are left: each the steps that can be fitted together, as many as the memory for sums takes for one
    target, and targets in groups whose sums fit there together.

    Raises InvalidData where the memory is too small for the sums of a single tensor.
    """
    counts = {samples or known.total for samples in known.samples.values()}

    def size(steps: Sequence[Step]) -> int:
        """What the sums of these steps hold for the target that needs most."""
        return max(sum(Problem(backend, s, plan.is_column(s), n, plan.held_out).bytes for s in steps) for n in counts)

    made, remaining, targets = (
        [],
        [step for step in plan.fitted if step.tensor not in known.fitted],
        list(known.samples),
    )
    while remaining:
        steps = _together(plan, remaining, memory, size)
        remaining = [step for step in remaining if step not in steps]
        each = size(steps)
        many = max(1, int(SUMS_SHARE * memory // each))
        groups = tuple(tuple(targets[i : i + many]) for i in range(0, len(targets), many))
        made.append(Wave(steps, groups, each))
    return made


def schedule(
    plan: Plan, shapes: Mapping[str, Shape], backend: Backend, memory: int, budget: Budget, room: Room, known: Known
) -> Iterator[PassSpec]:
    """The passes that are left, in order, each as if those before it were made.

    shapes: of every tensor of the network, a sample; memory: bytes, of which `budget` is shared out; room: for signals
    that are kept between passes. Whoever does not make a pass, having it from a checkpoint, or learns how many samples
    count, asks again with what is then known: waves and groups stay as long as the samples do.
    Raises InvalidData as `waves` does.
    """
    account = _Account(plan, shapes, backend, room, known.kept)
    left = waves(plan, backend, memory, known)
    for number, wave in enumerate(left):
        behind = [step for later in left[number + 1 :] for step in later.steps]
        again = frozenset(needed(plan, [*wave.steps, *behind], account.kept_for(known.samples)))
        for group, targets in enumerate(wave.groups):
            if number == 0 and group < known.groups:
                continue
            kept = account.kept_for(targets)
            samples = {target: known.samples[target] or known.total for target in targets}
            path, first = plan.path(_reads(wave.steps), kept)
            store = account.store({step.tensor for step in path} | first, kept, behind, samples)
            later = needed(plan, behind, kept | store.keys())
            taken, used = plan.path(_reads(behind), account.kept_for(targets))
            account.drop(targets, used)
            if group == len(wave.groups) - 1:
                again = frozenset(needed(plan, behind, account.kept_for(known.samples)))
            yield PassSpec(
                wave=known.waves + number,
                group=group,
                samples=samples,
                fitted=tuple(step.tensor for step in wave.steps),
                path=tuple(step.tensor for step in path),
                start=first & kept,
                store=tuple(store),
                on_disk=frozenset(name for name, disk in store.items() if disk),
                seeded=plan.logits in first - kept,
                later=tuple(later),
                kept=used,
                recorded=again,
                weights=frozenset(step.tensor for step in taken),
                batch_size=budget.batch_size,
                coalesced=coalesced_samples(shapes, wave.steps, len(targets), budget.coalesced, backend.itemsize),
                looks=known.waves + number == group == 0,
            )


def kept_behind(kept: Kept, made: PassSpec, plan: Plan, shapes: Mapping[str, Shape], itemsize: int) -> Kept:
    """The signals that are kept behind a pass that was made."""
    after = dict(kept)
    for target, samples in made.samples.items():
        new = {
            name: Stored(samples * prod(signal_shape(plan, shapes, name)) * itemsize, name in made.on_disk)
            for name in made.store
        }
        after[target] = {n: one for n, one in {**kept.get(target, {}), **new}.items() if n in made.kept}
    return after


class _Account:
    """What is kept of signals, as far as the passes are thought through."""

    def __init__(self, plan: Plan, shapes: Mapping[str, Shape], backend: Backend, room: Room, kept: Kept) -> None:
        self._plan, self._shapes, self._backend, self._room = plan, shapes, backend, room
        self._kept: dict[int, dict[str, Stored]] = {}
        self._bytes, self._files = {False: 0, True: 0}, 0
        for target, own in kept.items():
            for name, one in own.items():
                self._put(target, name, one)

    def _put(self, target: int, name: str, one: Stored) -> None:
        self._take(target, name)
        self._kept.setdefault(target, {})[name] = one
        self._bytes[one.disk] += one.size
        self._files += one.disk

    def _take(self, target: int, name: str) -> None:
        one = self._kept.get(target, {}).pop(name, None)
        if one is not None:
            self._bytes[one.disk] -= one.size
            self._files -= one.disk

    def kept_for(self, targets: Collection[int]) -> set[str]:
        """The tensors whose signals are kept for all of these targets."""
        return set.intersection(*(set(self._kept.get(target, ())) for target in targets))

    def drop(self, targets: Collection[int], used: Collection[str]) -> None:
        """Let go of the targets' signals but those of use."""
        for target in targets:
            for name in self._kept.get(target, {}).keys() - set(used):
                self._take(target, name)

    def store(
        self, computed: Collection[str], kept: set[str], behind: Sequence[Step], samples: Mapping[int, int]
    ) -> dict[str, bool]:
        """Which of the signals `computed` in a pass to keep for the next ones, and whether on the disk."""
        _, used = self._plan.path(_reads(behind), kept.union(computed))
        shapes = {name: signal_shape(self._plan, self._shapes, name) for name in used - kept}
        store: dict[str, bool] = {}
        for name in sorted(shapes, key=lambda n: (prod(shapes[n]), n)):
            each, count = prod(shapes[name]) * self._backend.itemsize, sum(samples.values())
            disk = self._bytes[False] + count * each > self._room.memory
            again, _ = self._plan.path([name], kept)
            seconds = sum(_operations(step) / OPERATIONS + _elements(step) / ELEMENTS for step in again)
            worth = worth_keeping(count * each, seconds * count)
            if disk and not (worth and self._fits_on_disk(count * each, len(samples))):
                continue
            for target, rows in samples.items():
                self._put(target, name, Stored(rows * each, disk))
            store[name] = disk
        return store

    def _fits_on_disk(self, size: int, files: int) -> bool:
        """Whether so many bytes more, in so many files, may lie there."""
        return self._files + files <= self._room.files and self._bytes[True] + size <= self._room.disk


def needed(plan: Plan, remaining: Sequence[Step], kept: Collection[str]) -> list[Key]:
    """What the passes for `remaining` will need to have recorded, what comes first in front."""
    path, _ = plan.path(_reads(remaining), kept)
    number = {step.tensor: i for i, step in enumerate(plan.steps)}
    fitted = {step.tensor for step in remaining}
    keys: dict[Key, None] = {}
    for step in sorted({*path, *remaining}, key=lambda step: number[step.tensor]):
        tensors, pools = needs([step], [step] if step.tensor in fitted else [])
        keys.update(dict.fromkeys(("value", name) for name in tensors))
        keys.update(dict.fromkeys(("taps", name) for name in pools))
    return list(keys)


def _reads(steps: Sequence[Step]) -> list[str]:
    return [name for step in steps for name in step.reads]


def _together(
    plan: Plan, remaining: Sequence[Step], memory: int, size: Callable[[Sequence[Step]], int]
) -> tuple[Step, ...]:
    """The steps that can be fitted now, as many as the memory for sums takes for one target."""
    unsolved, waiting = {step.tensor for step in remaining}, set[str]()
    for step in plan.steps:  # each behind all that it reads
        if step.tensor not in plan.given and (step.tensor in unsolved or not waiting.isdisjoint(step.reads)):
            waiting.add(step.tensor)
    ready = [step for step in remaining if waiting.isdisjoint(step.reads)]
    first = size(ready[:1])
    if first > LARGEST_SHARE * memory:
        raise InvalidData(
            f"a memory of {memory / 1e9:.2g} GB is too small: the sums of tensor {ready[0].tensor!r} "
            f"take {first / 1e9:.2g} GB a target; allow {first / LARGEST_SHARE / 1e9:.2g} GB or more"
        )
    count = 1
    while count < len(ready) and size(ready[: count + 1]) <= SUMS_SHARE * memory:
        count += 1
    return tuple(ready[:count])


def _operations(step: Step) -> float:
    """Multiplications and additions a sample that a step's signal takes."""
    return sum(layer.operations for layer in step.layers)


def _elements(step: Step) -> int:
    """Elements a sample that a step's signal reads and writes."""
    return prod(step.shape) + sum(prod(layer.out_shape) for layer in step.layers)
