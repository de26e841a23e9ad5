"""The four kinds of map, and how alike two maps are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr
from paper import maps as paper_maps


def attribution(multiplier: bool = True) -> mr.Attribution:
    rng = np.random.default_rng(0)
    value, signal = rng.standard_normal((3, 4, 6, 5)), rng.standard_normal((3, 4, 6, 5))
    return mr.Attribution(value, None, signal, np.zeros(3), 0, "t", 1, "x", multiplier)


def loops(res: mr.Attribution, kind: str) -> NDArray[np.float64]:
    """Pixel by pixel."""
    out = np.zeros((3, 6, 5))
    for n, i, j in np.ndindex(out.shape):
        a, x = res.attribution[n, :, i, j], res.value[n, :, i, j]
        ax = [p * q if res.multiplier else p for p, q in zip(a, x, strict=True)]
        out[n, i, j] = {
            "contribution": sum(ax),
            "|contribution|": abs(sum(ax)),
            "attribution": sum(a) / 4,
            "magnitude": sum(map(abs, a)),
        }[kind]
    return out


@pytest.mark.parametrize("kind", paper_maps.KINDS)
@pytest.mark.parametrize("multiplier", [True, False])
def test_maps_are_what_their_kind_says(kind: str, multiplier: bool) -> None:
    res = attribution(multiplier)
    np.testing.assert_allclose(paper_maps.signed_map(res, kind), loops(res, kind), rtol=1e-12)
    resized = paper_maps.signed_map(res, kind, (12, 10))
    for one, plain in zip(resized, loops(res, kind), strict=True):
        image = Image.fromarray(plain.astype(np.float32)).resize((10, 12), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(one, np.asarray(image), atol=1e-5)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of map 'size'; there are contribution"):
        paper_maps.signed_map(attribution(), "size")


def test_correlations_leave_constant_maps_out() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 3, 3))
    b: Any = np.stack([2 * a[0] + 1, -a[1], np.ones((3, 3)), rng.standard_normal((3, 3))])
    first, second, third = paper_maps.correlations(a, b)
    assert (first, second) == pytest.approx((1, -1))
    centred = [one - one.mean() for one in (a[3], b[3])]
    expected = (centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    assert third == pytest.approx(expected)


def test_flat_maps_and_batches() -> None:
    assert paper_maps.flat(np.array([[[1.0, 1]], [[2, 2]]]))
    assert not paper_maps.flat(np.array([[[1.0, 1]], [[2, 3]]]))
    assert list(paper_maps.batches(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
