"""NumPy files and archives: values, laziness, and every way they can be wrong."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipin_ref.data import Preprocessing, open_data, open_labels
from mipin_ref.data.numpy_files import open_npy, open_npz
from mipin_ref.errors import CorruptFile, InvalidData
from tests.data.formats import npy_bytes, npy_header, write_zip

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 5), dtype=np.uint8)
FLOATS = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "f2"])
def test_npy_floats_are_left_alone(tmp_path: Path, dtype: str, order: Any) -> None:
    values = np.asarray(np.random.default_rng(2).normal(size=(7, 2, 3)), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", values)
    samples = open_data(tmp_path / "x.npy")
    assert samples.shape == (7, 2, 3)
    assert len(samples) == 7
    assert samples.dtype == np.dtype(dtype).newbyteorder("=") == samples[:1].dtype
    np.testing.assert_array_equal(samples[2:5], values[2:5])
    np.testing.assert_array_equal(samples[np.array([4, 0, -1])], values[[4, 0, -1]])


def test_npy_is_mapped_and_what_is_sliced_is_a_copy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FLOATS)
    assert isinstance(open_npy(tmp_path / "x.npy"), np.memmap)
    batch = open_data(tmp_path / "x.npy")[0:2]
    assert type(batch) is np.ndarray
    assert batch.flags.writeable
    assert batch.flags.c_contiguous
    batch[:] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), FLOATS)


def test_npy_larger_than_memory_is_opened_and_sliced(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    samples_claimed = 1 << 26
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({samples_claimed}, 4096)}}")
    path.write_bytes(header)
    os.truncate(path, len(header) + samples_claimed * 4096)
    samples = open_data(path)
    assert samples.shape == (samples_claimed, 4096)
    np.testing.assert_array_equal(samples[samples_claimed - 2 :], np.zeros((2, 4096), np.float32))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keys(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "set.npz"
    save(path, x_train=PIXELS, y_train=np.arange(6, dtype=np.uint8), x_test=FLOATS, y_test=np.arange(3))
    np.testing.assert_array_equal(open_data(path)[:], PIXELS.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(open_data(path, key="x_test")[:], FLOATS)
    np.testing.assert_array_equal(open_labels(path), np.arange(6))
    np.testing.assert_array_equal(open_labels(path, "y_test"), np.arange(3))
    assert open_labels(path).dtype == np.int64
    with pytest.raises(InvalidData, match=r"no array 'z'; it holds 'x_test', 'x_train', 'y_test', 'y_train'"):
        open_data(path, key="z")


def test_npz_prefers_x_to_x_train(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=FLOATS, x=FLOATS + 1)
    np.testing.assert_array_equal(open_data(tmp_path / "set.npz")[:], FLOATS + 1)


def test_npz_without_a_known_key_lists_the_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=FLOATS)
    with pytest.raises(InvalidData, match=r"no array 'x' or 'x_train'; it holds 'images'"):
        open_data(tmp_path / "set.npz")
    with pytest.raises(InvalidData, match=r"no array 'y' or 'y_train'; it holds 'images'"):
        open_labels(tmp_path / "set.npz")
    write_zip(tmp_path / "none.npz", {})
    with pytest.raises(InvalidData, match="it holds no array"):
        open_data(tmp_path / "none.npz")
    write_zip(tmp_path / "many.npz", {f"a{number}.npy": npy_bytes(FLOATS) for number in range(25)})
    with pytest.raises(InvalidData, match="and 5 more"):
        open_data(tmp_path / "many.npz")


def test_npz_stored_member_is_mapped_and_compressed_one_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "stored.npz", a=np.arange(3), x=FLOATS)
    np.savez_compressed(tmp_path / "packed.npz", a=np.arange(3), x=np.asfortranarray(FLOATS))
    mapped = open_npz(tmp_path / "stored.npz", "x", ())
    packed = open_npz(tmp_path / "packed.npz", "x", ())
    assert isinstance(mapped, np.memmap)
    assert not isinstance(packed, np.memmap)
    np.testing.assert_array_equal(mapped, FLOATS)
    np.testing.assert_array_equal(packed, FLOATS)


def test_key_is_only_for_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FLOATS)
    with pytest.raises(InvalidData, match=r"only a .npz archive has keys"):
        open_data(tmp_path / "x.npy", key="x")


@pytest.mark.parametrize("cut", [3, 9, 60, 129, 140])
def test_truncated_npy(tmp_path: Path, cut: int) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(FLOATS)[:cut])
    with pytest.raises(CorruptFile, match=r"x\.npy"):
        open_data(tmp_path / "x.npy")


def test_npy_longer_than_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(FLOATS) + b"\0")
    with pytest.raises(CorruptFile, match=r"claims 72 bytes of values, shape \[6, 3\], not 73"):
        open_data(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" + "1," * 40 + ")}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 4)}",
        "[" * 100,
        "not a header",
    ],
)
def test_hostile_npy_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "x.npy").write_bytes(npy_header(header) + bytes(16))
    with pytest.raises(CorruptFile, match=r"header"):
        open_data(tmp_path / "x.npy")


def test_npy_version_for_named_fields_is_refused(tmp_path: Path) -> None:
    content = bytearray(npy_bytes(FLOATS))
    content[6] = 3
    (tmp_path / "x.npy").write_bytes(bytes(content))
    with pytest.raises(InvalidData, match=r"version \(3, 0\)"):
        open_data(tmp_path / "x.npy")


class Explosive:
    """Would create a file if it were ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.trace), "w")


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = npy_bytes(np.array([[Explosive(trace)]], dtype=object))
    (tmp_path / "x.npy").write_bytes(content)
    write_zip(tmp_path / "x.npz", {"x.npy": content})
    write_zip(tmp_path / "packed.npz", {"x.npy": content}, zipfile.ZIP_DEFLATED)
    for name in ("x.npy", "x.npz", "packed.npz"):
        with pytest.raises(InvalidData, match="pickled Python objects"):
            open_data(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.zeros((4, 0))])
