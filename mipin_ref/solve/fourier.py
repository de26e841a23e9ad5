"""Fourier transforms of small maps by matrix products.

For some ten to two hundred locations an axis, a product with a table of cosines and sines runs at the speed of BLAS,
takes any length, and leaves the layout that the products behind it read: frequency, real or imaginary, sample, channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend


class Transform:
    """Spectra of real maps of `size`, placed at 0, 1, .. on a circle of `length` locations an axis.

    A spectrum is S(f) = Σ s[j] exp(-2πi f j / length); of the last axis only the half that the other mirrors. Without
    any axis it is s itself.
    """

    def __init__(self, backend: Backend, size: Sequence[int], length: Sequence[int], dtype: Any) -> None:
        self._backend, self._size, self._length = backend, tuple(size), tuple(length)
        self._tables = [backend.put(_cosines_and_sines(n, total), dtype) for n, total in zip(size, length, strict=True)]

    @property
    def blocks(self) -> int:
        """Frequencies of the last axis."""
        return halved(self._length)

    def rows(self, a: Array) -> Array:
        """The last axis of a [n, c, *size] transformed: [2, blocks, n·c·other locations], cosines first, then sines."""
        xp = self._backend.xp
        if not self._size:
            return xp.reshape(a, (1, 1, -1))
        flat = xp.reshape(a, (-1, self._size[-1]))
        return xp.reshape(self._tables[-1] @ flat.T, (2, self.blocks, flat.shape[0]))

    def spectra(self, rows: Array, first: int, stop: int, samples: int) -> Array:
        """Frequencies [first, stop) of the last axis with all of the others: [frequencies, 2, samples, channels].

        Frequencies in the order of `angles`; of the second axis the real part, then the imaginary part negated.
        """
        xp = self._backend.xp
        part = xp.permute_dims(rows[:, first:stop, :], (1, 0, 2))
        for n, total, table in zip(self._size[-2::-1], self._length[-2::-1], self._tables[-2::-1], strict=True):
            count, half = part.shape[0], total // 2 + 1
            maps = xp.reshape(part, (count, part.shape[1], -1, n))
            both = table @ xp.matrix_transpose(maps)
            cos, sin = both[:, :, :half, :], both[:, :, half:, :]
            # Frequencies 1, 2, .. again, now as -1, -2, ..
            mirrored = slice(1, total - half + 1)
            part = xp.empty((count, total, 2, both.shape[3]), dtype=both.dtype, device=self._backend.device)
            part[:, :half, 0, :] = cos[:, 0, :, :] - sin[:, 1, :, :]
            part[:, :half, 1, :] = cos[:, 1, :, :] + sin[:, 0, :, :]
            part[:, half:, 0, :] = cos[:, 0, mirrored, :] + sin[:, 1, mirrored, :]
            part[:, half:, 1, :] = cos[:, 1, mirrored, :] - sin[:, 0, mirrored, :]
            part = xp.reshape(part, (count * total, 2, -1))
        return xp.reshape(part, (part.shape[0], part.shape[1], samples, -1))


def halved(length: Sequence[int]) -> int:
    """How many frequencies of the last axis are kept."""
    return length[-1] // 2 + 1 if length else 1


def frequencies(length: Sequence[int]) -> int:
    """How many frequencies are kept of all axes."""
    return prod(length[:-1]) * halved(length)


def lag_tables(
    lags: Sequence[Sequence[int]], length: Sequence[int], first: int, stop: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What takes spectra back to lags: cosines and sines [lags, frequencies] of a block, weighted.

    Σ a[j] b[j + lag] over j is Σ over f of cos·Re + sin·Im of conj(A) B, with the frequency's weight.
    """
    if not length:
        return np.ones((1, 1)), np.zeros((1, 1))
    last = np.arange(first, stop)
    mirror = np.where((last == 0) | (2 * last == length[-1]), 1.0, 2.0) / prod(length)
    angle = 2 * np.pi * np.outer([lag[-1] for lag in lags], last) / length[-1]
    weight = mirror
    for axis in range(len(length) - 2, -1, -1):
        total = length[axis]
        signed = np.concatenate([np.arange(total // 2 + 1), -np.arange(1, total - total // 2)])
        step = 2 * np.pi * np.outer([lag[axis] for lag in lags], signed) / total
        angle = (angle[:, :, None] + step[:, None, :]).reshape(len(lags), -1)
        weight = np.repeat(weight, total)
    return weight * np.cos(angle), -weight * np.sin(angle)


def _cosines_and_sines(size: int, length: int) -> npt.NDArray[np.float64]:
    """[2·half, size], the cosines of all frequencies first."""
    # Whole turns are taken off first: a large angle would lose digits.
    turns = np.outer(np.arange(length // 2 + 1), np.arange(size)) % length
    angle = 2 * np.pi * turns / length
    return np.concatenate([np.cos(angle), np.sin(angle)])
