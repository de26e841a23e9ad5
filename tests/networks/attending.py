"""Small torch networks of attention in the forms that people write, to be written by torch's exporters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from tests.networks.exported import Model, Of

TOKENS, WIDTH = 6, 8
SHAPE = (TOKENS, WIDTH)


def heads(x: Any, count: int = 2) -> Any:
    """[N, T, C] as [N, heads, T, C / heads]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def joined(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


def attending(mix: Callable[[Any, Any, Any], Any], *, residual: bool = True) -> Any:
    """Queries, keys and values by layers of their own, a residual, a norm, and the mean of the tokens."""

    def run(m: Any, x: Any) -> Any:
        t = m["norm"](m["first"](x))
        made = m["out"](mix(m["q"](t), m["k"](t), m["v"](t)))
        return m["end"](F.relu(made + t if residual else made).mean(1))

    return Of(run, **{name: nn.Linear(WIDTH, WIDTH) for name in ("first", "q", "k", "v", "out")}, **ends())


def ends() -> dict[str, Any]:
    return {"norm": nn.LayerNorm(WIDTH), "end": nn.Linear(WIDTH, 3)}


def by_hand(q: Any, k: Any, v: Any) -> Any:
    return joined((heads(q) @ heads(k).transpose(-2, -1) / 2).softmax(-1) @ heads(v))


def by_einsum(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.unflatten(-1, (2, -1)) for x in (q, k, v))
    weights = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2)


def weights_on_the_right(q: Any, k: Any, v: Any) -> Any:
    """Everything transposed: V stands on the left."""
    weights = (heads(k) @ heads(q).transpose(-2, -1) / 2).softmax(-2)
    return joined((heads(v).transpose(-2, -1) @ weights).transpose(-2, -1))


def grouped(q: Any, k: Any, v: Any) -> Any:
    """Four heads of queries share one of keys and values, by broadcasting."""
    weights = (heads(q, 4) @ k[:, None, :, :2].transpose(-2, -1)).softmax(-1)
    return joined(weights @ v[:, None, :, 2:4])


def dot_products(**options: Any) -> Callable[[Any, Any, Any], Any]:
    return lambda q, k, v: joined(F.scaled_dot_product_attention(heads(q), heads(k), heads(v), **options))


def biased(q: Any, k: Any, v: Any) -> Any:
    """A relative bias on the scores."""
    bias = torch.linspace(-1, 1, TOKENS)[:, None] - torch.linspace(0, 2, TOKENS)
    return joined((heads(q) @ heads(k).transpose(-2, -1) + bias).softmax(-1) @ heads(v))


def rotary(q: Any, k: Any, v: Any) -> Any:
    angle = torch.arange(TOKENS)[:, None] * torch.tensor([1.0, 0.3])
    cosine, sine = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)

    def turned(x: Any) -> Any:
        a, b = x.chunk(2, -1)
        return x * cosine + torch.cat([-b, a], -1) * sine

    return joined((turned(heads(q)) @ turned(heads(k)).transpose(-2, -1)).softmax(-1) @ heads(v))


def scaled_again(q: Any, k: Any, v: Any) -> Any:
    """Weights times a mask behind the softmax."""
    mask = (torch.arange(TOKENS) % 3 > 0).float()
    return joined(((heads(q) @ heads(k).transpose(-2, -1)).softmax(-1) * mask) @ heads(v))


def packed(*, unbound: bool) -> Any:
    """Queries, keys and values of one layer, as in timm."""

    def run(m: Any, x: Any) -> Any:
        n, t, _ = x.shape
        made = m["qkv"](m["norm"](x))
        if unbound:
            q, k, v = made.reshape(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = (heads(one) for one in made.chunk(3, -1))
        x = x + m["out"](joined(F.scaled_dot_product_attention(q, k, v)))
        return m["end"](x[:, 0])

    return Of(run, qkv=nn.Linear(WIDTH, 3 * WIDTH), out=nn.Linear(WIDTH, WIDTH), **ends())


def multihead(*, told: bool, first: bool) -> Any:
    """torch's module. told: whether its weights are asked for; first: whether the batch is the first axis."""

    def run(m: Any, x: Any) -> Any:
        t = m["norm"](x)
        t = t if first else t.transpose(0, 1)
        made = m["mix"](t, t, t, need_weights=told)[0]
        return m["end"]((made if first else made.transpose(0, 1)).mean(1))

    return Of(run, mix=nn.MultiheadAttention(WIDTH, 2, batch_first=first), **ends())


def encoder(*, norm_first: bool) -> Any:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 10, 0.0, F.gelu, batch_first=True, norm_first=norm_first)
    # The fast path is a single operator of torch's own.
    layer.activation_relu_or_gelu = 0
    return Of(lambda m, x: m["end"](m["body"](x)[:, 0]), body=layer, end=nn.Linear(WIDTH, 3))


def crossed() -> Any:
    """Half of the tokens are a memory that the others look at; it is the content."""

    def run(m: Any, x: Any) -> Any:
        mine, memory = x[:, :3], m["norm"](x[:, 3:])
        return m["end"](F.relu(by_hand(m["q"](mine), m["k"](memory), m["v"](memory))).mean(1))

    return Of(run, **{name: nn.Linear(WIDTH, WIDTH) for name in ("q", "k", "v")}, **ends())


