"""What a network computed of samples that come again: several methods, classes and metrics ask for the same forward
passes, which take longer than anything else that they do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mipin_ref.layers import HostArray

SHARE = 8
"""The part of a user's memory that is taken for what is remembered is one in so many."""

Rows = npt.NDArray[np.int64]
Run = Callable[[Rows], Mapping[str, HostArray]]
"""The tensors of the samples of these rows, by name [r, ...]."""


class Remembered:
    """Tensors of single samples, by what the sample holds; those longest not asked for go first.

    memory: of a user, in bytes, of which a part is taken; along: tensors that will be asked for, and are recorded along
    with any behind them; runs: samples that were run while this was open.
    """

    def __init__(self, memory: int, along: Iterable[str] = ()) -> None:
        self._limit, self._held = memory // SHARE, 0
        self.along = frozenset(along)
        self._kept: OrderedDict[bytes, dict[str, HostArray]] = OrderedDict()
        self.runs = 0

    def forget(self) -> None:
        """Let go of everything."""
        self._held = 0
        self._kept.clear()

    def tensors(self, names: Sequence[str], x: HostArray, run: Run) -> dict[str, HostArray]:
        """The tensors `names` of samples x [n, ...]; `run` is asked for those that are not known, each once, and may
        make more of them.
        """
        keys = [blake2b(np.ascontiguousarray(one).data, digest_size=16).digest() for one in x]
        # Held here, whatever is let go of meanwhile.
        known = {key: dict(self._kept[key]) for key in keys if key in self._kept}
        missing = {key: row for row, key in enumerate(keys) if not known.get(key, {}).keys() >= {*names}}
        made: Mapping[str, HostArray] = {}
        if missing:
            made = run(np.array([*missing.values()], np.int64))
            self.runs += len(missing)
        place = {key: number for number, key in enumerate(missing)}
        found = {
            name: np.stack([made[name][place[key]] if key in place else known[key][name] for key in keys])
            for name in names
        }
        self._keep(missing, made)
        for key in keys:
            if key in self._kept:
                self._kept.move_to_end(key)
        return found

    def _keep(self, keys: Mapping[bytes, int], made: Mapping[str, HostArray]) -> None:
        """Remember what was made, unless it is more than there may ever be."""
        if sum(value.nbytes for value in made.values()) > self._limit:
            return
        for number, key in enumerate(keys):
            own = self._kept.setdefault(key, {})
            for name, value in made.items():
                if name not in own:
                    # A view would hold the whole batch.
                    own[name] = value[number].copy()
                    self._held += own[name].nbytes
        while self._held > self._limit:
            _, gone = self._kept.popitem(last=False)
            self._held -= sum(value.nbytes for value in gone.values())


_open: ContextVar[tuple[object, Remembered] | None] = ContextVar("remembered", default=None)


@contextmanager
def remembering(net: object, memory: Remembered) -> Iterator[None]:
    """While inside, what is recorded of the samples of one network is kept, and what is asked for again is not run
    again. Results are the same, as none of a sample depends on the others of its batch.
    """
    token = _open.set((net, memory))
    try:
        yield
    finally:
        _open.reset(token)


def remembered_of(net: object) -> Remembered | None:
    """What is remembered of a network; None where nothing is."""
    opened = _open.get()
    return opened[1] if opened is not None and opened[0] is net else None
