"""Table 2 from files in ILSVRC's layout: annotations, boxes in the crop, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr
import reproduce_paper
from paper import ilsvrc, report
from paper.results import Results
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, MaxPool, Op, Reshape

WNIDS = ("n01440764", "n01443537", "n01484850")
HOW = ilsvrc.Preparation(side=16, resize=20)
Corners = tuple[float, float, float, float]


def annotation(width: int, height: int, *objects: tuple[str, Corners]) -> str:
    """An annotation as ILSVRC writes them."""
    told = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    return (
        "<annotation><folder>val</folder><filename>one</filename><source><database>ILSVRC_2012</database></source>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size><segmented>0</segmented>"
        f"{told}</annotation>"
    )


def write_xml(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_image(path: Path, width: int, height: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def network() -> bytes:
    rng = np.random.default_rng(0)

    def conv(source: str, name: str, inputs: int, outputs: int) -> Conv:
        kernel = rng.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
        return Conv((source,), name, kernel, bias=rng.standard_normal(outputs) / 4, pads=(1, 1, 1, 1))

    ops: list[Op] = [
        conv("input", "first", 3, 6),
        Activation(("first",), "first relu", "Relu"),
        MaxPool(("first relu",), "pool", (2, 2), (2, 2)),
        conv("pool", "second", 6, 6),
        Activation(("second",), "features", "Relu"),
        Reshape(("features",), "flat", (6 * 8 * 8,)),
        Dense(("flat",), "scores", rng.standard_normal((6 * 64, 3)) / 8, bias=np.zeros(3)),
    ]
    model: bytes = to_onnx(ops, (3, 16, 16)).SerializeToString()
    return model


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Six images, in wnid folders and flat; their annotations; a list of synsets; calibration images; a network."""
    for i in range(6):
        folder = tmp_path / "images" / (WNIDS[i % 3] if i < 3 else "")
        width, height = (40, 30) if i % 2 else (30, 50)
        write_image(folder / f"ILSVRC2012_val_{i:08d}.JPEG", width, height, i)
        objects: list[tuple[str, Corners]] = [(WNIDS[i % 3], (8, 10, 19, 22))]
        if i == 1:
            objects += [(WNIDS[1], (20, 10, 26, 16)), (WNIDS[2], (6, 4, 39, 29))]
        if i == 4:
            objects = [(WNIDS[1], (1, 10, 14, 40))]
        if i == 5:
            objects = [(WNIDS[2], (0, 0, 3, 30))]
        write_xml(tmp_path / "boxes" / "val" / f"ILSVRC2012_val_{i:08d}.xml", annotation(width, height, *objects))
    for i in range(20):
        write_image(tmp_path / "calibration" / f"{i}.jpg", 24, 20, 100 + i)
    (tmp_path / "synsets.txt").write_text("".join(f"{wnid} a fish, another\n" for wnid in WNIDS))
    (tmp_path / "model.onnx").write_bytes(network())
    return tmp_path


def selected(layout: Path, how: Any = HOW) -> Any:
    synsets = ilsvrc.read_synsets(layout / "synsets.txt")
    return ilsvrc.read_samples(layout / "images", layout / "boxes", synsets, how)


def test_images_are_found_flat_and_in_folders_and_large_boxes_left_out(layout: Path) -> None:
    seen = selected(layout)
    assert [one.path.stem[-1] for one in seen.samples] == ["0", "1", "2", "3"]
    assert [one.label for one in seen.samples] == [0, 1, 2, 0]
    # The fifth box covers 44 % of its crop; the sixth lies in the three columns that the crop of 40×30 cuts off.
    assert (seen.too_large, seen.outside) == (1, 1)
    assert [len(one.boxes) for one in seen.samples] == [1, 2, 1, 1], "the object of another class is left out"


def test_boxes_follow_resize_and_crop() -> None:
    # 40×30 becomes 27×20, of which columns 5..20 and rows 2..17 are taken.
    assert ilsvrc.cropped_box((8, 10, 19, 22), 40, 30, HOW) == (
        round(8 * 27 / 40) - 5,
        round(10 * 20 / 30) - 2,
        round(19 * 27 / 40) - 5,
        round(22 * 20 / 30) - 2,
    )
    assert ilsvrc.cropped_box((0, 0, 40, 30), 40, 30, HOW) == (0, 0, 16, 16)
    assert ilsvrc.cropped_box((0, 0, 7, 30), 40, 30, HOW) is None


