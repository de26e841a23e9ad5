"""Weights beside a file: read where they lie as told within its folder, else refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from tests.graph.limited import in_little_memory, load_limited
from tests.graph.sketch import Sketch


def external(folder: Path, location: str, *, length: int | str | None = None, offset: int | str | None = None) -> Path:
    """A model whose one weight [4, 3] is said to lie in `location`."""
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def weights(path: Path, elements: int = 12) -> Path:
    path.write_bytes(np.ones(elements, np.float32).tobytes())
    return path


def test_external_data_that_is_in_order(tmp_path: Path) -> None:
    weights(tmp_path / "w.bin", 20)
    assert mr.load(external(tmp_path, "w.bin", offset=16, length=48)).layers


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    outside = weights(tmp_path / "outside.bin")
    for location in ("../outside.bin", str(outside), "sub/../../outside.bin"):
        with pytest.raises(mr.CorruptFile):
            mr.load(external(tmp_path / "model", location))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_external_data_through_a_link(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    path = external(tmp_path / "model", "w.bin")
    link(weights(tmp_path / "secret.bin"), tmp_path / "model" / "w.bin")
    with pytest.raises(mr.CorruptFile):
        mr.load(path)


@pytest.mark.parametrize(
    ("elements", "offset", "length"),
    [(11, None, None), (12, 4, None), (12, None, 400), (12, 400, None), (13, None, None), (12, -8, 48), (12, 0, -48)],
)
def test_external_data_of_the_wrong_length(
    elements: int, offset: int | None, length: int | None, tmp_path: Path
) -> None:
    path = external(tmp_path, "w.bin", offset=offset, length=length)
    weights(tmp_path / "w.bin", elements)
    with pytest.raises(mr.CorruptFile):
        mr.load(path)


@pytest.mark.parametrize(
    ("elements", "offset", "length", "message"),
    [
        (11, None, None, "takes 48 bytes, and 44 in 'w.bin'"),
        (12, None, 40, "takes 48 bytes, and 40 in 'w.bin'"),
        (12, 4, None, "takes 48 bytes, and 44 in 'w.bin'"),
        (12, -8, None, "said to take 56 bytes at -8 of 'w.bin', which has 48"),
        (12, 400, None, "at 400 of 'w.bin', which has 48"),
        (12, None, -48, "said to take -48 bytes at 0"),
        (12, "ten", None, "the offset of tensor '.+' is 'ten', and no number of bytes"),
        (12, None, "9" * 6000, "the length of tensor '.+' is '999"),
    ],
)
def test_external_data_say_what_is_wrong_with_which_file(
    elements: int, offset: int | str | None, length: int | str | None, message: str, tmp_path: Path
) -> None:
    path = external(tmp_path, "w.bin", offset=offset, length=length)
    weights(tmp_path / "w.bin", elements)
    with pytest.raises(mr.CorruptFile, match=f"external data of '.+model.onnx' cannot be read: .*{message}") as told:
        mr.load(path)
    assert len(str(told.value)) < 1000


def test_external_data_much_longer_than_its_tensor(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 30)  # a sparse file: it takes no room on the disk
    with in_little_memory(), pytest.raises(mr.CorruptFile, match="has shape"):
        mr.load(path)


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(mr.CorruptFile):
        mr.load(external(tmp_path, "w.bin"))
    with pytest.raises(mr.CorruptFile):
        mr.load(external(tmp_path, ""))


def test_external_data_of_bytes() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(mr.InvalidData, match="pass the path"):
        mr.load(model)


def beside(folder: Path, *locations: tuple[str, int], elements: int = 12) -> Path:
    """A model with one weight [4, elements / 4] each at an offset of a file."""
    sketch = Sketch(4)
    out = [sketch.node("MatMul", "x", sketch.normal(4, 3)) for _ in locations]
    model = sketch.model(sketch.node("Sum", *out))
    for tensor, (location, offset) in zip(model.graph.initializer, locations, strict=True):
        tensor.ClearField("raw_data")
        tensor.dims[:] = [4, elements // 4]
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": offset, "length": 4 * elements}.items():
            tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_missing_external_data_are_called_that(tmp_path: Path) -> None:
    with pytest.raises(mr.CorruptFile, match=r"external data file 'weights.bin' of .*model.onnx' is missing"):
        mr.load(beside(tmp_path, ("weights.bin", 0)))


def test_only_what_the_model_uses_is_read(tmp_path: Path) -> None:
    """A terabyte that nobody wrote, behind and before the weights."""
    path = beside(tmp_path, ("weights.bin", 0), ("weights.bin", 1 << 30))
    with (tmp_path / "weights.bin").open("wb") as file:
        file.write(np.ones(12, np.float32).tobytes())
        file.seek(1 << 30)
        file.write(np.ones(12, np.float32).tobytes())
        file.truncate(1 << 40)
    assert load_limited(path).message.startswith("loaded")


def test_the_hash_is_of_what_is_used(tmp_path: Path) -> None:
    path = beside(tmp_path, ("weights.bin", 16))
    data = np.arange(20, dtype=np.float32)
    hashes = []
    for place in (None, 0, 7, 19):
        changed = data.copy()
        if place is not None:
            changed[place] += 1
        (tmp_path / "weights.bin").write_bytes(changed.tobytes())
        hashes.append(mr.load(path).sha256)
    assert hashes[0] == hashes[1] == hashes[3] != hashes[2]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 40])
def test_weights_in_a_hole(count: int, tmp_path: Path) -> None:
    """A download that has not ended; or one part of a file for many weights."""
    path = beside(tmp_path, *[("weights.bin", 0)] * count, elements=1 << 26 if count == 1 else 1 << 20)
    with (tmp_path / "weights.bin").open("wb") as file:
        file.write(np.ones(1 << (10 if count == 1 else 20), np.float32).tobytes())
        file.truncate(1 << 40)
    assert "are written" in load_limited(path).message