def test_empty_arrays(tmp_path: Path, values: Any) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InvalidData, match="holds no samples"):
        open_data(tmp_path / "x.npy")


@pytest.mark.parametrize("values", [np.array([["a"]]), np.array([[1j]]), np.zeros((2, 2), dtype="M8[s]")])
def test_values_that_are_no_numbers(tmp_path: Path, values: Any) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InvalidData, match="are not real numbers"):
        open_data(tmp_path / "x.npy")


def test_one_number_per_row_is_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(5))
    with pytest.raises(InvalidData, match=r"data need at least two axes"):
        open_data(tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("cut", [5, 60, 150, -30])
def test_truncated_npz(tmp_path: Path, save: Any, cut: int) -> None:
    save(tmp_path / "x.npz", x=FLOATS)
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[:cut])
    with pytest.raises(CorruptFile, match=r"x\.npz"):
        open_data(tmp_path / "x.npz")


def test_damaged_compressed_member(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(50, 50)))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[5000:5100] = bytes(100)
    (tmp_path / "x.npz").write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match="not a whole"):
        open_data(tmp_path / "x.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_member_that_is_not_what_its_header_claims(tmp_path: Path, compression: int) -> None:
    huge = npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1048576, 1048576)}")
    write_zip(tmp_path / "huge.npz", {"x.npy": huge + bytes(64)}, compression)
    with pytest.raises(CorruptFile, match=r"claims 8796093022208 bytes"):
        open_data(tmp_path / "huge.npz")
    write_zip(tmp_path / "more.npz", {"x.npy": npy_bytes(FLOATS) + bytes(4096)}, compression)
    with pytest.raises(CorruptFile, match="claims 72 bytes"):
        open_data(tmp_path / "more.npz")


def test_zip_bomb_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    header = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1048576, 4000)}")
    path = write_zip(tmp_path / "x.npz", {"x.npy": header + bytes(64)}, zipfile.ZIP_DEFLATED)
    true_size, claimed = len(header) + 64, len(header) + (1 << 20) * 4000
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", true_size), struct.pack("<I", claimed)))
    with pytest.raises(CorruptFile, match=r"claims 4194304000 bytes, more than \d+ compressed ones can hold"):
        open_data(path)


def test_unknown_compression_and_encryption(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.npz", {"x.npy": npy_bytes(FLOATS)}, zipfile.ZIP_LZMA)
    with pytest.raises(InvalidData, match="unknown compression"):
        open_data(tmp_path / "x.npz")
    content = bytearray(write_zip(tmp_path / "y.npz", {"x.npy": npy_bytes(FLOATS)}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.npz").write_bytes(bytes(content))
    with pytest.raises(InvalidData, match="is encrypted"):
        open_data(tmp_path / "y.npz")


def test_directory_that_points_at_no_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.npz", {"a.npy": npy_bytes(FLOATS), "x.npy": npy_bytes(FLOATS)})
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<I", 7)
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match="points at no member"):
        open_data(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 1), np.int64), r"one class index per sample, \[N\], not \[4, 1\]"),
        (np.zeros(4), "must be integers, not float64"),
        (np.array([0, -1]), "must count classes from 0, found -1 to 0"),
        (np.array([1 << 63], np.uint64), "must count classes from 0"),
        (np.zeros(0, np.int64), "holds no samples"),
    ],
)
def test_bad_labels(tmp_path: Path, labels: Any, message: str) -> None:
    np.save(tmp_path / "y.npy", labels)
    with pytest.raises(InvalidData, match=message):
        open_labels(tmp_path / "y.npy")


def test_labels_of_any_integer_dtype(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([3, 0, 2], dtype=">u2"))
    labels = open_labels(tmp_path / "y.npy")
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 0, 2]


def test_preprocessing_reaches_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    samples = open_data(str(tmp_path / "x.npy"), preprocessing=Preprocessing(scale=1, shape=(4, 5)))
    np.testing.assert_array_equal(samples[1:3], PIXELS[1:3, 0].astype(np.float32))
