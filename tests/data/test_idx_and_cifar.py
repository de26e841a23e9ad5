"""IDX files and CIFAR-10 batches, written byte by byte here."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mipin_ref.data import Preprocessing, cifar, open_data, open_labels
from mipin_ref.data.idx import open_idx
from mipin_ref.errors import CorruptFile, InvalidData
from tests.data.formats import cifar_bytes, idx_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def scaled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
def test_idx_images(tmp_path: Path, name: str) -> None:
    content = idx_bytes(PIXELS)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    samples = open_data(tmp_path / name, preprocessing=Preprocessing(shape=(1, 28, 28)))
    assert samples.shape == (9, 1, 28, 28)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples[3:7], scaled(PIXELS[3:7])[:, None])
    assert isinstance(open_idx(tmp_path / name), np.memmap) is not name.endswith(".gz")


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_value_types(tmp_path: Path, dtype: str) -> None:
    values = np.arange(24).reshape(4, 6).astype(dtype)
    (tmp_path / "v.idx").write_bytes(idx_bytes(values))
    samples = open_data(tmp_path / "v.idx", preprocessing=Preprocessing(scale=2))
    np.testing.assert_array_equal(samples[:], values.astype(np.float32) / 2)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_labels(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "labels").write_bytes(pack(idx_bytes(np.array(LABELS, np.uint8))))
    assert open_labels(tmp_path / "labels").tolist() == LABELS
    with pytest.raises(InvalidData, match="data need at least two axes"):
        open_data(tmp_path / "labels")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("change", [-1, 1])
def test_idx_size_that_does_not_match(tmp_path: Path, pack: Any, change: int) -> None:
    content = idx_bytes(PIXELS)
    content = content[:-1] if change < 0 else content + b"\0"
    (tmp_path / "x.idx").write_bytes(pack(content))
    with pytest.raises(CorruptFile, match=f"{PIXELS.size} bytes of values"):
        open_data(tmp_path / "x.idx")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_header_that_claims_the_moon(tmp_path: Path, pack: Any) -> None:
    header = bytes([0, 0, 8, 2]) + struct.pack(">II", 1 << 20, 1 << 20)
    (tmp_path / "x.idx").write_bytes(pack(header + bytes(100)))
    with pytest.raises(CorruptFile, match="claims 1099511627776 bytes"):
        open_data(tmp_path / "x.idx")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_cut_inside_its_header(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "x.idx").write_bytes(pack(idx_bytes(PIXELS)[:10]))
    with pytest.raises(CorruptFile, match="truncated inside its IDX header"):
        open_data(tmp_path / "x.idx")


def test_idx_without_values(tmp_path: Path) -> None:
    (tmp_path / "x.idx").write_bytes(idx_bytes(PIXELS[:0]))
    with pytest.raises(InvalidData, match=r"holds no samples, its shape is \[0, 28, 28\]"):
        open_data(tmp_path / "x.idx")


def test_gzip_bomb_is_not_unpacked_beyond_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx_bytes(PIXELS[:1]) + bytes(1 << 26)))
    taken = 0
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal taken
        chunk = read(self, size)
        taken += len(chunk)
        return chunk

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(CorruptFile, match="holds more than the 784 bytes"):
        open_data(tmp_path / "x.gz")
    assert taken == 16 + 784 + 1


@pytest.mark.parametrize("cut", [2, 15, 200, -4])
def test_truncated_gzip(tmp_path: Path, cut: int) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx_bytes(PIXELS))[:cut])
    with pytest.raises(CorruptFile, match="not a whole gzip file"):
        open_data(tmp_path / "x.gz")


def test_gzip_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello world"))
    with pytest.raises(CorruptFile, match="not an IDX file, it starts with b'hell'"):
        open_data(tmp_path / "x.gz")


def cifar_folder(folder: Path) -> Path:
    """Two training batches of 6 and 4 records, a test batch of 2, and the files that come along."""
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(cifar_bytes(COLOUR[:6], LABELS[:6]))
    (folder / "data_batch_2.bin").write_bytes(cifar_bytes(COLOUR[6:], LABELS[6:]))
    (folder / "test_batch.bin").write_bytes(cifar_bytes(COLOUR[:2], LABELS[:2]))
    (folder / "batches.meta.txt").write_text("airplane\n")
    return folder


def test_cifar_folder_is_its_training_batches(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path / "cifar")
    samples = open_data(folder)
    assert samples.shape == (10, 3, 32, 32)
    np.testing.assert_array_equal(samples[:], scaled(COLOUR))
    np.testing.assert_array_equal(samples[4:8], scaled(COLOUR[4:8]))
    np.testing.assert_array_equal(samples[8:2:-3], scaled(COLOUR[8:2:-3]))
    np.testing.assert_array_equal(samples[np.array([9, 0, 6, 5, -1])], scaled(COLOUR[[9, 0, 6, 5, -1]]))
    assert samples[np.array([], dtype=int)].shape == (0, 3, 32, 32)
    assert open_labels(folder).tolist() == LABELS


def test_cifar_file_and_test_folder(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path / "cifar")
    assert open_data(folder / "data_batch_2.bin").shape == (4, 3, 32, 32)
    assert open_labels(folder / "test_batch.bin").tolist() == LABELS[:2]
    for batch in folder.glob("data_batch_*.bin"):
        batch.unlink()
    assert len(open_data(folder)) == 2


def test_cifar_is_mapped(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path / "cifar")
    chain = cifar.open_images(cifar.batch_files(folder))
    assert all(isinstance(part, np.memmap) for part in chain._parts)


@pytest.mark.parametrize("first", [0, 8])
def test_cifar_that_looks_like_idx_is_told_by_its_name(tmp_path: Path, first: int) -> None:
    image = COLOUR[:1].copy()
    image.reshape(-1)[:3] = 0, 8, 3
    (tmp_path / "data_batch_1.bin").write_bytes(cifar_bytes(image, [first]))
    np.testing.assert_array_equal(open_data(tmp_path / "data_batch_1.bin")[:], scaled(image))


def test_cifar_transposed_and_normalised_per_channel(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path / "cifar")
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.25, 2.0], np.float32)
    steps = Preprocessing(mean=mean.tolist(), std=std.tolist(), shape=(32, 32, 3))
    expected = (scaled(COLOUR).transpose(0, 2, 3, 1) - mean) / std
    batch = open_data(folder, preprocessing=steps)[:]
    np.testing.assert_allclose(batch, expected, rtol=1e-6, atol=1e-6)
    assert batch.flags.c_contiguous
    flat = open_data(folder, preprocessing=Preprocessing(mean=mean.tolist(), std=std.tolist(), shape=(3072,)))[:]
    np.testing.assert_allclose(flat, expected.transpose(0, 3, 1, 2).reshape(10, -1), rtol=1e-6, atol=1e-6)


def test_cifar_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(cifar_bytes(COLOUR, LABELS)[:-1])
    with pytest.raises(CorruptFile, match="30729 bytes are not a whole number of CIFAR-10 records of 3073 bytes"):
        open_data(tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(cifar_bytes(COLOUR[:2], [1, 10]))
    with pytest.raises(CorruptFile, match="label 10 in record 1"):
        open_labels(tmp_path / "b.bin")
    (tmp_path / "c.bin").write_bytes(b"")
    with pytest.raises(InvalidData, match="empty file"):
        open_data(tmp_path / "c.bin")
    folder = cifar_folder(tmp_path / "cifar")
    (folder / "data_batch_2.bin").write_bytes(b"")
    with pytest.raises(InvalidData, match=r"data_batch_2\.bin: empty file"):
        open_data(folder)
    with pytest.raises(
        InvalidData, match=r"samples of shape \[3, 32, 32\] do not fit the network's input \[1, 28, 28\]"
    ):
        open_data(folder / "test_batch.bin", preprocessing=Preprocessing(shape=(1, 28, 28)))