@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 50), (37, 91)])
def test_a_box_lies_on_what_is_in_it(tmp_path: Path, width: int, height: int) -> None:
    """A white rectangle on black, sent through the same steps, lies where its box says."""
    edges = (width // 3, height // 3, 2 * width // 3, 3 * height // 5)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[edges[1] : edges[3], edges[0] : edges[2]] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    how = ilsvrc.Preparation(64, 80, mean=(0, 0, 0), std=(1, 1, 1))
    box = ilsvrc.cropped_box(edges, width, height, how)
    assert box is not None
    x0, y0, x1, y1 = box
    inside = np.zeros((64, 64), bool)
    inside[y0:y1, x0:x1] = True
    white = ilsvrc.prepared(tmp_path / "one.png", how).mean(axis=0) > 0.5
    # The resize blurs an edge by half a source pixel, which is up to a pixel here.
    assert (white ^ inside).sum() <= inside.sum() / 8 + 2 * (x1 - x0 + y1 - y0)
    assert white[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].all()


def test_images_are_prepared_as_torchvision_does(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", 30, 20)
    with Image.open(tmp_path / "one.png") as image:
        resized = np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR), np.float64)
    cut = resized[2:18, 7:23]
    expected = (cut / 255 - np.array(HOW.mean)) / np.array(HOW.std)
    one = ilsvrc.prepared(tmp_path / "one.png", HOW)
    np.testing.assert_allclose(one, np.moveaxis(expected, -1, 0), rtol=1e-5, atol=1e-6)
    how = ilsvrc.Preparation(16, 20, mean=(103, 116, 123), std=(1, 1, 1), scale=1, bgr=True)
    expected = cut[..., ::-1] - np.array((103, 116, 123))
    np.testing.assert_allclose(ilsvrc.prepared(tmp_path / "one.png", how), np.moveaxis(expected, -1, 0), atol=1e-4)


def test_prepared_images_are_read_in_slices(layout: Path) -> None:
    paths = sorted((layout / "calibration").iterdir())
    x = ilsvrc.Prepared(paths, HOW)
    assert x.shape == (20, 3, 16, 16)
    np.testing.assert_array_equal(x[3:5], np.stack([ilsvrc.prepared(path, HOW) for path in paths[3:5]]))
    np.testing.assert_array_equal(x[np.array([7, 1])], np.stack([ilsvrc.prepared(paths[i], HOW) for i in (7, 1)]))
    assert x[5:5].shape == (0, 3, 16, 16)


BOX: Corners = (8, 10, 19, 22)
GOOD = annotation(40, 30, (WNIDS[0], BOX))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><size>", "no readable XML"),
        ("", "no readable XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + GOOD, "document type"),
        ('<!DOCTYPE annotation SYSTEM "http://one/two.dtd">' + GOOD, "document type"),
        (GOOD.replace("<width>40</width>", ""), "lacks size/width"),
        (GOOD.replace("<ymax>22</ymax>", ""), "lacks bndbox/ymax"),
        (GOOD.replace("<width>40", "<width>many"), "size/width is 'many', not a number"),
        (GOOD.replace("<xmin>8", "<xmin>nan"), "bndbox/xmin is 'nan', not a number"),
        (GOOD.replace("<height>30", "<height>0"), "a size of 40×0 pixels"),
        (GOOD.replace(f"<name>{WNIDS[0]}</name>", ""), "an object has no name"),
        (annotation(40, 30), "holds no object"),
        (annotation(40, 30, (WNIDS[0], (8, 10, 41, 22))), "leaves its image of 40×30"),
        (annotation(40, 30, (WNIDS[0], (8, 10, 8, 22))), "is empty or leaves"),
        (annotation(40, 30, (WNIDS[0], (-1, 10, 9, 22))), "is empty or leaves"),
        ("\0" + GOOD, "not UTF-8"),
        (GOOD + " " * 1_000_000, "too large"),
    ],
)
def test_annotations_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write_xml(tmp_path / "one.xml", text)
    with pytest.raises(ValueError, match=r"one\.xml") as caught:
        ilsvrc.read_annotation(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(ValueError, match="document type"):
        ilsvrc.read_annotation(write_xml(tmp_path / "one.xml", bomb + GOOD.replace(WNIDS[0], "&b;")))


def test_what_does_not_fit_together_is_refused(layout: Path) -> None:
    first = layout / "boxes" / "val" / "ILSVRC2012_val_00000000.xml"
    good = first.read_text()
    for text, message in (
        (good.replace(WNIDS[0], "n09999999"), "'n09999999' is not in the list of synsets"),
        (good.replace("<width>30", "<width>31"), "says 31×50 pixels"),
    ):
        first.write_text(text)
        with pytest.raises(ValueError, match=message):
            selected(layout)
    first.write_text(good)
    image = layout / "images" / WNIDS[0] / "ILSVRC2012_val_00000000.JPEG"
    image.write_bytes(b"no image")
    with pytest.raises(ValueError, match="is no readable image"):
        selected(layout)
    image.unlink()
    with pytest.raises(ValueError, match="there is no image ILSVRC2012_val_00000000"):
        selected(layout)
    write_image(layout / "images" / "ILSVRC2012_val_00000001.png", 9, 9)
    with pytest.raises(ValueError, match="has the same name"):
        selected(layout)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no synset"), ("fish\n", "line 1: does not begin"), (f"{WNIDS[0]}\n{WNIDS[0]} b\n", "is there twice")],
)
def test_lists_of_synsets_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "synsets.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        ilsvrc.read_synsets(tmp_path / "synsets.txt")


