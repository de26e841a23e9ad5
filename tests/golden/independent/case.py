"""A golden case as a reader of another language sees it: a JSON file and a safetensors file."""

from __future__ import annotations

import json
import struct
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch

Tensor: TypeAlias = torch.Tensor

KINDS = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Name -> array, read by the description of the layout in the format's page."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = KINDS[entry["dtype"]]
        flat = torch.frombuffer(bytearray(raw[begin:end]), dtype=kind) if end > begin else torch.zeros(0, dtype=kind)
        arrays[name] = flat.reshape(entry["shape"])
    return arrays


class Case:
    """Manifest and arrays of one folder; floating-point arrays come in the precision asked for."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.arrays = read_safetensors(folder / "arrays.safetensors")
        self.dtype = dtype
        self.layers: list[dict[str, Any]] = self.manifest["layers"]
        self.steps: list[dict[str, Any]] = self.manifest["steps"]
        self.options: dict[str, Any] = self.manifest["options"]
        self.input: str = self.manifest["input"]
        self.logits: str = self.manifest["logits"]
        self.explained: str = self.manifest["explained"]

    def array(self, name: str) -> Tensor:
        array = self.arrays[name]
        return array.to(self.dtype) if array.is_floating_point() else array

    @cached_property
    def where(self) -> dict[str, str]:
        """Name in a candidate, or of a given array -> name of the stored array."""
        stored = {given["name"]: given["array"] for given in self.manifest["given"]}
        for stage in self.manifest["stages"]:
            stored |= {tensor["name"]: tensor["array"] for tensor in stage["tensors"]}
        return stored

    def has(self, name: str) -> bool:
        return name in self.where

    def golden(self, name: str) -> Tensor:
        return self.array(self.where[name])

    def value(self, tensor: str) -> Tensor:
        """Golden X [n, *shape]."""
        if tensor == self.input:
            return self.golden("x")
        return self.golden(f"source/{tensor}" if self.has(f"source/{tensor}") else f"forward/value/{tensor}")

    @property
    def starts(self) -> list[str]:
        """The tensors that no layer makes: the input, and those that are given beside it."""
        given = [entry["name"] for entry in self.manifest["given"]]
        return [self.input, *(name.removeprefix("source/") for name in given if name.startswith("source/"))]

    def parameter(self, layer: dict[str, Any], name: str) -> Tensor:
        return self.array(layer["parameters"][name])

    def left_out(self, layer: dict[str, Any]) -> bool:
        """Whether a parameter is not in the case, for its size."""
        return None in layer["parameters"].values()
