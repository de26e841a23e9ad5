"""`mipin explain` and `mr.explain` as someone meets them who has a model and images, and nothing else."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.explain import alternatives
from tests.explain.photographs import CLASSES, SIDE, photographs, trained_on
from tests.graph.sketch import Sketch
from tests.linked import linked

COUNT = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx, which tells nothing of itself, names.txt and twelve photographs."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.onnx").write_bytes(trained_on("imagenet"))
    (folder / "names.txt").write_text("\n".join(CLASSES))
    photographs(folder / "photos", COUNT)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return linked(made, tmp_path, monkeypatch)


def arrays(folder: str = "net-explained") -> dict[str, Any]:
    with np.load(f"{folder}/attribution.npz", allow_pickle=False) as stored:
        return dict(stored)


def expected() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and logits, of pixels read by Pillow and normalised as torchvision does."""
    net = mr.load("net.onnx")
    x = []
    for path in sorted(Path("photos").iterdir()):
        pixels = np.asarray(Image.open(path).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64) / 255
        x.append(np.moveaxis((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], -1, 0))
    return net.predict(np.array(x, np.float32))


def test_a_model_and_a_folder_are_all_it_takes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "net.onnx", "photos", "--class-names", "names.txt"]) == 0
    told = capsys.readouterr().out
    assert "preprocessing guessed: imagenet" in told
    assert "the last map" in told
    assert "calibration: 200 shifts and flips of the 12 images, made with seed 0" in told
    assert told.rstrip().splitlines()[-1].startswith("next: open net-explained/index.html")
    found, (shares, scores) = arrays(), expected()
    assert np.array_equal(found["target"], scores.argmax(axis=1))
    np.testing.assert_allclose(found["probability"], shares.max(axis=1), atol=1e-4)
    assert found["names"].tolist() == sorted(os.listdir("photos"))
    assert found["class_names"][:, 0].tolist() == [CLASSES[c] for c in scores.argmax(axis=1)]
    page = Path("net-explained/index.html").read_text()
    assert "preprocessing guessed: imagenet" in page
    assert len([name for name in os.listdir("net-explained") if name.startswith("overlay_")]) == COUNT
    header = json.loads(str(found["header"]))
    assert header["preprocessing"]["mean"] == [0.485, 0.456, 0.406]


