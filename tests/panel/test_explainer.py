"""`explain_func` in Quantus: its metrics take the function and its attributions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.backends import relative_error
from tests.methods.recorded import Case, residual
from tests.oracles.autograd import Twin

CASE = Case.of(residual(), 3, samples=6)


def test_the_fields_it_hands_out() -> None:
    res = mr.attribute(CASE.net, CASE.x, CASE.targets, "gradient")
    contribution = mr.explain_func(CASE.net, "gradient")(None, CASE.x, CASE.targets, device="cpu")
    np.testing.assert_array_equal(contribution, res.contribution)
    assert contribution.shape == CASE.x.shape
    a = mr.explain_func(CASE.net, "gradient", kind="attribution")(model=None, inputs=CASE.x, targets=CASE.targets)
    np.testing.assert_array_equal(a, res.attribution)
    given = mr.explain_func(CASE.net, "smoothgrad", samples=3, dtype="float32")(None, CASE.x, CASE.targets)
    expected = mr.attribute(CASE.net, CASE.x, CASE.targets, "smoothgrad", samples=3, dtype="float32")
    np.testing.assert_array_equal(given, expected.contribution)
    whole = mr.explain_func(CASE.net, "grad-cam")(None, CASE.x, CASE.targets)
    assert whole.shape == CASE.x.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "map"}, "kind must be"),
        ({"at": "p"}, "explain the input"),
        ({"at": "nowhere"}, "is not on the way"),
        ({"samples": 3}, "no option 'samples'"),
        ({"method": "gradeint"}, "there is no method"),
    ],
)
def test_refusals_are_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        mr.explain_func(CASE.net, **{"method": "gradient", **options})


@pytest.mark.slow
def test_quantus_takes_it() -> None:
    """A metric that calls it and one that is handed what it gave agree; one that calls it again on changed inputs."""
    import quantus
    import torch

    class Single(torch.nn.Module):  # type: ignore[misc]
        """Quantus hands on single precision."""

        def __init__(self) -> None:
            super().__init__()
            self.twin = Twin(residual().ops)

        def forward(self, x: Any) -> Any:
            return self.twin(x.double())

    model, explain = Single().eval(), mr.explain_func(CASE.net, "integrated-gradients", steps=8)
    batch = {"model": model, "x_batch": CASE.x.astype(np.float32), "y_batch": CASE.targets, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sparse = quantus.Sparseness(disable_warnings=True)
        called = sparse(**batch, a_batch=None, explain_func=explain)
        given = sparse(**batch, a_batch=explain(None, batch["x_batch"], CASE.targets))
        drop = quantus.MaxSensitivity(nr_samples=2, lower_bound=0.1, disable_warnings=True)
        changed = drop(**batch, a_batch=None, explain_func=explain)
    assert len(called) == 6
    assert relative_error(np.asarray(called), np.asarray(given)) == 0
    assert 0 < np.min(called) <= np.max(called) < 1
    assert np.all(np.asarray(changed) > 0)
