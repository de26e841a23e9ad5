"""Small torch transformers that tell what they attend with, and that share relevance as AttnLRP does, for twins."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.exported import Model

WIDTH, HEADS, TOKENS, WORDS = 6, 2, 5, 11
PICTURE = (3, 6, 9)
GRID = (2, 3)


class Share(torch.autograd.Function):  # type: ignore[misc]
    """A value whose gradient is scaled: with gradients times inputs its share of relevance."""

    @staticmethod
    def forward(ctx: Any, x: Any, share: float) -> Any:
        ctx.share = share
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> tuple[Any, None]:
        return gradient * ctx.share, None


def share(x: Any, part: float) -> Any:
    return Share.apply(x, part)


class Block(nn.Module):  # type: ignore[misc]
    """Attention and a perceptron, each behind a norm and beside its stream.

    told: how gradients go: "truly", as "attn-lrp" or as "cp-lrp" shares relevance; weights: those of the last run, with
    their gradients; stream: what went into attention, behind its norm.
    """

    def __init__(self, *, gated: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)
        self.gate = nn.Linear(WIDTH, 8) if gated else None
        self.told = "truly"
        self.weights: Any = None
        self.stream: Any = None

    def normed(self, norm: Any, x: Any) -> Any:
        if self.told == "truly":
            return norm(x)
        centred = x - x.mean(-1, keepdim=True)
        root = ((centred * centred).mean(-1, keepdim=True) + norm.eps).sqrt().detach()
        return centred / root * norm.weight + norm.bias

    def fired(self, x: Any) -> Any:
        return F.relu(x) if self.told == "truly" else x * (F.relu(x) / x).detach()

    def squashed(self, x: Any) -> Any:
        return torch.sigmoid(x) if self.told == "truly" else x * (torch.sigmoid(x) / x).detach()

    def half(self, x: Any) -> Any:
        return share(x, 0.5) if self.told == "attn-lrp" else x

    def state(self, x: Any) -> Any:
        return x.detach() if self.told == "cp-lrp" else self.half(x)

    def forward(self, x: Any) -> Any:
        t = self.stream = self.normed(self.first, x)
        q, k, v = (one.unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in self.qkv(t).chunk(3, -1))
        scores = self.half(q) @ self.half(k).transpose(-2, -1)
        weights = self.weights = (scores * 0.7).softmax(-1)
        mixed = self.state(weights) @ self.half(v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        t = self.normed(self.second, x)
        wide = self.fired(self.up(t))
        if self.gate is not None:
            wide = self.half(wide) * self.state(self.squashed(self.gate(t)))
        return x + self.down(wide)


class Transformer(nn.Module):  # type: ignore[misc]
    """Blocks over tokens, read at the first token or at the mean of all.

    first: whether a learned token stands in front, which is read.
    """

    def __init__(self, count: int, *, first: bool, blocks: int = 2, gated: bool = False) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH)) if first else None
        self.place = nn.Parameter(torch.randn(1, count + first, WIDTH) / 2)
        self.blocks = nn.ModuleList(Block(gated=gated) for _ in range(blocks))
        self.last, self.end = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)
        for one in self.parameters():
            if one.ndim == 1:
                nn.init.normal_(one, 0.4, 0.4)

    def tell(self, told: str) -> None:
        for block in self.blocks:
            block.told = told

    def read(self, x: Any) -> Any:
        if self.first is not None:
            x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.place
        for block in self.blocks:
            x = block(x)
        x = self.blocks[0].normed(self.last, x)
        return self.end(x.sum(1) / x.shape[1] if self.first is None else x[:, 0])

    def forward(self, x: Any) -> Any:
        return self.read(x)


class Vision(Transformer):
    """Patches of 3 × 3 pixels."""

    def __init__(self, **options: Any) -> None:
        super().__init__(GRID[0] * GRID[1], **options)
        self.patch = nn.Conv2d(PICTURE[0], WIDTH, 3, stride=3)

    def forward(self, x: Any) -> Any:
        return self.read(self.patch(x).flatten(2).transpose(1, 2))


class Text(Transformer):
    """Words that a table is looked up for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(TOKENS, **options)
        self.table = nn.Embedding(WORDS, WIDTH)

    def forward(self, x: Any) -> Any:
        return self.read(self.table(x))


def vision(**options: Any) -> Model:
    return Model(Vision(**options), PICTURE)


def sequence(**options: Any) -> Model:
    return Model(Transformer(TOKENS, **options), (TOKENS, WIDTH))
