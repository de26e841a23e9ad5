"""What a file makes a reader do is decided before it is done: memory, depth, digits, and what is read at all."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import builtin, open_boxes, open_data, open_labels
from mipin_ref.data import numpy_files as readers
from mipin_ref.errors import CorruptFile, InvalidData, MipinError
from mipin_ref.reading import HARMLESS_BYTES, JSON_DEPTH, RATIO_LIMIT, UNPACKED_BYTES, check_unpacking
from tests.data.formats import idx_bytes, npy_bytes, npy_header, write_image, write_zip
from tests.data.peak import peak_of

ZEROS = bytes(1 << 20)


def zeros_npz(path: Path, mebibytes: int) -> Path:
    """A compressed member x.npy of so many MiB of zeros."""
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({mebibytes}, 1048576), }}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole, whole.open("x.npy", "w") as member:
        member.write(header)
        for _ in range(mebibytes):
            member.write(ZEROS)
    return path


def zeros_gz(path: Path, mebibytes: int) -> Path:
    """A gzipped IDX file of so many MiB of zeros."""
    with gzip.open(path, "wb", 1) as whole:
        whole.write(bytes([0, 0, 8, 2]) + struct.pack(">II", mebibytes, 1 << 20))
        for _ in range(mebibytes):
            whole.write(ZEROS)
    return path


@pytest.mark.parametrize(("name", "write"), [("x.npz", zeros_npz), ("x.idx.gz", zeros_gz)])
def test_a_file_that_unpacks_to_much_more_is_refused_before(tmp_path: Path, name: str, write: Any) -> None:
    path = write(tmp_path / name, 300)
    assert path.stat().st_size < 3 << 20

    def refused() -> None:
        with pytest.raises(InvalidData, match=r"would take 0\.3 GB of memory; store the values uncompressed"):
            open_data(path)

    assert peak_of(refused) < 4 << 20


def test_honest_compression_is_read(tmp_path: Path) -> None:
    """Natural values, and the little that is all zeros."""
    values = np.random.default_rng(0).integers(0, 4, (64, 1 << 10), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", x=values)
    assert open_data(tmp_path / "x.npz").shape == (64, 1 << 10)
    assert open_data(zeros_npz(tmp_path / "y.npz", 20)).shape == (20, 1 << 20)
    assert open_data(zeros_gz(tmp_path / "y.gz", 20)).shape == (20, 1 << 20)


def test_the_budget_of_what_is_unpacked() -> None:
    check_unpacking("x", HARMLESS_BYTES, HARMLESS_BYTES // 1000)
    check_unpacking("x", UNPACKED_BYTES, UNPACKED_BYTES // RATIO_LIMIT + 1)
    with pytest.raises(InvalidData):
        check_unpacking("x", UNPACKED_BYTES + 1, UNPACKED_BYTES)
    with pytest.raises(InvalidData):
        check_unpacking("x", HARMLESS_BYTES + 1, HARMLESS_BYTES // RATIO_LIMIT - 1)
    with pytest.raises(CorruptFile, match="more than 10 compressed ones can hold"):
        check_unpacking("x", 10_321, 10)


SHAPES = [
    "(True, 128)",
    "(False,)",
    "(-1, 2)",
    f"({10**400}, 2)",
    f"({2**63},)",
    "(2.0, 3)",
    "('a',)",
    "(1,) * 9",
    "[" * 90,
]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
@pytest.mark.parametrize("packed", [False, True], ids=["npy", "npz"])
def test_absurd_shapes(tmp_path: Path, shape: str, packed: bool) -> None:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) + 1) + text + b"\n"
    path = tmp_path / "x.npy"
    path.write_bytes(header + bytes(1024))
    if packed:
        path = write_zip(tmp_path / "x.npz", {"x.npy": header + bytes(1024)}, zipfile.ZIP_DEFLATED)
    for door in (open_data, open_labels):
        with pytest.raises(CorruptFile if door is open_data or not packed else MipinError, match=path.name):
            door(path)


@pytest.mark.parametrize("door", [open_data, open_labels])
def test_a_header_is_not_read_beyond_what_numbers_need(tmp_path: Path, door: Any) -> None:
    """A gigabyte that is announced as header is not read: the file has a hole there, which takes no disk."""
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30))
        file.truncate((1 << 30) + 12)

    def refused() -> None:
        with pytest.raises(CorruptFile, match="claims a header of 1073741824 bytes"):
            door(path)

    assert peak_of(refused) < 4 << 20


@pytest.mark.parametrize("descr", ["[('a', '<f4')]", "('<f4', (2, 2))", "'|V8'", "[('a', 'O')]", "'|O'"])
def test_records_and_objects_are_refused(tmp_path: Path, descr: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': (2, 2), }}") + bytes(64))
    with pytest.raises(MipinError, match=r"x\.npy"):
        open_data(path)


def test_a_header_that_python_warns_of(tmp_path: Path) -> None:
    """Warnings are errors in these tests; to a user they would be lines of Python."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header(r"{'descr': '<f8', 'fortran_order': False, 'shape': (1if 1else 1, 128), 'a': '\d'}"))
    with pytest.raises(CorruptFile, match=r"x\.npy: not a whole \.npy header"):
        open_data(path)


