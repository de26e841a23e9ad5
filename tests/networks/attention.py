"""Small networks of attention: heads, windows, masks, few queries, pooling by weights, a class token at the end."""

from __future__ import annotations

from collections.abc import Callable

from tests.networks import norms
from tests.networks.norms import conv, layer_norm, normal, tokens
from tests.oracles.spec import (
    Activation,
    Add,
    Attention,
    ChannelAffine,
    Dense,
    Gate,
    Op,
    Reduce,
    Reshape,
    Scores,
    Slice,
    SoftmaxWeights,
    Transpose,
    Where,
)

Part = list[Op]
TOKENS, WIDTH = 12, 4


def patched() -> Part:
    """Tokens of a map [3, 5, 5] that were cut to [4, 3, 4], with their positions."""
    return [
        conv("x", "stem", WIDTH, 3),
        Slice(("stem",), "cut", (0, 1, 0), (WIDTH, 4, 4)),
        Reshape(("cut",), "flat0", (WIDTH, TOKENS)),
        Transpose(("flat0",), "rows", (0, 2, 1)),
        ChannelAffine(("rows",), "t", norms.RNG.random((1, 1)) * 0 + 1, normal(TOKENS, WIDTH)),
    ]


def weights(source: str, output: str, heads: int, count: int = TOKENS, width: int = WIDTH) -> Part:
    """The weights [heads, count, count] of a tensor [count, width] for itself."""
    each = width // heads
    return [
        tokens(source, f"{output}.q", width, width, 2),
        tokens(source, f"{output}.k", width, width, 2),
        Reshape((f"{output}.q",), f"{output}.q1", (count, heads, each)),
        Reshape((f"{output}.k",), f"{output}.k1", (count, heads, each)),
        Transpose((f"{output}.q1",), f"{output}.q2", (0, 2, 1, 3)),
        Transpose((f"{output}.k1",), f"{output}.k2", (0, 2, 3, 1)),
        Scores((f"{output}.q2", f"{output}.k2"), f"{output}.s"),
        SoftmaxWeights((f"{output}.s",), output, 3),
    ]


def ended(source: str, width: int = WIDTH, count: int = TOKENS) -> Part:
    """A Dense of the mean of all tokens."""
    return [
        Reduce((source,), "mean", (1,)),
        Reshape(("mean",), "flat", (width,)),
        Dense(("flat",), "y", normal(width, 3), normal(3)),
    ]


def of_the_first(source: str, width: int = WIDTH) -> Part:
    """A Dense of the first token alone."""
    return [
        Slice((source,), "first", (0, 0), (1, width)),
        Reshape(("first",), "flat", (width,)),
        Dense(("flat",), "y", normal(width, 3), normal(3)),
    ]


def block(source: str, output: str, heads: int) -> Part:
    """Attention and a perceptron beside their stream, each behind a normalisation."""
    return [
        layer_norm(source, f"{output}.n", WIDTH, 2, 2),
        *weights(f"{output}.n", f"{output}.p", heads),
        tokens(f"{output}.n", f"{output}.v", WIDTH, WIDTH, 2),
        Attention((f"{output}.v", f"{output}.p"), f"{output}.a", heads),
        tokens(f"{output}.a", f"{output}.o", WIDTH, WIDTH, 2),
        Add((source, f"{output}.o"), f"{output}.b"),
        layer_norm(f"{output}.b", f"{output}.m", WIDTH, 2, 2),
        tokens(f"{output}.m", f"{output}.w", WIDTH, 6, 2),
        Activation((f"{output}.w",), f"{output}.r", "Relu"),
        tokens(f"{output}.r", f"{output}.z", 6, WIDTH, 2),
        Add((f"{output}.b", f"{output}.z"), output),
    ]


def vision_transformer() -> Part:
    """Two blocks, of which the second is read at its first token."""
    return [*patched(), *block("t", "u", 2), *block("u", "w", 2), *of_the_first("w")]


def encoder() -> Part:
    """Behind the sum, as the first transformers had it, and pooled."""
    return [*patched(), *block("t", "u", 4), layer_norm("u", "n", WIDTH, 2, 2), *ended("n")]


