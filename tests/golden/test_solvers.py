"""The tolerances leave the choice of the solver free: QR, Cholesky and LU of the normal equations, and SVD all pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mipin_ref as mr
from tests.golden.independent import Case, Independent
from tests.golden.independent.case import Tensor

SLOW = {"mnist_cnn"}
FOLDERS = [folder for folder in mr.golden.cases() if folder.parent.name not in SLOW]


class NormalEquations(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        gram = regressors.T @ regressors + ridge * torch.eye(regressors.shape[1], dtype=regressors.dtype)
        # The squares of what rounds to a singular matrix are lost: no normal equations for those.
        if not torch.linalg.cond(gram) < 1 / torch.finfo(gram.dtype).eps:
            return super().penalised(regressors, target, ridge)
        return self.by_gram(gram, regressors.T @ target)

    def by_gram(self, gram: Tensor, right: Tensor) -> Tensor:
        raise NotImplementedError


class ByCholesky(NormalEquations):
    def by_gram(self, gram: Tensor, right: Tensor) -> Tensor:
        return torch.cholesky_solve(right, torch.linalg.cholesky(gram))


class ByLU(NormalEquations):
    def by_gram(self, gram: Tensor, right: Tensor) -> Tensor:
        return torch.linalg.solve(gram, right)


class BySVD(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return self.minimum_norm(regressors, target, ridge)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("solver", [ByCholesky, ByLU, BySVD])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_solver_passes(folder: Path, solver: type[Independent], dtype: object) -> None:
    candidate = solver(Case(folder, dtype)).candidate()
    result = mr.golden.verify(folder, {name: array.contiguous().numpy() for name, array in candidate.items()})
    assert result.ok, result.first