def pooled(*, einsum: bool) -> Any:
    """One number a token weighs them."""

    def run(m: Any, x: Any) -> Any:
        t = F.relu(m["first"](x))
        weights = m["score"](t).squeeze(-1).softmax(-1)
        if einsum:
            return m["end"](torch.einsum("nt,ntc->nc", weights, t))
        return m["end"]((weights.unsqueeze(1) @ t).squeeze(1))

    return Of(run, first=nn.Linear(WIDTH, WIDTH), score=nn.Linear(WIDTH, 1), end=nn.Linear(WIDTH, 3))


def linear_attention() -> Any:
    """Keys are a softmax over tokens, queries one over features: two products, each of which is attention."""

    def mix(q: Any, k: Any, v: Any) -> Any:
        summary = heads(k).softmax(-2).transpose(-2, -1) @ heads(v)
        return joined(heads(q).softmax(-1) @ summary)

    return attending(mix)


def classed(*, learned: bool) -> Any:
    """A class token in front, learned or zeros, and positions."""

    class Classed(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
            self.place = nn.Parameter(torch.randn(1, TOKENS + 1, WIDTH))
            self.body = packed(unbound=True)

        def forward(self, x: Any) -> Any:
            first = self.first.expand(x.shape[0], -1, -1) if learned else x.new_zeros(x.shape[0], 1, WIDTH)
            return self.body(torch.cat([first, x], 1) + self.place)

    return Classed()


def swiglu() -> Any:
    """Attention and a gated unit, as in a LLaMA block."""

    def run(m: Any, x: Any) -> Any:
        x = x + by_hand(m["q"](x), m["k"](x), m["v"](x))
        t = m["norm"](x)
        return m["end"]((x + m["down"](F.silu(m["gate"](t)) * m["up"](t))).mean(1))

    parts = {name: nn.Linear(WIDTH, WIDTH) for name in ("q", "k", "v", "gate", "up", "down")}
    return Of(run, **parts, **ends())


def geglu() -> Any:
    def run(m: Any, x: Any) -> Any:
        a, b = m["up"](m["norm"](x)).chunk(2, -1)
        return m["end"]((x + m["down"](a * F.gelu(b))).mean(1))

    return Of(run, up=nn.Linear(WIDTH, 10), down=nn.Linear(5, WIDTH), **ends())


def settled(model: Any) -> Any:
    """With zeros of an initialisation drawn anew, that would leave parts of a network dead."""
    for parameter in model.parameters():
        if parameter.ndim < 2 or not parameter.any():
            nn.init.normal_(parameter, 0.2, 0.3)
    return model


def vision_transformer() -> Any:
    return settled(VisionTransformer(8, 4, 1, 2, 4, 6, num_classes=3))


def swin() -> Any:
    return settled(SwinTransformer([2, 2], 4, [2, 2], [1, 2], [2, 2], mlp_ratio=1.0, num_classes=3))


MODELS: dict[str, Callable[[], Model]] = {
    "attention by hand": lambda: Model(attending(by_hand), SHAPE),
    "attention alone": lambda: Model(attending(by_hand, residual=False), SHAPE),
    "attention by Einsum": lambda: Model(attending(by_einsum), SHAPE),
    "weights on the right": lambda: Model(attending(weights_on_the_right), SHAPE),
    "dot products": lambda: Model(attending(dot_products()), SHAPE),
    "dot products, causal": lambda: Model(attending(dot_products(is_causal=True)), SHAPE),
    "dot products, masked": lambda: Model(
        attending(dot_products(attn_mask=torch.arange(TOKENS)[:, None] >= torch.arange(TOKENS) - 1)), SHAPE
    ),
    "relative bias": lambda: Model(attending(biased), SHAPE),
    "rotary": lambda: Model(attending(rotary), SHAPE),
    "masked behind": lambda: Model(attending(scaled_again), SHAPE),
    "grouped queries": lambda: Model(attending(grouped), SHAPE),
    "packed": lambda: Model(packed(unbound=True), SHAPE),
    "packed, cut": lambda: Model(packed(unbound=False), SHAPE),
    "MultiheadAttention": lambda: Model(multihead(told=True, first=True), SHAPE),
    "MultiheadAttention, weights untold": lambda: Model(multihead(told=False, first=True), SHAPE),
    "MultiheadAttention, time first": lambda: Model(multihead(told=True, first=False), SHAPE),
    "encoder layer": lambda: Model(encoder(norm_first=False), SHAPE),
    "encoder layer, norm first": lambda: Model(encoder(norm_first=True), SHAPE),
    "crossed": lambda: Model(crossed(), SHAPE),
    "attention pooling": lambda: Model(pooled(einsum=False), SHAPE),
    "attention pooling by Einsum": lambda: Model(pooled(einsum=True), SHAPE),
    "linear attention": lambda: Model(linear_attention(), SHAPE),
    "class token": lambda: Model(classed(learned=True), SHAPE),
    "class token of zeros": lambda: Model(classed(learned=False), SHAPE),
    "LLaMA block": lambda: Model(swiglu(), SHAPE),
    "GeGLU": lambda: Model(geglu(), SHAPE),
    "ViT": lambda: Model(vision_transformer(), (3, 8, 8)),
    "Swin": lambda: Model(swin(), (3, 8, 8)),
}
"""By name, each made anew with the weights that torch's generator gives."""