def test_the_second_run_fits_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    assert main(["explain", "net.onnx", "photos"]) == 0
    first = arrays()
    assert "fitted" in capsys.readouterr().out
    assert main(["explain", "net.onnx", "photos"]) == 0
    assert "kept from an earlier run" in capsys.readouterr().out
    for name, value in first.items():
        if name != "header":
            assert np.array_equal(arrays()[name], value), name
    for path in (here / "cache" / "mipin_ref").glob("*.mipin"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert main(["explain", "net.onnx", "photos"]) == 0
    assert "kept" not in capsys.readouterr().out
    assert main(["explain", "net.onnx", "photos", "--no-cache"]) == 0
    assert "kept" not in capsys.readouterr().out


def test_the_command_that_is_told_next_can_be_run_as_it_stands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), np.uint8)
    np.savez("my images.npz", held_out=x)
    assert main(["explain", "net.onnx", "my images.npz", "--key", "held_out", "--method", "gradient"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    _, told = last.split("mipin ")
    assert main([*shlex.split(told), "--methods", "gradient"]) == 0
    assert Path("report.html").is_file()


def test_python_gives_what_the_command_writes(here: Path) -> None:
    assert main(["explain", "net.onnx", "photos"]) == 0
    ex = mr.explain("net.onnx", "photos", class_names=CLASSES, progress=False)
    found = arrays()
    assert ex.maps.shape == (COUNT, SIDE * 1, SIDE * 1)
    assert np.array_equal(ex.targets, found["target"])
    assert np.array_equal(ex.result.contribution, found["contribution"])
    np.testing.assert_allclose(ex.probabilities, found["probability"])
    assert ex.logits.shape == (COUNT, len(CLASSES))
    assert ex.names == [CLASSES[c] for c in ex.targets]
    assert repr(ex).startswith("Explanation(12 images by mip-in at ")
    assert "\n" not in repr(ex)
    assert ex.save("saved")[0] == Path("saved/index.html")
    assert np.array_equal(arrays("saved")["map"], ex.maps)
    assert ex.inverse is not None
    paths = ex.inverse.save("own.mipin")
    shown = {c for one in (ex, *ex.others) for c in one.targets.tolist()}
    assert sorted(path.name for path in paths) == sorted(f"own-{c}.mipin" for c in shown)
    again = mr.explain("net.onnx", "photos", inverse="own-*.mipin", progress=False)
    np.testing.assert_allclose(again.maps, ex.maps, rtol=1e-6, atol=1e-6)
    assert again.told[0].startswith("preprocessing imagenet")
    assert again.told[0].endswith("as the inverse was fitted")


def test_the_page_switches_among_the_five_highest_classes(here: Path) -> None:
    """What is stored is of the predicted class alone, as fitted for it alone; the page has the next four too."""
    assert main(["explain", "net.onnx", "photos", "--class-names", "names.txt", "-o", "one"]) == 0
    assert main(["explain", "net.onnx", "photos", "--class-names", "names.txt", "--top", "5", "-o", "five"]) == 0
    one, five, (_, scores) = arrays("one"), arrays("five"), expected()
    highest = np.argsort(-scores, axis=1)[:, :5]
    assert np.array_equal(five["target"], highest)
    assert np.array_equal(one["target"], highest[:, 0])
    assert one["class_names"].shape == (COUNT, 1)
    for name in ("attribution", "contribution", "map", "probability"):
        assert np.array_equal(one[name], five[name][:, 0]), name
    pages = [Path(folder, "index.html").read_text() for folder in ("one", "five")]
    for page in pages:
        for row in highest:
            assert all(CLASSES[c] in page for c in row)
    assert pages[0].count("<option") == pages[1].count("<option")
    alone = mr.explain("net.onnx", "photos", target=highest[:, 0], preprocess="imagenet", progress=False)
    assert not alone.others
    # Single precision, in sums of other batches: some hundred eps of the largest.
    largest = np.abs(one["contribution"]).max()
    np.testing.assert_allclose(alone.result.contribution, one["contribution"], rtol=0, atol=300 * 1.2e-7 * largest)
    alone.save("alone")
    for path in Path("alone").glob("overlay_*.png"):
        a, b = (np.asarray(Image.open(Path(folder, path.name)), np.int16) for folder in ("alone", "one"))
        # As far as the pictures, above the captions, in which classes have no names here.
        assert np.abs(a - b)[:200].max() <= 1


def test_of_many_classes_the_page_shows_the_predicted_ones_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight classes here, of twelve images."""
    for most, others in ((8, 4), (7, 0)):
        monkeypatch.setattr(alternatives, "CLASSES", most)
        assert len(mr.explain("net.onnx", "photos", preprocess="imagenet", progress=False).others) == others


def test_targets(here: Path) -> None:
    def of(**given: Any) -> mr.Explanation:
        return mr.explain("net.onnx", "photos", class_names=CLASSES, preprocess="imagenet", progress=False, **given)

    scores = expected()[1]
    top = of(top=3)
    assert np.array_equal(
        np.stack([top.targets, *(one.targets for one in top.others)], axis=1), np.argsort(-scores, axis=1)[:, :3]
    )
    assert of(target="red disc").targets.tolist() == [4] * COUNT
    assert of(target=2).names == ["blue cross"] * COUNT
    each = [n % 3 for n in range(COUNT)]
    assert of(target=each).targets.tolist() == each
    one = mr.attribute("net.onnx", top.x, 2, "mip-in", inverse=dict(of(target=2).inverse or {}))
    np.testing.assert_allclose(of(target=2).result.attribution, one.attribution)
    with pytest.raises(mr.InvalidData, match="fits 2 classes"):
        of(target="red")
    with pytest.raises(mr.InvalidData, match="one class or one for each of the 12 samples"):
        of(target=[1, 2])


def test_several_classes_on_the_command_line(here: Path) -> None:
    assert main(["explain", "net.onnx", "photos", "--target", "3,7", "--method", "grad-cam", "-o", "two"]) == 0
    assert arrays("two")["target"].tolist() == [[3, 7]] * COUNT
    assert arrays("two")["contribution"].shape[:2] == (COUNT, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "cat"], "this model tells no names of its classes"),
        (["--target", "99"], "target 99 is out of range"),
        (["--class-names", "names.txt", "--target", "red"], "fits 2 classes"),
        (["--preprocess", "imagnet"], "did you mean 'imagenet'"),
        (["--preprocess", "unit", "--scale", "2"], "--preprocess says all of the preprocessing"),
        (["--option", "rigde=1"], "no option 'rigde'"),
        (["--option", "grad-cam.x=1"], "grad-cam is not the method"),
        (["--inverse", "nothing-*.mipin"], "no file fits the pattern 'nothing-*.mipin'"),
        (["--top", "3", "--target", "1"], "option 'top' goes with the predicted classes"),
        (["--at", "nowhere"], "tensor 'nowhere' is not on the way"),
    ],
)
def test_errors_are_one_line(here: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "net.onnx", "photos", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("net-explained").exists()


def strange(folder: Path) -> None:
    """Images of every kind, and files that are none."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    rgb = draw.integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(rgb).save(folder / "a rgb.png")
    Image.fromarray(rgb[..., 0]).save(folder / "b grey.png")
    Image.fromarray(np.dstack([rgb, rgb[..., :1]])).save(folder / "c rgba.png")
    Image.fromarray(rgb).convert("CMYK").save(folder / "d cmyk.jpg")
    Image.fromarray(rgb[:1, :1]).save(folder / "e one pixel.png")
    Image.fromarray(np.zeros((1, 20_000, 3), np.uint8)).save(folder / "f wide.png")
    Image.fromarray(draw.integers(0, 65536, (40, 60)).astype(np.uint16)).save(folder / "g 16 bit.png")
    (folder / "h broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "i clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (folder / "j notes.txt").write_text("none")


def test_images_of_every_kind(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange(here / "strange")
    assert main(["explain", "net.onnx", "strange", "--preprocess", "imagenet"]) == 1
    told = capsys.readouterr()
    assert arrays()["names"].tolist() == sorted(os.listdir("strange"))[:6]
    assert "g 16 bit.png: more than 8 bits per pixel" in told.err
    assert "h broken.png" in told.err
    assert "2 of 8 images left out" in told.err
    assert "left out 2 of other types (.mp4, .txt)" in told.out
    ex = mr.explain("net.onnx", "strange", preprocess="imagenet", progress=False)
    assert len(ex.left_out) == 2
    assert len(ex) == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("i clip.mp4", "unknown format"),
        ("j notes.txt", "texts are explained with their network's tokenizer"),
        ("h broken.png", "not a readable PNG or JPEG image"),
        ("g 16 bit.png", "more than 8 bits per pixel"),
        ("empty", "holds no PNG or JPEG image and no CIFAR-10 batch\n"),
        ("others", "holds no PNG or JPEG image and no CIFAR-10 batch, but files 2 of other types (.mp4, .webp)\n"),
        ("nowhere", "no such file or folder"),
        ("huge.png", "has more than the 89,478,485 pixels that are decoded; make it smaller"),
    ],
)
def test_what_is_no_image(here: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    strange(here / "strange")
    for folder in ("empty", "others"):
        (here / "strange" / folder).mkdir()
    for kind in ("mp4", "webp"):
        (here / "strange" / "others" / f"a.{kind}").write_bytes(b"\0")
    if name == "huge.png":
        Image.new("1", (20_000, 20_000)).save("strange/huge.png")
    assert main(["explain", "net.onnx", f"strange/{name}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not Path("net-explained").exists()


def test_a_grey_model_is_given_photographs_in_colour(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are turned grey, by the weights of ITU-R 601 as Pillow does, and it is said."""
    sketch = Sketch(1, SIDE, SIDE)
    onnx.save(
        sketch.model(sketch.dense(sketch.node("Flatten", sketch.conv("x", 1, 2)), 2 * (SIDE - 2) ** 2, 3)), "grey.onnx"
    )
    asked = ["grey.onnx", "photos", "--method", "gradient", "--preprocess", "raw"]
    assert main(["explain", *asked]) == 0
    assert ", as asked for, image files read in grey: the network has one channel" in capsys.readouterr().out
    pixels = [
        np.asarray(Image.open(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        for path in sorted(Path("photos").iterdir())
    ]
    assert np.abs(arrays("grey-explained")["value"][:, 0] - np.array(pixels, np.float64)).max() <= 1


@pytest.mark.parametrize("target", ["red", "99", "1:2", "no such class"])
def test_a_wrong_target_is_told_before_images_are_read(
    here: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["explain", "net.onnx", "nowhere", "--class-names", "names.txt", "--target", target]
    assert main(asked) == 2
    told = capsys.readouterr()
    assert "nowhere" not in told.err
    assert told.out == ""


def test_an_output_that_is_no_classifiers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sketch = Sketch(3, SIDE, SIDE)
    onnx.save(sketch.model(sketch.node("Relu", sketch.conv("x", 3, 2), out="cells")), "cells.onnx")
    assert main(["explain", "cells.onnx", "photos"]) == 2
    error = capsys.readouterr().err
    assert f"[N, 2×{SIDE - 2}×{SIDE - 2}] is not one score a class" in error
    assert "name a target by indices 0..1, 0..21, 0..21, as (1, 11, 11), on the command line 1:11:11" in error
    assert main(["explain", "cells.onnx", "photos", "--target", "1:11:11", "--method", "gradient"]) == 0
    capsys.readouterr()
    assert main(["compare", "cells.onnx", "photos", "-o", "r.html", "--methods", "gradient", "--limit", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: open r.html in a browser"
    assert main(["evaluate", "deletion", "cells.onnx", "photos"]) == 2
    assert "deletion is measured of classes, and output 'cells'" in capsys.readouterr().err


def test_an_inverse_of_another_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "other.onnx").write_bytes(trained_on("unit"))
    ex = mr.explain("other.onnx", "photos", target=1, preprocess="unit", progress=False)
    assert ex.inverse is not None
    ex.inverse.save("other.mipin")
    assert main(["explain", "net.onnx", "photos", "--inverse", "other.mipin"]) == 2
    assert "was fitted on another network" in capsys.readouterr().err


def test_free_sizes_are_asked_for_with_the_flag(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = onnx.load_from_string(trained_on("imagenet"))
    for axis, name in ((2, "H"), (3, "W")):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del proto.graph.value_info[:]
    onnx.save(proto, "free.onnx")
    assert main(["explain", "free.onnx", "photos"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("as --input-shape input:1x3x224x224")
    assert main(["explain", "free.onnx", "photos", "--input-shape", "input:1x3x24x24", "-o", "net-explained"]) == 0


@pytest.mark.slow
def test_digits_of_a_package_model_with_its_card(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = mr.data.builtin("mnist_cnn")
    given = [str(example.model), str(example.calibration), "--key", "x_test", "--limit", "3"]
    fitted_on = ["--calibration", str(example.calibration), "--calibration-limit", "60"]
    assert main(["explain", *given, *fitted_on, "-o", "digits"]) == 0
    told = capsys.readouterr()
    assert "as card.json says" in told.out
    assert "warning: layer" in told.err
    with np.load(example.calibration) as stored:
        assert np.array_equal(arrays("digits")["target"], stored["y_test"][:3])
    assert arrays("digits")["class_names"][:, 0].tolist() == [str(c) for c in arrays("digits")["target"]]


def test_too_few_samples_for_a_dense_layer_are_warned_of() -> None:
    example = mr.data.builtin("mnist_mlp")
    with np.load(example.calibration) as stored:
        digits = stored["x_test"][:5]
    with pytest.warns(mr.CalibrationWarning, match=r"Dense, [\d,]+ outputs\) is inverted from 200 calibration samples"):
        ex = mr.explain(example.model, digits, progress=False)
    assert ex.maps.shape == (5, 28, 28)
    assert any("is inverted from" in line for line in ex.explainer.lines)


def rows() -> tuple[np.ndarray, np.ndarray]:
    """A table [N, 4] in which the second feature decides, and labels as texts."""
    x = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    return x, np.where(x[:, 1] > 0, "yes", np.where(x[:, 1] > -0.7, "maybe", "no"))


def test_a_table_and_a_scikit_learn_model(tmp_path: Path) -> None:
    x, y = rows()
    model = to_onnx(LogisticRegression(max_iter=300).fit(x, y), x[:1], options={"zipmap": False})
    ex = mr.explain(model, x[:50], progress=False)
    assert ex.maps.shape == (50, 4)
    assert {*ex.names} <= {"yes", "maybe", "no"}
    strongest = np.abs(ex.maps).argmax(axis=1)
    # Twice as often as by chance: an inverse tells what a feature carries, and others correlate with it by chance.
    assert (strongest == 1).mean() > 0.5
    ex.save(tmp_path / "out", feature_names=["age", "income", "height", "weight"])
    assert "income" in (tmp_path / "out" / "index.html").read_text()


def test_trees_are_explained_by_their_forward_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = rows()
    model = to_onnx(RandomForestClassifier(8, random_state=0).fit(x, y), x[:1], options={"zipmap": False})
    onnx.save(model, str(tmp_path / "trees.onnx"))
    np.save(tmp_path / "x.npy", x[:6])
    assert main(["explain", str(tmp_path / "trees.onnx"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "out")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("explained by kernel-shap, which needs the forward pass alone: nothing can be inverted")
    assert "kernel-shap, which needs the forward pass alone" in (tmp_path / "out" / "index.html").read_text()
