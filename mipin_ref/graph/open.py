"""The door: an ONNX file, bytes or proto becomes a checked model with a hash; nothing hostile gets further."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, checker, external_data_helper, helper, inliner

from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.graph.node import MAX_ELEMENTS

MAX_FILE = 1 << 31
"""Bytes: no protobuf message is larger."""


@dataclass(frozen=True)
class Opened:
    """proto: the model with every weight inside; path: of the file that says the same; external: whether weights lie
    beside it; sha256: of the file and what lies beside it.
    """

    proto: ModelProto
    path: Path | None
    external: bool
    sha256: str


def open_model(source: str | Path | bytes | ModelProto) -> Opened:
    """Parse and check a model.

    Raises InvalidData where there is no such file, CorruptFile where it is no valid ONNX model or where external data
    leave the model's folder (by `..`, an absolute path, a symbolic or a hard link).
    """
    if isinstance(source, ModelProto):
        try:
            data = source.SerializeToString(deterministic=True)
        except (ValueError, EncodeError) as error:
            raise InvalidData(
                "the ModelProto is larger than 2 GB: save it with external data and pass its path"
            ) from error
        return _from_bytes(data, "the ModelProto")
    if isinstance(source, bytes | bytearray):
        return _from_bytes(bytes(source), "the bytes given")
    if not isinstance(source, str | os.PathLike):
        raise InvalidData(f"a model is given as a path, bytes or a ModelProto, not as {type(source).__name__}")
    return _from_path(Path(source))


def _from_bytes(data: bytes, what: str) -> Opened:
    proto = _parse(data, what)
    if any(_is_external(t) for t in _tensors(proto)):
        raise InvalidData(f"{what} refer to external data: pass the path of the .onnx file instead")
    _check(data, what)
    return Opened(_inlined(proto, what), None, False, hashlib.sha256(data).hexdigest())


def _from_path(path: Path) -> Opened:
    what = f"{str(path)!r}"
    if path.is_dir():
        raise InvalidData(f"{what} is a folder, not an ONNX file")
    if not path.is_file():
        raise InvalidData(f"there is no file {what}")
    try:
        if path.stat().st_size > MAX_FILE:
            raise CorruptFile(f"{what} is larger than the 2 GB that an ONNX file can have")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidData(f"{what} cannot be read: {error.strerror}") from error
    if not _is_utf8(path):
        # Neither onnx nor onnxruntime opens such a path.
        return _from_bytes(data, what)
    digest = hashlib.sha256(data)
    proto = _parse(data, what)
    del data
    # The checker is the only one that refuses a hard link, and only when it is given the path.
    _check(str(path), what)
    external = [t for t in _tensors(proto) if _is_external(t)]
    locations = sorted({_entry(t, "location") for t in external})
    if not external:
        inlined = _inlined(proto, what)
        return Opened(inlined, path if inlined is proto else None, False, digest.hexdigest())
    try:
        for tensor in external:
            _check_extent(tensor, path.parent)
        external_data_helper.load_external_data_for_model(proto, str(path.parent))
    except (checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise CorruptFile(f"external data of {what} cannot be read: {_first_line(error)}") from error
    for location in locations:
        with (path.parent / location).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return Opened(_inlined(proto, what), path, True, digest.hexdigest())


def _is_utf8(path: Path) -> bool:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(data: bytes, what: str) -> ModelProto:
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise CorruptFile(f"{what} is not an ONNX model, or is truncated") from error
    if not proto.graph.node or proto.ir_version < 1:
        raise CorruptFile(f"{what} is not an ONNX model: it holds no graph")
    # protobuf hands out text that is no UTF-8 as bytes, and takes it back nowhere.
    if not all(isinstance(name, str) for name in _names(proto)):
        raise CorruptFile(f"{what} is not a valid ONNX model: one of its names is not UTF-8 text")
    return proto


def _names(proto: ModelProto) -> Iterator[object]:
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
    for named in (proto.graph.initializer, proto.graph.input, proto.graph.output, proto.functions):
        yield from (entry.name for entry in named)
    yield from (opset.domain for opset in proto.opset_import)
    yield proto.graph.name


def _check(model: bytes | str, what: str) -> None:
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise CorruptFile(f"{what} is not a valid ONNX model: {_first_line(error)}") from error


def _inlined(proto: ModelProto, what: str) -> ModelProto:
    if not proto.functions:
        return proto
    try:
        return inliner.inline_local_functions(proto)
    except (checker.ValidationError, ValueError, RuntimeError, DecodeError) as error:
        raise CorruptFile(f"the functions of {what} cannot be inlined: {_first_line(error)}") from error


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _graph_tensors(graph)


def _check_extent(tensor: TensorProto, folder: Path) -> None:
    """Raises ValueError where a tensor's part of its file is not as long as its shape says."""
    elements = prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or elements > MAX_ELEMENTS:
        raise ValueError(f"tensor {tensor.name!r} asks for shape {list(tensor.dims)}")
    present = (folder / _entry(tensor, "location")).stat().st_size - int(_entry(tensor, "offset") or 0)
    length = int(_entry(tensor, "length") or present)
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    # Types below a byte are packed: their length is at most one byte an element.
    if not 0 <= length <= present or length > elements * itemsize:
        raise ValueError(f"tensor {tensor.name!r} has shape {list(tensor.dims)}, its data {min(length, present)} bytes")


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def external_files(source: str | Path) -> list[Path]:
    """The files beside a model that hold its weights; none where it cannot be read, of which `open_model` tells why."""
    try:
        proto = onnx.load_model(source, load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return []
    return [Path(source).parent / place for place in sorted({_entry(t, "location") for t in _tensors(proto)} - {""})]
