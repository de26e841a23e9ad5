"""The doors: paths of no known format, samples in memory, and the embedded models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipin_ref.data import Preprocessing, as_samples, builtin, builtin_names, embedded, open_data, open_labels
from mipin_ref.errors import CorruptFile, InvalidData

VALUES = np.random.default_rng(0).normal(size=(6, 2, 3))


@pytest.mark.parametrize("door", [open_data, open_labels])
def test_paths_that_lead_nowhere(tmp_path: Path, door: Any) -> None:
    with pytest.raises(InvalidData, match=r"none\.npy: no such file or folder"):
        door(tmp_path / "none.npy")
    with pytest.raises(InvalidData):
        door("nul\0byte")
    with pytest.raises(InvalidData, match="a pipe, a socket or a device, which is not read"):
        door("/dev/null")
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(InvalidData, match=r"empty\.npy: empty file"):
        door(tmp_path / "empty.npy")
    (tmp_path / "data.csv").write_text("1,2,3\n")
    with pytest.raises(InvalidData, match=r"unknown format; known are \.npy, \.npz, IDX"):
        door(tmp_path / "data.csv")
    for name in ("x.npy", "x.npz", "x.gz", "train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(b"hello world")
        with pytest.raises(CorruptFile, match="not what its name says, it starts with b'hello wo'"):
            door(tmp_path / name)


def test_what_the_system_refuses_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", VALUES)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidData, match=r"x\.npy: cannot be read \(Permission denied\)"):
        open_data(tmp_path / "x.npy")


def test_arrays_are_viewed_and_never_changed() -> None:
    samples = as_samples(VALUES)
    batch = samples[1:3]
    np.testing.assert_array_equal(batch, VALUES[1:3])
    batch[:] = 0
    assert VALUES[1:3].all()
    frozen = VALUES.copy()
    frozen.setflags(write=False)
    assert as_samples(frozen)[:].flags.writeable


def test_samples_pass_through_and_take_further_steps(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    samples = as_samples(str(tmp_path / "x.npy"))
    assert as_samples(samples) is samples
    again = as_samples(samples, Preprocessing(scale=2, shape=(6,)))
    np.testing.assert_array_equal(again[np.array([3, 1])], (VALUES[[3, 1]] / 2).reshape(2, 6).astype(np.float32))
    assert as_samples(tmp_path / "x.npy", Preprocessing(shape=(6,))).shape == (6, 6)


class Table:
    """len() and slices only, as an HDF5 data set or a lazily loaded column has them."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.asked: list[slice] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice) -> Any:
        if not isinstance(index, slice) or index.step not in (None, 1):
            raise TypeError("plain slices only")
        self.asked.append(index)
        return self.values[index]


@pytest.mark.parametrize("wrap", [Table, list])
def test_anything_with_len_and_slicing(wrap: Any) -> None:
    samples = as_samples(wrap(VALUES))
    assert samples.shape == VALUES.shape
    assert samples.dtype == np.float64
    np.testing.assert_array_equal(samples[2:4], VALUES[2:4])
    np.testing.assert_array_equal(samples[::-2], VALUES[::-2])
    np.testing.assert_array_equal(samples[np.array([5, 5, -6])], VALUES[[5, 5, 0]])
    assert samples[3:3].shape == samples[np.array([], dtype=int)].shape == (0, 2, 3)
    assert samples[4:2:1].shape == samples[2:4:-1].shape == (0, 2, 3)


def test_tables_are_read_slice_by_slice() -> None:
    table = Table(VALUES)
    as_samples(table)[2:4]
    assert table.asked == [slice(0, 1), slice(2, 4)]


@pytest.mark.parametrize("x", [np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.int64), [[1, 2], [3, 4]]])
def test_integers_in_memory_are_refused(x: Any) -> None:
    with pytest.raises(InvalidData, match=r"scale them as in training, for pixels x\.astype\('float32'\) / 255"):
        as_samples(x)
    # Single precision does not have every integer of four bytes or more.
    exact = np.float32 if np.asarray(x[:]).dtype.itemsize <= 2 else np.float64
    assert as_samples(x, Preprocessing(scale=1)).dtype == exact


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3.0, "float is no path, no array and has no len"),
        (None, "NoneType is no path"),
        ([], "holds no samples"),
        (np.zeros((0, 4)), "holds no samples"),
        (np.float64(1), "has no len"),
        (np.zeros(3), "data need at least two axes"),
        ({"x": VALUES}, "dict cannot be sliced into an array"),
        (np.ma.masked_array(VALUES), "a masked array"),
        (np.array([["a"]]), "are not real numbers"),
        (np.array([[None]]), "are not real numbers"),
        ([[1.0], [2.0, 3.0]], "samples of shape|cannot be sliced"),
        (Table(3 * np.ones(4)), "data need at least two axes"),
    ],
)
def test_what_is_no_data(x: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        as_samples(x)[:]


def make_model(root: Path, name: str, card: str = '{"accuracy": 0.9}') -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / "card.json").write_text(card)
    x, y = np.arange(12, dtype=np.uint8).reshape(2, 6), np.array([1, 0])
    np.savez_compressed(folder / "calibration.npz", x=x, y=y, x_test=x[:1], y_test=y[:1])
    return folder


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    found = tmp_path / "package" / "models_onnx", tmp_path / "models_onnx"
    monkeypatch.setattr(embedded, "_roots", lambda: found)
    return found


def test_builtin(roots: tuple[Path, Path]) -> None:
    folder = make_model(roots[1], "digits")
    make_model(roots[1], "both", card='{"from": "checkout"}')
    make_model(roots[0], "both", card='{"from": "package"}')
    (roots[1] / "unfinished").mkdir()
    (roots[1] / "README.md").write_text("")
    assert builtin_names() == ["both", "digits"]
    digits = builtin("digits")
    assert (digits.model, digits.calibration) == (folder / "model.onnx", folder / "calibration.npz")
    assert digits.card == {"accuracy": 0.9}
    assert builtin("both").card == {"from": "package"}
    assert open_data(digits.calibration).shape == (2, 6)
    assert open_data(digits.calibration, key="x_test").shape == (1, 6)
    assert open_labels(digits.calibration).tolist() == [1, 0]


@pytest.mark.parametrize("name", ["letters", "", ".", "../models_onnx/digits"])
def test_unknown_builtin_lists_the_names(roots: tuple[Path, Path], name: str) -> None:
    with pytest.raises(InvalidData, match="available: none in this installation"):
        builtin(name)
    make_model(roots[1], "digits")
    with pytest.raises(InvalidData, match=r"no embedded model .*; available: digits"):
        builtin(name)


@pytest.mark.parametrize("card", ["{", "[1]", "\x00"])
def test_bad_card(roots: tuple[Path, Path], card: str) -> None:
    make_model(roots[0], "digits", card)
    with pytest.raises(CorruptFile, match=r"card\.json"):
        builtin("digits")


def test_the_models_that_come_along_are_whole() -> None:
    package = Path(embedded.__file__).parents[1]
    assert embedded._roots() == (package / "models_onnx", package.parent / "models_onnx")
    for name in builtin_names():
        found = builtin(name)
        json.dumps(found.card)
        count = len(open_data(found.calibration))
        if "both_objects" in found.card:
            # Two objects a scene: no class index for each sample, and none is made up.
            with pytest.raises(InvalidData, match=rf"one class index per sample, \[N\], not \[{count}, 2\]"):
                open_labels(found.calibration)
        else:
            assert len(open_labels(found.calibration)) == count