def command(monkeypatch: pytest.MonkeyPatch, layout: Path, *options: str) -> None:
    files = [f"--{name}={layout / name}" for name in ("images", "boxes")]
    files += [f"--model={layout / 'model.onnx'}", f"--synsets={layout / 'synsets.txt'}", f"--results={layout / 'out'}"]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "table2", *files, "--resize=20", *options])
    reproduce_paper.main()


def by_hand(maps: NDArray[Any], boxes: list[NDArray[np.int64]]) -> float:
    scores = []
    for one, of in zip(maps, boxes, strict=True):
        inside = {(r, c) for x0, y0, x1, y1 in of.tolist() for r in range(y0, y1) for c in range(x0, x1)}
        order = sorted(np.ndindex(one.shape), key=lambda at: -one[at])
        scores.append(len(inside & set(order[: len(inside)])) / len(inside))
    return float(np.mean(scores))


def test_the_table_holds_the_box_accuracy_of_the_maps(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = f"--calibration={layout / 'calibration'}"
    rows = ["mip-in, last feature map", "mip-in", "gradient", "grad-cam", "patternnet"]
    command(monkeypatch, layout, calibration, "--dtype=float64", "--batch=3", "--rows", *rows)
    seen = selected(layout)
    net = mr.load(layout / "model.onnx")
    x = np.stack([ilsvrc.prepared(one.path, HOW) for one in seen.samples])
    fitted_on = np.stack([ilsvrc.prepared(p, HOW) for p in sorted((layout / "calibration").iterdir())])
    boxes, y = [one.boxes for one in seen.samples], [one.label for one in seen.samples]
    results = [mr.fit(net, fitted_on, c, at="features").attribute(x[i : i + 1]) for i, c in enumerate(y)]
    read = {
        row: json.loads((layout / "out" / f"table2--{row.replace(', ', '_').replace(' ', '_')}.json").read_text())
        for row in rows
    }
    for kind in ("contribution", "attribution"):
        maps = np.concatenate([mr.saliency(res, kind=kind, positive=False, size=(16, 16)) for res in results])
        accuracy = read[rows[0]]["result"]["accuracy"][kind]
        assert accuracy == pytest.approx(by_hand(maps, boxes), abs=1e-12)
    res = mr.attribute(net, x, np.array(y), "gradient")
    for kind, maps in (
        ("contribution", (res.attribution * res.value).sum(axis=1)),
        ("|contribution|", np.abs((res.attribution * res.value).sum(axis=1))),
        ("attribution", res.attribution.mean(axis=1)),
        ("magnitude", np.abs(res.attribution).sum(axis=1)),
    ):
        assert read["gradient"]["result"]["accuracy"][kind] == pytest.approx(by_hand(maps, boxes), abs=1e-12)
    assert read["grad-cam"]["result"]["accuracy"]["attribution"] == 0, "Grad-CAM's A is the same everywhere"
    assert read["mip-in"]["result"]["at"] == ""
    assert (read["mip-in"]["options"]["too_large"], read["mip-in"]["options"]["samples"]) == (1, 4)


def test_without_calibration_the_fitted_methods_are_told(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, layout, "--rows", "mip-in", "gradient")
    told = json.loads((layout / "out" / "table2--mip-in.json").read_text())["result"]
    assert "no calibration samples" in told["failed"]
    page = report.page(Results(layout / "out"))
    assert "no calibration samples" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resize=10",), "--resize: 10 pixels are fewer than the 16"),
        (("--images=/nowhere",), "holds no image"),
        (("--boxes=/nowhere",), "holds no annotation"),
        (("--synsets=/nowhere",), "nowhere"),
        (("--mean=1,2",), "must be three numbers"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    layout: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, layout, *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_list_of_another_number_of_classes_is_refused(
    layout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (layout / "synsets.txt").write_text(f"{WNIDS[0]} one\n")
    with pytest.raises(SystemExit):
        command(monkeypatch, layout)
    assert "lists 1 classes, the network has 3" in capsys.readouterr().err
