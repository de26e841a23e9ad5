"""The page reads pictures as this package does: resizing, gray, preprocessing, and the drawing put in the middle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import mipin_ref as mr
from mipin_ref.data.images import resized_to_cover
from mipin_ref.export.page import PageInput
from mipin_ref.export.pixels import Pixels
from mipin_ref.report.heatmap import heatmap
from mipin_ref.report.overlay import as_picture
from mipin_ref.report.signed_png import contrast_scale
from tests.export.page.scripts import Bytes, called, picture_made


def drawn(height: int, width: int, channels: int, seed: int = 0) -> Bytes:
    """Noise under a slope: sharp, dark and bright."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, channels))
    slope = np.linspace(0, 1, width)[None, :, None] * np.linspace(1, 0.2, height)[:, None, None]
    return np.rint(noise * slope).astype(np.uint8)


def network(shape: tuple[int, ...]) -> onnx.ModelProto:
    """The smallest of an input shape."""
    size = int(np.prod(shape))
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "smallest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.ones((size, 2), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


SIZES = [
    ((97, 131), (28, 28)),
    ((131, 97), (224, 224)),
    ((20, 30), (64, 48)),
    ((28, 28), (28, 28)),
    ((28, 40), (28, 28)),
    ((1, 900), (5, 3)),
    ((333, 2), (7, 9)),
    ((480, 641), (224, 224)),
]


