"""Data files: arrays, IDX, CIFAR-10 batches, images, labels, boxes and class names."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
from PIL import Image

import mipin_ref as mr
from fuzzing.kind import Files, Kind, OneFile
from fuzzing.mutate import mutated, tree_mutated
from mipin_ref.data import Preprocessing, open_boxes, open_data, open_labels
from mipin_ref.explain.class_names import class_names_of

_RNG = np.random.default_rng(14)
PIXELS = _RNG.integers(0, 256, (3, 8, 8), np.uint8)
FLOATS = _RNG.random((3, 2, 4), np.float32)
LABELS = np.array([0, 1, 2])


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(members: dict[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as whole:
        for name, content in members.items():
            whole.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def idx(array: Any) -> bytes:
    code = {"uint8": 8, "int32": 12, "float32": 13}[str(array.dtype)]
    head = bytes([0, 0, code, array.ndim]) + b"".join(struct.pack(">I", axis) for axis in array.shape)
    return bytes(head + array.astype(array.dtype.newbyteorder(">")).tobytes())


def image(form: str, mode: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS.transpose(1, 2, 0)).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


class Arrays(OneFile):
    """Files of samples and labels."""

    def read(self, path: Path) -> None:
        first_read(path, _samples, open_labels)


def first_read(path: Path, *doors: Callable[[Path], Any]) -> None:
    """Ask every door. Raises the refusal of the first where all refuse."""
    refusals = []
    for door in doors:
        try:
            door(path)
        except mr.MipinError as refusal:
            refusals.append(refusal)
    if len(refusals) == len(doors):
        raise refusals[0]


def _samples(path: Path) -> None:
    data = open_data(path)
    data[0:4]
    data[np.array([0])]


def _resized(path: Path) -> None:
    open_data(path, preprocessing=Preprocessing(shape=(3, 6, 5)))[0:2]


class Npy(Arrays):
    name = "npy"
    batch = 4000
    seeds = (
        ("x.npy", npy(FLOATS)),
        ("x.npy", npy(PIXELS)),
        ("x.npy", npy(np.asfortranarray(FLOATS.astype(">f8")))),
        ("x.npy", npy(LABELS)),
    )


MEMBERS = {"x.npy": npy(FLOATS), "y.npy": npy(LABELS), "box.npy": npy(np.zeros((3, 4), int))}


class Npz(Arrays):
    """Archives, of which the members are mutated as often as the whole."""

    name = "npz"
    batch = 2000
    seeds = (("x.npz", archive(MEMBERS, zipfile.ZIP_STORED)), ("x.npz", archive(MEMBERS, zipfile.ZIP_DEFLATED)))

    def changed(self, random: Random, name: str, content: bytes) -> bytes:
        if random.random() < 0.5:
            return super().changed(random, name, content)
        members = dict(MEMBERS)
        chosen = random.choice(list(members))
        members[chosen] = mutated(random, members[chosen], list(MEMBERS.values()))
        return archive(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


class Idx(Arrays):
    """Plain and gzipped, of which what is inside is mutated as often as the whole."""

    name = "idx"
    batch = 4000
    plain = (idx(PIXELS), idx(LABELS.astype(np.int32)), idx(FLOATS))
    seeds = tuple(
        seed for content in plain for seed in (("x.idx", content), ("x.idx.gz", gzip.compress(content, mtime=0)))
    )

    def changed(self, random: Random, name: str, content: bytes) -> bytes:
        if name.endswith(".gz") and random.random() < 0.5:
            return gzip.compress(mutated(random, gzip.decompress(content), self.plain), 1, mtime=0)
        return super().changed(random, name, content)


class Cifar(Arrays):
    name = "cifar"
    batch = 2000
    seeds = (
        ("data_batch_1.bin", bytes([1]) + bytes(3072) + bytes([9]) + bytes(range(256)) * 12),
        ("x.bin", bytes([3]) + bytes(3072)),
    )


class Images(Arrays):
    """PNG and JPEG files; chunks of a PNG have their checksum put right as often as not."""

    name = "image"
    batch = 1500
    seeds = (
        ("x.png", image("PNG", "RGB")),
        ("x.png", image("PNG", "P", transparency=3)),
        ("x.png", image("PNG", "LA")),
        ("x.png", image("PNG", "1", dpi=(72, 72))),
        ("x.jpg", image("JPEG", "RGB")),
        ("x.jpg", image("JPEG", "L", progressive=True, exif=Image.Exif())),
        ("x.jpg", image("JPEG", "CMYK", comment=b"c")),
    )

    def changed(self, random: Random, name: str, content: bytes) -> bytes:
        damaged = super().changed(random, name, content)
        return _with_checksums(damaged) if name == "x.png" and random.random() < 0.5 else damaged

    def read(self, path: Path) -> None:
        first_read(path, _samples, _resized)


def _with_checksums(content: bytes) -> bytes:
    """A PNG file with the right checksum behind each chunk."""
    summed, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + size]
        summed += content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + size
    return bytes(summed)


class Folder(Kind):
    """Folders of images and batches, of which one file is mutated, renamed or left out."""

    name = "folder"
    batch = 400
    layouts = (
        ("a.png", "b.png", "c.jpg"),
        ("cat/a.png", "cat/b.png", "dog/c.jpg"),
        ("data_batch_1.bin", "data_batch_2.bin"),
        ("a.png", ".hidden.png", "text.txt", "deep/er/x.png"),
    )
    names = (
        "x.png",
        "data_batch_9.bin",
        "test_batch.bin",
        "a.png/b.png",
        ".png",
        "é\udcff.png",
        "a" * 200 + ".png",
        "a\nb.jpg",
    )

    def make(self, random: Random) -> Files:
        files = {name: self._content(name) for name in random.choice(self.layouts)}
        chosen = random.choice(list(files))
        content = files.pop(chosen)
        what = random.random()
        if what < 0.6:
            files[chosen] = mutated(random, content, list(files.values()))
        elif what < 0.9:
            name = random.choice(self.names)
            if not any(name.startswith(other + "/") or other.startswith(name + "/") for other in files):
                files[name] = content
        return files

    def _content(self, name: str) -> bytes:
        if name.endswith(".bin"):
            return Cifar.seeds[1][1]
        return Images.seeds[4 if name.endswith(".jpg") else 0][1]

    def ask(self, folder: Path) -> None:
        first_read(folder, _samples, _resized, open_labels)


class Boxes(Kind):
    """Boxes as .json, .npy and .npz."""

    name = "boxes"
    batch = 1500
    told: ClassVar[dict[str, Any]] = {"a.png": [0, 0, 4, 4], "b.png": [[1, 1, 3, 3], [0, 0, 8, 8]]}
    arrays = np.array([[0, 0, 4, 4], [1, 1, 3, 3]])

    def make(self, random: Random) -> Files:
        whole = json.dumps(self.told).encode()
        what = random.random()
        if what < 0.3:
            return {"boxes.json": json.dumps(tree_mutated(random, self.told)).encode()}
        if what < 0.6:
            return {"boxes.json": mutated(random, whole, [whole])}
        if what < 0.8:
            return {"boxes.npy": mutated(random, npy(self.arrays), [whole])}
        return {"boxes.npz": mutated(random, archive({"box.npy": npy(self.arrays)}, zipfile.ZIP_DEFLATED), [whole])}

    def ask(self, folder: Path) -> None:
        data = folder / "images"
        data.mkdir(exist_ok=True)
        for name in self.told:
            if not (data / name).exists():
                (data / name).write_bytes(Images.seeds[0][1])
        for path in sorted(folder.glob("boxes.*")):
            open_boxes(path, data, samples=2, shape=(3, 6, 6))


class Names(OneFile):
    """Class names."""

    name = "names"
    batch = 3000
    told: tuple[Any, ...] = (["one", "two", "three", "four"], {"class_names": ["a", "b", "c", 4]})
    seeds = tuple(("names.json", json.dumps(one).encode()) for one in told)

    def make(self, random: Random) -> Files:
        if random.random() < 0.5:
            return {"names.json": json.dumps(tree_mutated(random, random.choice(self.told))).encode()}
        return super().make(random)

    def read(self, path: Path) -> None:
        names = class_names_of(four_classes(), path)
        "".join(map(names.of, range(4))).encode()


@cache
def four_classes() -> mr.Network:
    """A network of four classes."""
    return mr.load(str(Path(__file__).parents[2] / "models_onnx/golden_mlp/model.onnx"))


KINDS: tuple[type[Kind], ...] = (Npy, Npz, Idx, Cifar, Images, Folder, Boxes, Names)
