"""Eigen-CAM."""

from __future__ import annotations

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, in_the_map
from mipin_ref.methods.sweep import Ints, Sweep
from mipin_ref.threads import BLAS_THREADS


class EigenCAM(ActivationMap):
    """The first right singular vector of the map as a matrix [places, channels], the same at every location
    (Muhammad and Yeasin, Eigen-CAM, 2020): the map is projected on its first principal component, whatever the class.

    The matrix is not centred, as the paper has it. A singular vector has no sign of its own: this one's entries do not
    sum to less than zero, so that the map grows with the activations.
    """

    name = "eigen-cam"
    multiplier = True
    follows_logit = False
    even = True

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        recorded, axis = sweep.recorded(x, first), sweep.net.channel_axis(sweep.at)
        assert axis is not None
        counted = in_the_map(sweep.net, sweep.at, get_backend(), recorded.value.astype(np.float64))
        value = np.moveaxis(counted, axis, 1)
        matrix = value.reshape(*value.shape[:2], -1)
        vector = np.stack([_principal(one) for one in matrix])
        shape = [len(vector), *(1 for _ in sweep.net.shapes[sweep.at])]
        shape[axis] = vector.shape[1]
        return BatchResult(recorded.value, vector.reshape(shape), recorded.output(targets))


def _principal(matrix: HostArray) -> HostArray:
    """The first left singular vector [C] of a matrix [C, places]."""
    # Of a map BLAS's own threads cost a hundred times what the factors do.
    with BLAS_THREADS.single():
        left, _, _ = np.linalg.svd(matrix, full_matrices=False)
    vector: HostArray = left[:, 0]
    return -vector if vector.sum() < 0 else vector
