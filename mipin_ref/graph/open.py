"""The door: an ONNX file, bytes or proto becomes a checked model with a hash; nothing hostile gets further."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, checker

from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.graph.external import entry, is_external, read_external
from mipin_ref.graph.functions import check_expansion, inlined, subgraphs
from mipin_ref.graph.presentable import presentable, tidy
from mipin_ref.graph.sparse import check_sparse
from mipin_ref.text import first_line

MAX_FILE = 1 << 31
"""Bytes: no protobuf message is larger."""

UNREGISTERED = re.compile(r"No Op registered for (\S+) with domain_version of (\d+)")
INSTEAD = {
    "Erfc": "GELU in its approximation by tanh, or with the torch backend of Keras",
    "StatefulPartitionedCall": "with the torch backend of Keras, where it stands for a convolution in groups",
    "Gelu": "at opset 20 or newer",
}
"""What to export in place of operators that exporters are known to leave."""


@dataclass(frozen=True)
class Opened:
    """proto: the model with every weight inside; path: of the file that says the same; external: whether weights lie
    beside it; sha256: of the file and of those weights, in the order in which the file names them.
    """

    proto: ModelProto
    path: Path | None
    external: bool
    sha256: str


def open_model(source: str | Path | bytes | ModelProto) -> Opened:
    """Parse and check a model.

    Raises InvalidData where there is no such file, CorruptFile where it is no valid ONNX model or where external data
    are missing or leave the model's folder (by `..`, an absolute path, a symbolic or a hard link), UnsupportedModel
    where its local functions expand beyond all proportion.
    """
    if isinstance(source, ModelProto):
        try:
            data = source.SerializeToString(deterministic=True)
        except (ValueError, EncodeError) as error:
            raise InvalidData(
                "the ModelProto is larger than 2 GB: save it with external data and pass its path"
            ) from error
        return _opened(data, "the ModelProto", None)
    if isinstance(source, bytes | bytearray):
        return _opened(bytes(source), "the bytes given", None)
    if not isinstance(source, str | os.PathLike):
        raise InvalidData(f"a model is given as a path, bytes or a ModelProto, not as {type(source).__name__}")
    path = Path(source)
    return _opened(_read(path), repr(str(path)), path)


def _read(path: Path) -> bytes:
    what = repr(str(path))
    try:
        if path.is_dir():
            raise InvalidData(f"{what} is a folder, not an ONNX file")
        if not path.is_file():
            raise InvalidData(f"there is no file {what}")
        if path.stat().st_size > MAX_FILE:
            raise CorruptFile(f"{what} is larger than the 2 GB that an ONNX file can have")
        return path.read_bytes()
    except OSError as error:
        raise InvalidData(f"{what} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a character that no path can have
        raise InvalidData(f"{what} cannot be read: {first_line(error)}") from error


def _opened(data: bytes, what: str, path: Path | None) -> Opened:
    """Parse and check the bytes of a model. path: of the file that holds `data`, None where there is none."""
    digest = hashlib.sha256(data)
    proto = _parse(data, what)
    del data
    same = not tidy(proto)
    external = [tensor for tensor in _tensors(proto) if is_external(tensor)]
    if external and path is None:
        raise InvalidData(f"{what} refer to external data: pass the path of the .onnx file instead")
    check_expansion(proto, what)
    _check(proto, what)
    small = inlined(proto, what)
    if small is not proto:
        same, proto, external = False, small, [tensor for tensor in _tensors(small) if is_external(tensor)]
    check_sparse(proto)
    if external and path is not None:
        read_external(external, path.parent, what, digest)
    # onnxruntime opens no path that is not UTF-8.
    opened = path is not None and same and _is_utf8(path)
    return Opened(proto, path if opened else None, bool(external), digest.hexdigest())


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
    if not proto.graph.node or not proto.HasField("ir_version"):
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


def _check(proto: ModelProto, what: str) -> None:
    external = [tensor for tensor in _tensors(proto) if is_external(tensor)]
    try:
        with presentable(proto, external) as shown:
            checker.check_model(shown)
    except (checker.ValidationError, ValueError, OSError, RuntimeError, EncodeError) as error:
        raise CorruptFile(f"{what} is not a valid ONNX model: {_told(first_line(error))}") from error


def _told(reason: str) -> str:
    """What the checker says, with what to do where an exporter left an operator of its own framework in a file."""
    unknown = UNREGISTERED.search(reason)
    if unknown is None:
        return reason
    operator, opset = unknown.groups()
    hint = INSTEAD.get(operator, "a layer that the exporter converts")
    return f"ONNX has no operator {operator!r} at opset {opset}, and the exporter left it in the file: export {hint}"


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        yield from attribute.tensors
        for graph in subgraphs(attribute):
            yield from _graph_tensors(graph)


def external_files(source: str | Path) -> list[Path]:
    """The files beside a model that hold its weights; none where it cannot be read, of which `open_model` tells why."""
    try:
        proto = onnx.load_model(source, load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return []
    return [Path(source).parent / place for place in sorted({entry(t, "location") for t in _tensors(proto)} - {""})]
