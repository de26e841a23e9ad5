"""Attention rollouts: the matrices by which layers of attention mix tokens, multiplied from the first to the last.

A token's score is what of it reaches, by these products, the tokens that the target reads: a class token, or the mean
over those that are read. It is the same whatever tensor of the same tokens is explained, whose elements share it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray, Layer
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.rules import NOTHING, Rule
from mipin_ref.methods.sweep import Ints, Sweep, SweepRecord
from mipin_ref.methods.token_chain import Chain, Link, attention_of, chain_of, shared_out


class Rollout(BackwardMethod):
    """A method that multiplies what layers of attention mix tokens by: square matrices [n, T, T], one a layer.

    own_aside: whether a class token's own score is set to 0.
    """

    own_aside: ClassVar[bool] = False

    @classmethod
    def suits(cls, net: Network) -> bool:
        return bool(attention_of(net))

    def default_at(self, net: Network) -> str:
        """The first tensor that holds all tokens. Raises UnsupportedModel where attention does not mix the same ones
        from layer to layer.
        """
        return chain_of(net, self.name).first()

    @abstractmethod
    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        """What records the weights of attention, and the explained tensor."""

    @abstractmethod
    def mixed(self, sweep: Sweep, record: SweepRecord, link: Link) -> Array:
        """The matrix [n, T, T] of one layer: what a token behind it, by rows, has of each token before it."""

    def recorded(self, sweep: Sweep, x: HostArray, targets: Ints, first: int) -> SweepRecord:
        """What is known of a batch; `besides` of it holds the weights of attention, and the explained tensor."""
        return sweep.recorded(x, first)

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        net, backend, at = sweep.net, sweep.backend, sweep.explained
        chain, record = chain_of(net, self.name), self.recorded(sweep, x, targets, first)
        score = backend.put(_read(chain, targets).astype(backend.dtype))[:, None, :]
        for link in reversed(chain.links):
            score = score @ self.mixed(sweep, record, link)
        scores = np.array(backend.get(score)[:, 0])
        if self.own_aside and chain.class_token is not None:
            scores[:, chain.class_token] = 0
        made = shared_out(scores, chain.lies_at(at, self.name))
        return BatchResult(record.besides[at], made, record.output(targets))


class AttentionRollout(Rollout):
    """R = A_L … A_1, A the mean over heads of the weights of a layer, (A + 1) / 2 where its tokens go round it too
    (Abnar and Zuidema, Quantifying Attention Flow in Transformers, 2020, Eq. 1): the same for every class that reads
    the same tokens.
    """

    name = "attention-rollout"
    multiplier = False
    follows_logit = False

    def rule(self, net: Network, layer: Layer) -> Rule:
        return FORWARD

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        chain = chain_of(net, self.name)
        chain.lies_at(at, self.name)
        return Sweep(net, backend, at, lambda layer: FORWARD, besides=[*_weights(chain), at])

    def mixed(self, sweep: Sweep, record: SweepRecord, link: Link) -> Array:
        mean = _over_heads(sweep.backend, sweep.backend.put(record.besides[link.weights]))
        return (mean + _identity(sweep.backend, mean)) / 2 if link.residual else mean


class GradientAttentionRollout(Rollout):
    """R ← R + Ā R from the first layer to the last, R starting as the identity, Ā the mean over heads of
    relu(∂y_c / ∂P ⊙ P) (Chefer, Gur and Wolf, Generic Attention-Model Explainability, 2021, Eq. 5 and 6); R ← Ā R of a
    layer that its tokens do not go round.

    A class token's own entry is set aside, as by the authors' code: it starts as 1, beside which all others are small.
    """

    name = "gradient-attention-rollout"
    multiplier = False
    follows_logit = False
    own_aside = True

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        chain = chain_of(net, self.name)
        chain.lies_at(at, self.name)
        start, *others = _weights(chain)
        rules = self.rule
        return Sweep(net, backend, start, lambda layer: rules(net, layer), besides=[start, *others, at], shown=at)

    def recorded(self, sweep: Sweep, x: HostArray, targets: Ints, first: int) -> SweepRecord:
        return sweep(x, targets, first=first)

    def mixed(self, sweep: Sweep, record: SweepRecord, link: Link) -> Array:
        backend = sweep.backend
        product = record.signals[link.weights] * backend.put(record.besides[link.weights])
        mean = _over_heads(backend, backend.xp.where(product > 0, product, 0 * product))
        return mean + _identity(backend, mean) if link.residual else mean


class _Forward:
    """The rule of a method that takes nothing back: it asks for nothing to be recorded."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        raise NotImplementedError


FORWARD = _Forward()


def _weights(chain: Chain) -> Sequence[str]:
    return [link.weights for link in chain.links]


def _read(chain: Chain, targets: Ints) -> HostArray:
    """The shares [n, T] of the tokens that targets [n] read: alike, of sum 1."""
    read = {index: chain.read(index) for index in np.unique(targets).tolist()}
    flags = np.stack([read[index] for index in targets.tolist()])
    return np.asarray(flags / flags.sum(axis=1, keepdims=True))


def _over_heads(backend: Backend, weights: Array) -> Array:
    """The mean over heads, and what else stands in front of queries and keys [n, ..., T, T] -> [n, T, T]."""
    return backend.xp.mean(weights, axis=tuple(range(1, weights.ndim - 2)))


def _identity(backend: Backend, like: Array) -> Array:
    return backend.put(np.eye(like.shape[-1], dtype=backend.dtype))
