"""Figures of matplotlib: what is drawn of images, signals and tables, and what is refused."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr

RNG = np.random.default_rng(0)


def result(shape: tuple[int, ...], channel_axis: int | None = 1) -> mr.Attribution:
    value, attribution = RNG.normal(size=(2, *shape))
    return mr.Attribution(value, None, attribution, np.arange(shape[0]) + 0.5, 3, "x", channel_axis)


def drawn(figure: Any) -> list[list[np.ndarray[Any, Any]]]:
    """The pictures of each cell that has one."""
    return [[np.asarray(one.get_array()) for one in ax.images] for ax in figure.axes if ax.images]


def test_images_are_drawn_beside_the_map_over_them_and_the_map() -> None:
    res = result((2, 5, 4, 4))
    images = RNG.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    figure = mr.plot(res, images, ["a$b.png", "x" * 200])
    maps = mr.saliency(res, positive=False)
    cells = drawn(figure)
    assert len(cells) == 6
    for n in range(2):
        np.testing.assert_array_equal(cells[3 * n][0], images[n])
        np.testing.assert_array_equal(cells[3 * n + 1][0], mr.overlay(images[n], maps[n]))
        np.testing.assert_array_equal(cells[3 * n + 2][0], maps[n])
    shown = [ax.images[0] for ax in figure.axes if ax.images][2]
    cut = np.quantile(np.abs(maps[0]), 0.995)
    assert shown.get_clim() == pytest.approx((-cut, cut))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0] == "a\\$b.png\ntarget 3, logit 0.5"
    assert max(map(len, titles)) < 100
    assert vars(figure)["_repr_png_"]().startswith(b"\x89PNG")


@pytest.mark.parametrize("layout", ["channels first", "channels last", "gray"])
def test_images_of_any_layout(layout: str) -> None:
    images = RNG.random((2, 8, 8, 3))
    given = {"channels first": np.moveaxis(images, -1, 1), "channels last": images, "gray": images[..., 0]}[layout]
    picture = drawn(mr.plot(result((2, 5, 4, 4)), given))[0][0]
    expected = images[0] if layout != "gray" else images[0, ..., :1].repeat(3, axis=-1)
    stretched = (expected - expected.min()) / (expected.max() - expected.min()) * 255
    np.testing.assert_allclose(picture, stretched, atol=0.5 + 1e-9)


def test_an_explained_input_is_its_own_image_and_other_tensors_have_none() -> None:
    assert len(drawn(mr.plot(result((2, 3, 6, 6))))) == 6
    assert len(drawn(mr.plot(result((2, 6, 6), None)))) == 6
    assert len(drawn(mr.plot(result((2, 7, 6, 6))))) == 2


def test_tables_are_bars_of_the_largest() -> None:
    res = result((2, 30))
    figure: Any = mr.plot(res)
    for ax, contribution in zip(figure.axes, res.contribution, strict=True):
        order = np.argsort(-np.abs(contribution))[:12]
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], contribution[order])
        assert [label.get_text() for label in ax.get_yticklabels()] == [f"feature {i}" for i in order]
        reds = [bar.get_facecolor()[0] > bar.get_facecolor()[2] for bar in ax.patches]
        assert reds == (contribution[order] > 0).tolist()


def test_signals_are_coloured_curves() -> None:
    res = result((2, 3, 40))
    figure: Any = mr.plot(res)
    curves = [ax for ax in figure.axes if ax.lines]
    for ax, value, contribution in zip(curves, res.value, res.contribution, strict=True):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), value.mean(axis=0))
        np.testing.assert_allclose(ax.collections[0].get_array(), contribution.sum(axis=0))


@pytest.mark.parametrize(
    ("res", "options", "message"),
    [
        ("cat", {}, "needs an Attribution"),
        (result((51, 3)), {}, "shows 1 to 50 samples, not 51"),
        (result((2, 3)), {"names": ["a"]}, "2 samples need as many names, not 1"),
        (result((2, 3)), {"images": np.zeros((2, 4, 4))}, "has no map for images"),
        (result((2, 3, 4, 4)), {"images": np.zeros((1, 4, 4))}, "2 samples need as many images"),
        (result((2, 3, 4, 4, 4)), {}, "is no image, signal or table"),
    ],
)
def test_what_cannot_be_drawn(res: Any, options: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        mr.plot(res, **options)


def test_without_matplotlib_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(mr.BackendUnavailable, match=r"pip install 'mipin_ref\[plot\]'"):
        mr.plot(result((2, 3, 4, 4)))