def test_the_directory_of_an_archive_has_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "x.npz", {"x.npy": npy_bytes(np.zeros((2, 3)))})
    assert open_data(path).shape == (2, 3)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\5\6") + 12
    content[at : at + 4] = struct.pack("<I", 1 << 30)
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match=r"x\.npz"):
        open_data(path)
    monkeypatch.setattr(readers, "DIRECTORY_BYTES", 10)
    with pytest.raises(CorruptFile, match="the archive's directory takes more than"):
        open_data(write_zip(tmp_path / "y.npz", {"x.npy": npy_bytes(np.zeros((2, 3)))}))


def test_an_archive_whose_directory_lies_elsewhere(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.npz", {"x.npy": npy_bytes(np.zeros((2, 3))), "y.npy": npy_bytes(np.arange(2))})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\5\6") + 16
    content[at : at + 4] = struct.pack("<I", struct.unpack("<I", content[at : at + 4])[0] + (1 << 20))
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match=r"x\.npz: not a whole \.npz archive"):
        open_data(path)
    with pytest.raises(CorruptFile, match=r"x\.npz: not a whole \.npz archive"):
        open_labels(path)


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.npy")
    return folder / "pipe.npy"


@pytest.mark.parametrize("make", [fifo, lambda folder: Path("/dev/zero"), lambda folder: folder / "no" / "x.npy"])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Any) -> None:
    """A pipe would wait for ever, and a device has no end."""
    path = make(tmp_path)
    net = mr.load(builtin("mnist_mlp").model, check=False)
    for door in (
        open_data,
        open_labels,
        lambda path: open_boxes(path, tmp_path, samples=1, shape=(1, 2, 2)),
        lambda path: mr.load_inverse(path, net),
        lambda path: mr.load_patterns(path, net),
        lambda path: mr.golden.verify(builtin("mnist_mlp").model.parent, path),
        mr.load,
    ):
        with pytest.raises(InvalidData):
            door(path)


@pytest.mark.parametrize("name", ["data_batch_1.bin", "a.png"])
def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InvalidData, match="holds no PNG or JPEG image and no CIFAR-10 batch"):
        open_data(tmp_path)


PATHS = ["a\0b", "a" * 5000, "/".join(["a" * 250] * 40), "\ud800", 3, None, b"x.npy", ["x"], 10**5000]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_what_is_no_path(tmp_path: Path, path: Any) -> None:
    net = mr.load(builtin("mnist_mlp").model, check=False)
    for door in (
        open_data,
        open_labels,
        lambda path: open_boxes(path, tmp_path, samples=1, shape=(1, 2, 2)),
        lambda path: mr.load_inverse(path, net),
        lambda path: mr.load_patterns(path, net),
        mr.golden.read_case,
    ):
        with pytest.raises(InvalidData) as raised:
            door(path)
        assert len(str(raised.value)) < 12_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "[" * (JSON_DEPTH + 1) + "]" * (JSON_DEPTH + 1),
        '{"a.png": [0, 0, 1, ' + "9" * 5000 + "]}",
        "\xff",
        "1" * 4000,
    ],
    ids=["open", "deep", "digits", "no UTF-8", "one number"],
)
def test_json_that_is_not_read(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    path = tmp_path / "boxes.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(CorruptFile, match=r"boxes\.json: not a JSON file"):
        open_boxes(path, tmp_path / "images", samples=1, shape=(3, 4, 4))


def test_json_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    with path.open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(CorruptFile, match="a JSON file of more than 32 MiB"):
        open_boxes(path, tmp_path, samples=1, shape=(3, 4, 4))


def test_depth_and_digits_that_are_read(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    path = tmp_path / "boxes.json"
    deep: Any = {"b.png": 0}
    for _ in range(JSON_DEPTH - 4):
        deep = [deep]
    path.write_text(json.dumps({"a.png": [0, 0, 4, 4], "other": deep, "number": 2**120}))
    assert open_boxes(path, tmp_path / "images", samples=1, shape=(3, 4, 4))[0].tolist() == [[0, 0, 4, 4]]


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"tRNS", b"PLTE", b"gAMA", b"eXIf", b"acTL", b"fcTL"])
def test_damaged_chunks_of_images_are_named(tmp_path: Path, kind: bytes) -> None:
    """Chunks of a right checksum and no sense, behind which Pillow raises what it did not mean to."""
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    body = b"\xff\0\xff"
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    told = _shape_or_refusal(tmp_path / "a.png")
    assert told == "(1, 3, 4, 4)" or "a.png" in told


def _shape_or_refusal(path: Path) -> str:
    try:
        return str(open_data(path)[0:1].shape)
    except CorruptFile as error:
        return str(error)


def test_idx_of_too_many_values(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"
    path.write_bytes(idx_bytes(np.zeros((2, 3), np.uint8))[:4] + struct.pack(">II", 2**32 - 1, 2**32 - 1) + bytes(6))
    with pytest.raises(CorruptFile, match=r"x\.idx: the IDX header claims"):
        open_data(path)
