"""The folder that explain writes: what is in it, earlier sets, interrupted runs, and files that are not ours."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.report.explained import NAMES as PATTERNS
from mipin_ref.report.explained import ExplainedFolder, ShownSample
from mipin_ref.report.explained.page import SHOWN
from mipin_ref.report.spool import Spool
from tests.report.explained.samples import NAMES, TOLD, classes, images, of_kind
from tests.report.test_compare_page import Document

KINDS = ("image", "signal", "table", "tokens")


def write(path: Path, kind: Any = "image", samples: Any = None, **arrays: Any) -> list[Path]:
    with ExplainedFolder(path, TOLD, kind=kind) as folder:
        folder.add(of_kind(kind) if samples is None else samples, arrays)
        return folder.finish()


def manifest(path: Path) -> Any:
    return json.loads((path / "explained.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_a_page_arrays_a_manifest_and_a_file_a_sample(tmp_path: Path, kind: str) -> None:
    paths = write(tmp_path / "out", kind)
    assert [path.name for path in paths[:3]] == ["index.html", "attribution.npz", "explained.json"]
    assert len(paths) == 3 + 3
    # Nothing else is left, hidden files included.
    assert sorted(os.listdir(tmp_path / "out")) == sorted(path.name for path in paths)
    assert all(any(fnmatchcase(path.name, one) for one in PATTERNS) for path in paths)
    assert manifest(tmp_path / "out")["complete"] is True
    assert manifest(tmp_path / "out")["samples"] == 3
    page = Document((tmp_path / "out" / "index.html").read_text())
    links = [str(one["href"]) for one in page.all("a")]
    assert len(links) == 3
    assert not any("not complete" in text for text in page.text("p"))


def test_arrays_of_all_batches_lie_in_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((5, 4, 4)).astype(np.float32)
    words = np.array(["a", "b", "a longer one", "c", "d"])
    made = images(5)
    with ExplainedFolder(tmp_path / "out", TOLD, kind="image") as folder:
        folder.add(made[:2], {"map": maps[:2], "word": words[:2].astype("<U1")})
        folder.add([], {})
        folder.add(made[2:], {"map": maps[2:], "word": words[2:]})
        folder.finish()
    with np.load(tmp_path / "out" / "attribution.npz") as arrays:
        np.testing.assert_array_equal(arrays["map"], maps)
        assert arrays["map"].dtype == np.float32
        assert arrays["word"].tolist() == words.tolist()
        assert arrays["names"].tolist() == list(NAMES[:5])
        assert arrays["class_names"].tolist() == [["class 0", "class 1", "class 2"]] * 5
        header = json.loads(str(arrays["header"]))
    assert header["method"] == "mip-in"
    assert header["complete"] is True
    assert header["lines"] == list(TOLD.lines)


def test_files_of_names_of_any_script_are_unique_and_readable(tmp_path: Path) -> None:
    made = images(len(NAMES))
    paths = write(tmp_path / "out", samples=made)[3:]
    names = [path.name for path in paths]
    assert len({name.casefold() for name in names}) == len(NAMES)
    assert names[1] == "overlay_00001_صورة_قطة.png"
    assert names[2] == "overlay_00002_写真-猫.png"
    assert (names[4], names[5]) == ("overlay_00004_a-dog.png", "overlay_00005_b-dog.png")
    assert names[8] == "overlay_00008.png"
    assert all(len(os.fsencode(name)) < 120 for name in names)
    assert not any(set(name) & set("<>:\"/\\|?*'&\n\0\u202e") for name in names)
    links = [str(one["href"]) for one in Document((tmp_path / "out" / "index.html").read_text()).all("a")]
    assert all(link.isascii() for link in links)
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size[0] > 300


def test_an_earlier_set_is_replaced_whole_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write(out, samples=images(5))
    (out / "notes.txt").write_text("mine")
    (out / "photo.png").write_bytes(b"mine")
    (out / "deeper").mkdir()
    second = write(out, "signal")
    assert {path.name for path in second} | {"notes.txt", "photo.png", "deeper"} == set(os.listdir(out))
    assert (out / "notes.txt").read_text() == "mine"
    assert not any(path.exists() for path in first[3:])


@pytest.mark.parametrize("name", ["index.html", "attribution.npz", "explained.json", "overlay_00000_a.png"])
@pytest.mark.parametrize("ours", [False, True])
def test_files_in_the_way_are_refused_before_anything_is_touched(tmp_path: Path, name: str, ours: bool) -> None:
    """Beside a set of ours too: a file that somebody put in the place of one of it is not of the set."""
    out = tmp_path / "out"
    if ours:
        write(out)
    out.mkdir(exist_ok=True)
    (out / name).unlink(missing_ok=True)
    (out / name).write_text("{}")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with (
        pytest.raises(mr.InvalidData, match=name.partition("_")[0]),
        ExplainedFolder(out, TOLD, kind="image") as folder,
    ):
        folder.add(images(1), {})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = write(out)
    aside = tmp_path / "aside.png"
    paths[3].rename(aside)
    paths[3].symlink_to(aside)
    with pytest.raises(mr.InvalidData, match="overlay_00000"):
        write(out)
    assert aside.exists()


def test_a_run_that_adds_nothing_leaves_the_earlier_set(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with ExplainedFolder(out, TOLD, kind="image"):
        pass
    with pytest.raises(RuntimeError, match="early"), ExplainedFolder(out, TOLD, kind="image"):
        raise RuntimeError("early")
    with ExplainedFolder(out, TOLD, kind="image") as folder, pytest.raises(mr.InvalidData, match="nothing to show"):
        folder.finish()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), mr.InvalidData("image 7 is\nbroken")])
def test_an_interrupted_run_keeps_what_it_had_and_says_so(tmp_path: Path, fault: BaseException) -> None:
    out = tmp_path / "out"
    write(out, samples=images(7, seed=5))

    def run() -> None:
        with ExplainedFolder(out, TOLD, kind="image") as folder:
            folder.add(images(2), {"y": np.arange(2)})
            folder.add(images(1), {"y": np.arange(1)})
            raise fault

    with pytest.raises(type(fault)):
        run()
    assert len(list(out.glob("overlay_*"))) == 3
    assert manifest(out)["complete"] is False
    (notice,) = [text for text in Document((out / "index.html").read_text()).text("p") if "not complete" in text]
    assert "3 images" in notice
    assert ("interrupted" if isinstance(fault, KeyboardInterrupt) else "image 7 is broken") in notice
    with np.load(out / "attribution.npz") as arrays:
        assert arrays["y"].tolist() == [0, 1, 0]
        assert json.loads(str(arrays["header"]))["complete"] is False
    # And the next run knows the files.
    assert len(write(out)) == 6
    assert len(list(out.glob("overlay_*"))) == 3


def test_a_killed_run_leaves_a_page_and_the_next_run_replaces_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, samples=images(4))
    child = os.fork()
    if not child:
        folder = ExplainedFolder(out, TOLD, kind="image").__enter__()
        folder.add(images(2), {"y": np.arange(2)})
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(out.glob("overlay_*"))) == 2
    assert manifest(out)["complete"] is False
    page = Document((out / "index.html").read_text())
    assert any("not complete" in text and "after 2 images" in text for text in page.text("p"))
    paths = write(out)
    assert sorted(os.listdir(out)) == sorted(path.name for path in paths)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with ExplainedFolder(tmp_path / "out", TOLD, kind="image") as first:
        first.add(images(1), {})
        with (
            pytest.raises(mr.InvalidData, match="another run is writing there"),
            ExplainedFolder(tmp_path / "out", TOLD, kind="image") as second,
        ):
            second.add(images(1), {})
        first.finish()
    assert manifest(tmp_path / "out")["samples"] == 1


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def run() -> None:
        with ExplainedFolder(tmp_path / "out", TOLD, kind="image") as folder:
            folder.add(images(2), {"y": np.arange(2)})
            monkeypatch.setattr(os, "fsync", fail)
            folder.add(images(1), {"y": np.arange(1)})

    with pytest.raises(mr.InvalidData, match="No space left on device"):
        run()
    monkeypatch.undo()
    for path in (tmp_path / "out").glob("overlay_*"):
        with Image.open(path) as picture:
            picture.load()
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".tmp")]
    assert manifest(tmp_path / "out")["complete"] is False
    assert len(write(tmp_path / "out")) == 6


@pytest.mark.parametrize("there", [False, True])
def test_where_nothing_was_written_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """A folder that was there before stays."""

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def run() -> None:
        with ExplainedFolder(tmp_path / "out", TOLD, kind="image") as folder:
            monkeypatch.setattr(Spool, "append", fail)
            folder.add(images(1), {"y": np.arange(1)})

    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(mr.InvalidData, match="No space left on device"):
        run()
    assert os.listdir(tmp_path) == (["out"] if there else [])
    assert not there or os.listdir(tmp_path / "out") == []


@pytest.mark.slow
def test_thousands_of_samples_give_a_bounded_page(tmp_path: Path) -> None:
    made, count = of_kind("table", 1)[0], SHOWN + 60
    many = [ShownSample(f"{number}", made.value, made.classes) for number in range(count)]
    with ExplainedFolder(tmp_path / "out", TOLD, kind="table") as folder:
        for start in range(0, count, 20):
            folder.add(many[start : start + 20], {})
        folder.finish()
    text = (tmp_path / "out" / "index.html").read_text()
    page = Document(text)
    assert sum(one.get("class") == "row" for one in page.all("li")) == SHOWN
    assert f"The first {SHOWN} are shown here" in text
    assert [str(one["href"]) for one in page.all("a")][-1] == f"overlay_{count - 1:05d}_{count - 1}.svg"
    assert len(page.all("a")) == count


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("image", {"value": np.zeros(3)}, r"the image must be \[H, W\]"),
        ("image", {"classes": []}, "shows 1 to 5 classes, not 0"),
        ("image", {"classes": classes(np.random.default_rng(0), (2, 2), 6)}, "shows 1 to 5 classes, not 6"),
        ("image", {"classes": classes(np.random.default_rng(0), (4,))}, r"needs maps \[H, W\]"),
        ("image", {"classes": classes(np.random.default_rng(0), (0, 2))}, "is empty"),
        ("signal", {"value": np.zeros(7)}, r"needs a signal \[T\] or \[channels, T\]"),
        ("signal", {"value": np.full(40, np.nan)}, "NaN or Inf"),
        ("table", {"value": np.zeros(7)}, r"needs values \[F\]"),
        ("tokens", {"tokens": ["a"]}, r"needs tokens \[T\] and maps \[T\], not 1 and \[5\]"),
        ("tokens", {"tokens": None}, "needs tokens"),
    ],
)
def test_samples_that_cannot_be_shown(tmp_path: Path, kind: Any, changed: Any, message: str) -> None:
    sample = of_kind(kind)[1]
    given = {name: getattr(sample, name) for name in ("name", "value", "classes", "tokens")} | changed
    with pytest.raises(mr.InvalidData, match=message), ExplainedFolder(tmp_path / "out", TOLD, kind=kind) as folder:
        folder.add([ShownSample(**given)], {})
    assert not (tmp_path / "out").exists()


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="kind must be one of image, signal, table, tokens"):
        ExplainedFolder(tmp_path, TOLD, kind="sound")  # type: ignore[arg-type]
    with (
        pytest.raises(mr.InvalidData, match="has 20 features, and 2 are named"),
        ExplainedFolder(tmp_path / "a", TOLD, kind="table", feature_names=["x", "y"]) as folder,
    ):
        folder.add(of_kind("table"), {})
    with ExplainedFolder(tmp_path / "b", TOLD, kind="image") as folder:
        with pytest.raises(mr.InvalidData, match="array 'y' holds 2 samples, where 3 are added"):
            folder.add(images(3), {"y": np.arange(2)})
        folder.add(images(1), {"y": np.zeros((1, 2))})
        with pytest.raises(mr.InvalidData, match=r"samples of shape \[3\] follow samples of \[2\]"):
            folder.add(images(1), {"y": np.zeros((1, 3))})
        folder.finish()
    (tmp_path / "file").write_text("")
    with pytest.raises(mr.InvalidData, match="is a file"), ExplainedFolder(tmp_path / "file", TOLD, kind="image"):
        pass