@pytest.mark.parametrize(("size", "wanted"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pillows(size: tuple[int, int], wanted: tuple[int, int], channels: int) -> None:
    """Rows first, it is the same to the last bit; Pillow may take the columns first, and then rounds the other way."""
    picture = drawn(*size, channels)
    image = Image.fromarray(picture.squeeze(-1) if channels == 1 else picture)
    made = picture_made("covering", picture, *wanted)
    (height, width), (to_height, to_width) = size, wanted
    scale = min(height / to_height, width / to_width)
    left, top = (width - scale * to_width) / 2, (height - scale * to_height) / 2
    rows = image.resize((to_width, height), Image.Resampling.BILINEAR, box=(left, 0, width - left, height))
    both = rows.resize((to_width, to_height), Image.Resampling.BILINEAR, box=(0, top, to_width, height - top))
    np.testing.assert_array_equal(made, np.asarray(both).reshape(made.shape))
    whole = np.asarray(resized_to_cover(image, *wanted)).reshape(made.shape)
    assert np.abs(made.astype(int) - whole).max() <= 1


def test_gray_is_pillows() -> None:
    colours = drawn(40, 50, 4, seed=1)
    gray = np.asarray(Image.fromarray(colours[..., :3]).convert("L"))
    made = picture_made("(picture) => ofCanvas(picture.data, 40, 50, 1)", colours)
    np.testing.assert_array_equal(made[..., 0], gray)


@pytest.mark.parametrize(
    ("shape", "preprocessing"),
    [
        ((3, 6, 5), mr.data.PRESETS["imagenet"]),
        ((6, 5, 3), mr.data.PRESETS["imagenet"]),
        ((3, 6, 5), mr.data.PRESETS["caffe"]),
        ((6, 5), mr.data.Preprocessing(mean=0.1307, std=0.3081)),
        ((3, 6, 5), mr.data.PRESETS["inception"]),
        ((108,), mr.data.Preprocessing(255.0, 0.4, 0.25)),
    ],
)
def test_values_are_those_of_the_package(
    shape: tuple[int, ...], preprocessing: mr.data.Preprocessing, tmp_path: Path
) -> None:
    """The file is read by the package on one side, its pixels by the page on the other; equal to the last bit."""
    picture = drawn(6, 6 if len(shape) == 1 else 5, 1 if len(shape) == 2 else 3, seed=2)
    Image.fromarray(picture.squeeze()).save(tmp_path / "a.png")
    of = mr.data.Preprocessing(
        preprocessing.scale, preprocessing.mean, preprocessing.std, shape, True, preprocessing.bgr
    )
    expected = mr.data.open_data(tmp_path / "a.png", preprocessing=of)[:1]
    told = PageInput("x", shape, shape, of).settings()
    # Bytes for an explainer that does this itself lie as it reads them.
    pixels = Pixels.of(mr.load(network(shape)), of)
    raw = PageInput("pixels", pixels.shape, shape, of, raw=True).settings()
    stored = np.frombuffer(called("explainerValues", picture, raw)[0], np.uint8).reshape(1, *pixels.shape)
    np.testing.assert_allclose(pixels.to_inputs(stored), expected, rtol=0, atol=0)
    data, _ = called("networkValues", picture, told)
    np.testing.assert_array_equal(np.frombuffer(data, np.float32).reshape(shape), expected[0])


@pytest.mark.parametrize(("shape", "bgr"), [((3, 6, 5), False), ((6, 5, 3), True), ((1, 6, 5), False), ((6, 5), False)])
def test_a_source_signal_is_shown_as_on_other_pages(shape: tuple[int, ...], bgr: bool) -> None:
    values = np.random.default_rng(3).standard_normal(shape)
    of = mr.data.Preprocessing(shape=shape, bgr=bgr)
    grid = asdict(PageInput("x", shape, shape, of).grid)
    call = "(p, v, grid, bgr) => rangedPicture(Float64Array.from(v), grid, { inner: false, bgr })"
    made = picture_made(call, drawn(1, 1, 1), values.ravel().tolist(), grid, bgr)
    last = values if shape[-1] == 3 else np.moveaxis(values.reshape(-1, *shape[-2:]), 0, -1)
    expected = as_picture(last[..., ::-1] if bgr else last, "source")
    assert np.abs(np.broadcast_to(made, expected.shape).astype(int) - expected).max() <= 1


def test_a_drawing_is_put_as_mnist_is() -> None:
    """Twenty pixels high, its proportions kept, the centre of mass in the pixel behind the middle."""
    drawing = np.zeros((280, 280, 1), np.uint8)
    drawing[10:210, 30:60] = 255
    drawing[10:40, 30:150] = 255
    made = picture_made("centred", drawing, 28, 28)[..., 0]
    rows, columns = np.flatnonzero(made.any(axis=1)), np.flatnonzero(made.any(axis=0))
    assert rows[-1] - rows[0] + 1 == 20
    assert columns[-1] - columns[0] + 1 == 12
    mass = made / made.sum()
    centre = [float(mass.sum(axis=1 - axis) @ (np.arange(28) + 0.5)) for axis in (0, 1)]
    assert 14 <= min(centre) <= max(centre) < 15
    # The ink is Pillow's reduction of its box.
    small = np.asarray(Image.fromarray(drawing[10:210, 30:150, 0]).resize((12, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(made[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], small)


def test_no_ink_makes_an_empty_picture_and_a_speck_fits() -> None:
    assert not picture_made("centred", np.zeros((280, 280, 1), np.uint8), 28, 28).any()
    drawing = np.zeros((280, 280, 1), np.uint8)
    drawing[279, 0] = 255
    made = picture_made("centred", drawing, 28, 28)
    assert (made == 255).sum() == (made > 0).sum() == 400


@pytest.mark.slow
def test_digits_of_mnist_stay_where_they_are() -> None:
    """Drawn large again, a digit of the data set comes back to its place: what is done to drawings is what was done to
    it. The blur of both resamplings is all that differs: one pixel off, thin digits correlate by .7.
    """
    with np.load(mr.data.builtin("mnist_cnn").calibration) as stored:
        digits = stored["x_test"][:20, 0]
    for digit in digits:
        large = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC))
        again = picture_made("centred", large[..., None], 28, 28)[..., 0]
        together = np.corrcoef(again.ravel(), digit.ravel())[0, 1]
        assert together > 0.87


def test_colours_are_those_of_the_package() -> None:
    """A map's opacity over white makes the colours of `heatmap`, on the scale of the other pages."""
    values = np.random.default_rng(5).standard_normal((9, 11))
    full = contrast_scale([values])
    cut = np.frombuffer(called("(p, v) => Float64Array.of(fullColour(v))", drawn(1, 1, 1), values.ravel().tolist())[0])
    assert cut[0] == pytest.approx(full, rel=1e-12)
    call = """(p, values) => { const made = []; const context = { createImageData: () => ({ data: made }),
        putImageData: () => {} }; made.set = (rgba, at) => rgba.forEach((one, k) => { made[at + k] = one; });
        paintMap({ getContext: () => context }, { height: 9, width: 11, values }); return Uint8Array.from(made); }"""
    rgba = np.frombuffer(called(call, drawn(1, 1, 1), values.ravel().tolist())[0], np.uint8).reshape(9, 11, 4) / 255
    over_white = np.rint(255 * (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]))
    clipped = np.clip(values, -full, full)
    # Where the largest is at the cut, heatmap's own scale is the same.
    assert np.abs(over_white - heatmap(clipped)).max() <= 1
