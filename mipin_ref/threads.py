"""How many threads are used: one number, that of BLAS, for everything that computes on the host.

It is set as for any NumPy program, by OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS, OMP_NUM_THREADS) or by threadpoolctl.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

from threadpoolctl import ThreadpoolController


class _BlasThreads:
    """The threads of all copies of BLAS in this process: NumPy and SciPy each bring one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._limits, self._count = 0, ExitStack(), 1

    @cached_property
    def _libraries(self) -> ThreadpoolController:
        """Finding the BLAS libraries takes longer than limiting them, so it is done once."""
        return ThreadpoolController().select(user_api="blas")

    @property
    def count(self) -> int:
        """The number that BLAS is set to outside of `single`."""
        with self._lock:
            return self._count if self._users else self._setting()

    def _setting(self) -> int:
        return max((int(library["num_threads"]) for library in self._libraries.info()), default=1)

    @contextmanager
    def single(self) -> Iterator[int]:
        """One thread a call for as long as anybody is inside; yields how many there were."""
        with self._lock:
            if not self._users:
                self._count = self._setting()
                self._limits.enter_context(self._libraries.limit(limits=1))
            self._users += 1
        try:
            yield self._count
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._limits.close()


BLAS_THREADS = _BlasThreads()
