"""A small BERT and a small vision transformer in torch, written so that onnxruntime's optimiser knows them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

WORDS, TOKENS, WIDTH, HEADS = 20, 6, 16, 2


def block() -> Any:
    made: dict[str, Any] = {name: nn.Linear(WIDTH, WIDTH) for name in "qkvo"}
    made |= {"wide": nn.Linear(WIDTH, 2 * WIDTH), "back": nn.Linear(2 * WIDTH, WIDTH)}
    return nn.ModuleDict(made | {"one": nn.LayerNorm(WIDTH), "two": nn.LayerNorm(WIDTH)})


def attended(layer: Any, x: Any, added: Any) -> Any:
    q, k, v = (
        layer[n](x).view(x.size(0), x.size(1), HEADS, WIDTH // HEADS).permute(0, 2, 1, 3) for n in ("q", "k", "v")
    )
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(WIDTH // HEADS)
    weights = (scores if added is None else scores + added).softmax(-1)
    mixed = torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous()
    return layer["o"](mixed.view(mixed.size(0), mixed.size(1), WIDTH))


class Bert(nn.Module):  # type: ignore[misc]
    """Two blocks, normalised behind their sums, of ids, a mask and types; read at the first token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places, self.types = (nn.Embedding(n, WIDTH) for n in (WORDS, TOKENS, 2))
        self.register_buffer("order", torch.arange(TOKENS)[None])
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(block() for _ in range(2))
        self.pool, self.end = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        x = self.words(input_ids) + self.types(token_type_ids)
        x = self.norm(x + self.places(self.order[:, : input_ids.size(1)]))
        added = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * -10000.0
        for layer in self.blocks:
            x = layer["one"](attended(layer, x, added) + x)
            x = layer["two"](layer["back"](nn.functional.gelu(layer["wide"](x))) + x)
        return self.end(torch.tanh(self.pool(x[:, 0])))


class VisionTransformer(nn.Module):  # type: ignore[misc]
    """Two blocks, normalised in front, of patches of an image and a class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, 5, WIDTH))
        self.blocks = nn.ModuleList(block() for _ in range(2))
        self.norm, self.end = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, pixels: Any) -> Any:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.size(0), -1, -1), x], dim=1) + self.places
        for layer in self.blocks:
            x = attended(layer, layer["one"](x), None) + x
            x = layer["back"](nn.functional.gelu(layer["wide"](layer["two"](x)))) + x
        return self.end(self.norm(x)[:, 0])


def samples(name: str, count: int = 30) -> dict[str, Any]:
    """Arrays by the name of the input; masks shut the last tokens of some samples."""
    rng = torch.Generator().manual_seed(1)
    if name == "vit":
        return {"pixels": torch.randn(count, 3, 8, 8, generator=rng)}
    long = torch.randint(3, TOKENS + 1, (count, 1), generator=rng)
    return {
        "input_ids": torch.randint(0, WORDS, (count, TOKENS), generator=rng),
        "attention_mask": (torch.arange(TOKENS)[None] < long).long(),
        "token_type_ids": (torch.arange(TOKENS)[None] > 2).long().repeat(count, 1),
    }


NETWORKS: Mapping[str, Any] = {"bert": Bert, "vit": VisionTransformer}


def exported(name: str, path: Path, *, dynamo: bool, free: bool = False) -> None:
    """free: whether the number of tokens is left open, where ids are read."""
    model, given = NETWORKS[name]().eval(), samples(name, 4)
    told: dict[str, Any] = {"input_names": [*given]}
    if dynamo:
        told |= {"dynamo": True, "dynamic_shapes": tuple({0: torch.export.Dim("n")} for _ in given), "verbose": False}
    else:
        told |= {
            "dynamo": False,
            "opset_version": 14,
            "dynamic_axes": {one: {0: "n"} | ({1: "t"} if free else {}) for one in given},
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, tuple(given.values()), str(path), **told)
