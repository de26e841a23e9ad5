"""The door: an ONNX file, bytes or proto becomes a checked model with a hash; nothing hostile gets further."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, checker, external_data_helper, inliner

from mipin_ref.errors import CorruptFile, InvalidData


@dataclass(frozen=True)
class Opened:
    """proto: the model with every weight inside; path: where external data were found, else None; sha256: of the file."""

    proto: ModelProto
    path: Path | None
    sha256: str


def open_model(source: str | Path | bytes | ModelProto) -> Opened:
    """Parse and check a model.

    Raises InvalidData where there is no such file, CorruptFile where it is no valid ONNX model or where external data
    leave the model's folder (by `..`, an absolute path, a symbolic or a hard link).
    """
    if isinstance(source, ModelProto):
        return _from_bytes(source.SerializeToString(deterministic=True), "the ModelProto")
    if isinstance(source, bytes | bytearray):
        return _from_bytes(bytes(source), "the bytes given")
    return _from_path(Path(source))


def _from_bytes(data: bytes, what: str) -> Opened:
    proto = _parse(data, what)
    if any(_is_external(t) for t in _tensors(proto)):
        raise InvalidData(f"{what} refer to external data: pass the path of the .onnx file instead")
    _check(proto, what)
    return Opened(_inlined(proto), None, hashlib.sha256(data).hexdigest())


def _from_path(path: Path) -> Opened:
    what = f"{str(path)!r}"
    if not path.is_file():
        raise InvalidData(f"there is no file {what}")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    proto = _parse(path.read_bytes(), what)
    external = sorted({_location(t) for t in _tensors(proto) if _is_external(t)})
    # The checker is the only one that refuses a hard link, and only when it is given the path.
    _check(str(path), what)
    if not external:
        return Opened(_inlined(proto), None, digest.hexdigest())
    try:
        external_data_helper.load_external_data_for_model(proto, str(path.parent))
    except (checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise CorruptFile(f"external data of {what} cannot be read: {_first_line(error)}") from error
    for location in external:
        with (path.parent / location).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return Opened(_inlined(proto), path, digest.hexdigest())


def _parse(data: bytes, what: str) -> ModelProto:
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise CorruptFile(f"{what} is not an ONNX model, or is truncated") from error
    if not proto.graph.node or proto.ir_version < 1:
        raise CorruptFile(f"{what} is not an ONNX model: it holds no graph")
    return proto


def _check(model: ModelProto | str, what: str) -> None:
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise CorruptFile(f"{what} is not a valid ONNX model: {_first_line(error)}") from error


def _inlined(proto: ModelProto) -> ModelProto:
    return inliner.inline_local_functions(proto) if proto.functions else proto


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from proto.graph.initializer
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
