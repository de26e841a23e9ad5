"""Attention rollouts of one sample, entry by entry: matrices of tokens multiplied from the first layer to the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.oracles.spec import Array


def product(a: Array, b: Array) -> Array:
    made = np.zeros((len(a), b.shape[1]))
    for i, j in np.ndindex(*made.shape):
        made[i, j] = sum(a[i, k] * b[k, j] for k in range(len(b)))
    return made


def over_heads(weights: Array) -> Array:
    """[heads, T, T] -> [T, T]."""
    made = np.zeros(weights.shape[1:])
    for i, j in np.ndindex(*made.shape):
        made[i, j] = sum(float(head[i, j]) for head in weights) / len(weights)
    return made


def rollout(weights: Sequence[Array], residual: Sequence[bool]) -> Array:
    """R [T, T] of the weights [heads, T, T] of layers (Abnar and Zuidema 2020)."""
    made = np.eye(weights[0].shape[-1])
    for one, goes_round in zip(weights, residual, strict=True):
        mean = over_heads(one)
        made = product(0.5 * mean + 0.5 * np.eye(len(mean)) if goes_round else mean, made)
    return made


def gradient_rollout(weights: Sequence[Array], slopes: Sequence[Array], residual: Sequence[bool]) -> Array:
    """The same of weights and their gradients (Chefer, Gur and Wolf 2021)."""
    made = np.eye(weights[0].shape[-1])
    for one, slope, goes_round in zip(weights, slopes, residual, strict=True):
        positive = np.array([[[max(0.0, v) for v in row] for row in head] for head in one * slope])
        added = product(over_heads(positive), made)
        made = made + added if goes_round else added
    return made
