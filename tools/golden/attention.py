"""Golden cases: attention of tokens, with a class token that is read alone, pooling by weights, and rows of a table."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_attention() -> CaseRecipe:
    """Two heads look at four patches with positions behind a class token, which alone is read at the end."""
    s = Sketch(60, 2, 4, 4, opset=20)
    s.conv("patches", 2, 4, 2, 2, strides=[2, 2])
    s.join("Reshape", "map", s.last, np.array([0, 4, 4]))
    s.join("Transpose", "rows", s.last, perm=[0, 2, 1])
    s.join("Shape", "count", s.last, start=0, end=1)
    s.join("Concat", "wanted", s.last, np.array([1, 4]), axis=0)
    s.join("Expand", "class", 0.5 * s.normal(1, 1, 4), s.last)
    s.join("Concat", "joined", "class", "rows", axis=1)
    stream = s.join("Add", "placed", s.last, 0.5 * s.normal(1, 5, 4))
    s.node("LayerNormalization", "normed", 0.5 + s.rng.random(4), 0.2 * s.normal(4), axis=-1, epsilon=1e-6)
    normed = s.last
    for name, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        s.last = normed
        s.tokens(name, 4, 4)
        s.join("Reshape", f"{name}.heads", s.last, np.array([0, 0, 2, 2]))
        s.join("Transpose", f"{name}.turned", s.last, perm=order)
    s.join("MatMul", "products", "query.turned", "key.turned")
    s.join("Mul", "scores", s.last, np.array(0.7))
    weights = s.join("Softmax", "weights", s.last, axis=-1)
    s.join("MatMul", "mixed", weights, "value.turned")
    s.join("Transpose", "mixed.turned", s.last, perm=[0, 2, 1, 3])
    s.join("Reshape", "attended", s.last, np.array([0, 0, 4]))
    s.tokens("projected", 4, 4)
    s.join("Add", "sum1", s.last, stream)
    s.tokens("wide", 4, 6)
    s.relu("relu1")
    s.join("Gather", "first", s.last, np.array(0), axis=1)
    s.head(6)
    return recipe(s, 8)


@case
def golden_pooled() -> CaseRecipe:
    """Tokens are pooled by weights of one query, read beside by a mean; both of one tensor."""
    s = Sketch(61, 5, 3, opset=20)
    s.tokens("dense1", 3, 4)
    content = s.relu("relu1")
    s.tokens("score", 4, 1)
    s.join("Transpose", "turned", s.last, perm=[0, 2, 1])
    s.join("Softmax", "weights", s.last, axis=-1)
    s.join("MatMul", "pooled", s.last, content)
    s.join("ReduceMean", "mean", content, np.array([1]), keepdims=1)
    s.join("Add", "sum1", "pooled", "mean")
    s.relu("relu2")
    s.head(4)
    return recipe(s, 7)


@case
def golden_embeddings() -> CaseRecipe:
    """Ids pick rows of a table, with positions; zeros among them are masked where tokens are pooled by weights."""
    s = Sketch(62, 6, opset=20, whole=True)
    s.join("Gather", "embedded", s.normal(9, 4), "input")
    s.node("Add", "placed", 0.5 * s.normal(1, 6, 4))
    s.node("LayerNormalization", "normed", 0.5 + s.rng.random(4), 0.2 * s.normal(4), axis=-1, epsilon=1e-6)
    s.tokens("dense1", 4, 5)
    content = s.relu("relu1")
    s.tokens("score", 5, 1)
    s.join("Transpose", "turned", s.last, perm=[0, 2, 1])
    s.join("Equal", "padding", "input", np.array(0))
    s.node("Unsqueeze", "padding.row", np.array([1]))
    s.join("Where", "masked", s.last, np.array(-1e4), "turned")
    s.join("Softmax", "weights", s.last, axis=-1)
    s.join("MatMul", "pooled", s.last, content)
    s.head(5)
    lengths = s.rng.integers(3, 7, 10)
    ids = np.where(np.arange(6) < lengths[:, None], s.rng.integers(1, 9, (10, 6)), 0)
    return recipe(s, x=ids)