def one_head() -> Part:
    """Values that nothing projects: the stream is the content, beside its residual."""
    return [*patched(), *weights("t", "p", 1), Attention(("t", "p"), "a"), Add(("t", "a"), "b"), *ended("b")]


def masked() -> Part:
    """Scores of later tokens are a large negative number."""
    mask = norms.RNG.random((2, TOKENS, TOKENS)) < 0.6
    mask[:, :, 0] = True
    made = weights("t", "p", 2)
    made[-1:] = [Where(("p.s",), "p.m", mask, -1e4), SoftmaxWeights(("p.m",), "p", 3)]
    return [
        *(*patched(), *made, tokens("t", "v", WIDTH, WIDTH, 2)),
        *(Attention(("v", "p"), "a", 2), Activation(("a",), "r", "Relu"), *ended("r")),
    ]


def pooled() -> Part:
    """One query for all tokens: weights [1, 1, 12] of one number a token."""
    return [
        *patched(),
        tokens("t", "s", WIDTH, 1, 2),
        Transpose(("s",), "s1", (0, 2, 1)),
        Reshape(("s1",), "s2", (1, 1, TOKENS)),
        SoftmaxWeights(("s2",), "p", 3),
        tokens("t", "v", WIDTH, 5, 2),
        Attention(("v", "p"), "a"),
        Reshape(("a",), "flat", (5,)),
        Dense(("flat",), "y", normal(5, 3), normal(3)),
    ]


def crossed() -> Part:
    """Three of the tokens look at all of them, which are the content."""
    return [
        *patched(),
        Slice(("t",), "q0", (2, 0), (5, WIDTH)),
        tokens("q0", "q", WIDTH, WIDTH, 2),
        tokens("t", "k0", WIDTH, WIDTH, 2),
        Transpose(("k0",), "k", (0, 2, 1)),
        Scores(("q", "k"), "s"),
        Reshape(("s",), "s1", (1, 3, TOKENS)),
        SoftmaxWeights(("s1",), "p", 3),
        tokens("t", "v", WIDTH, 5, 2),
        Attention(("v", "p"), "a"),
        *ended("a", 5),
    ]


def windows() -> Part:
    """Three windows of four tokens, in each of which two heads look, with a gate behind."""
    each = (3, 4, WIDTH)
    return [
        *patched(),
        Reshape(("t",), "w", each),
        tokens("w", "q", WIDTH, WIDTH, 3),
        tokens("w", "k", WIDTH, WIDTH, 3),
        Reshape(("q",), "q1", (3, 4, 2, 2)),
        Reshape(("k",), "k1", (3, 4, 2, 2)),
        Transpose(("q1",), "q2", (0, 1, 3, 2, 4)),
        Transpose(("k1",), "k2", (0, 1, 3, 4, 2)),
        Scores(("q2", "k2"), "s"),
        SoftmaxWeights(("s",), "p", 4),
        tokens("w", "v", WIDTH, WIDTH, 3),
        Attention(("v", "p"), "a", 2),
        tokens("a", "g0", WIDTH, WIDTH, 3),
        Activation(("g0",), "g", "Sigmoid"),
        tokens("a", "c", WIDTH, WIDTH, 3),
        Gate(("c", "g"), "d"),
        Reshape(("d",), "e", (TOKENS, WIDTH)),
        *ended("e"),
    ]


def deep() -> Part:
    """Attention of attention: what one mixes another mixes again."""
    return [
        *(*patched(), *weights("t", "p", 2), tokens("t", "v", WIDTH, WIDTH, 2), Attention(("v", "p"), "a", 2)),
        *(*weights("a", "o", 1), Attention(("a", "o"), "b"), Activation(("b",), "r", "Relu"), *of_the_first("r")),
    ]


MADE = (vision_transformer, encoder, one_head, masked, pooled, crossed, windows, deep)
NETWORKS: dict[str, Callable[[], Part]] = {made.__name__: norms.fixed(made) for made in MADE}
"""Networks of inputs [N, *norms.SHAPE], by name."""

EVERY = {**norms.NETWORKS, **NETWORKS}
"""These and those of norms, of the same inputs."""
