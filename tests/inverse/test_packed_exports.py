"""Recurrent networks of torch that pack samples of several lengths, by its exporter: against torch itself."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import mipin_ref as mr
from mipin_ref.beside import others_of
from mipin_ref.graph.bind import bind
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.tried_lengths import with_lengths_tried

STEPS, FEATURES, WORDS, COUNT = 5, 3, 9, 24
EPS = float(np.finfo(np.float32).eps)


class Packed(nn.Module):  # type: ignore[misc]
    """read: "mean" over the steps of each sample, "last" for the row of its last, "ends" for the states behind it;
    ids: whether it reads ids, whose zeros fill samples up; ordered: whether samples must come longest first; begins:
    whether states are given, "zeros" or a "parameter", and "" where not; fixed: whether its file has one size of batch.
    """

    def __init__(
        self,
        kind: str,
        read: str,
        *,
        ids: bool = False,
        ordered: bool = False,
        begins: str = "",
        fixed: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.ids, self.ordered = read, ids, ordered
        self.table = nn.Embedding(WORDS, FEATURES)
        self.layer = getattr(nn, kind)(FEATURES, 4, batch_first=True, **options)
        both = 2 if options.get("bidirectional") else 1
        self.head = nn.Linear(4 * both, 3)
        self.begins, self.fixed = begins, fixed
        self.start = nn.Parameter(torch.randn(options.get("num_layers", 1) * both, 1, 4))

    def forward(self, x: Any, lengths: Any = None) -> Any:
        if self.ids:
            lengths, x = (x != 0).sum(1), self.table(x)
        return self.scores(x, lengths)

    def scores(self, x: Any, lengths: Any) -> Any:
        """Of rows [n, T, C]."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=self.ordered)
        made, state = self.layer(packed, self.states(x.shape[0]))
        y, _ = pad_packed_sequence(made, batch_first=True, total_length=STEPS)
        hidden = state[0] if isinstance(state, tuple) else state
        if self.read == "last":
            return self.head(y[torch.arange(y.shape[0]), lengths - 1])
        if self.read == "mean":
            return self.head(y.sum(1) / lengths.unsqueeze(1))
        # torch's exporter fails where all steps are not read too.
        return self.head(torch.cat([*hidden], dim=1) + y.sum(1) / 8)

    def states(self, count: int) -> Any:
        """What a batch begins with, None for what torch does by itself."""
        if not self.begins:
            return None
        first = self.start.expand(-1, count, -1).contiguous()
        if self.begins == "zeros":
            first = torch.zeros(len(self.start), count, 4)
        return (first, first) if isinstance(self.layer, nn.LSTM) else first


EXPORTS: dict[str, dict[str, Any]] = {
    "lstm, mean": {"kind": "LSTM", "read": "mean"},
    "lstm, ordered": {"kind": "LSTM", "read": "mean", "ordered": True},
    "lstm, both ways": {"kind": "LSTM", "read": "ends", "bidirectional": True},
    "lstm, last": {"kind": "LSTM", "read": "last"},
    "lstm of two layers": {"kind": "LSTM", "read": "mean", "num_layers": 2, "bidirectional": True},
    "gru, mean": {"kind": "GRU", "read": "mean"},
    "gru, both ways": {"kind": "GRU", "read": "ends", "bidirectional": True},
    "gru, last, ordered": {"kind": "GRU", "read": "last", "ordered": True},
    "rnn": {"kind": "RNN", "read": "ends"},
    "lstm of ids": {"kind": "LSTM", "read": "mean", "ids": True},
    "gru of ids, both ways": {"kind": "GRU", "read": "ends", "ids": True, "bidirectional": True},
    "lstm of four": {"kind": "LSTM", "read": "mean", "fixed": True},
    "gru of four, both ways": {"kind": "GRU", "read": "ends", "bidirectional": True, "fixed": True},
    "lstm, zeros": {"kind": "LSTM", "read": "mean", "begins": "zeros", "bidirectional": True},
    "lstm of four, zeros": {"kind": "LSTM", "read": "mean", "begins": "zeros", "bidirectional": True, "fixed": True},
    "gru of two layers, zeros": {"kind": "GRU", "read": "mean", "begins": "zeros", "num_layers": 2},
    "lstm, parameter": {"kind": "LSTM", "read": "mean", "begins": "parameter"},
    "gru of four, parameter": {"kind": "GRU", "read": "mean", "begins": "parameter", "fixed": True},
}


def samples(module: Packed) -> tuple[np.ndarray, np.ndarray]:
    """x [n, T, C], or ids [n, T], and lengths in no order, but where it must be."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, STEPS + 1, COUNT)
    lengths = np.sort(lengths)[::-1].copy() if module.ordered else lengths
    if module.ids:
        ids = rng.integers(1, WORDS, (COUNT, STEPS))
        return np.where(np.arange(STEPS) < lengths[:, None], ids, 0), lengths
    return rng.standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32), lengths


def exported(module: Packed) -> bytes:
    x, lengths = (torch.from_numpy(one[:4]) for one in samples(module))
    names = ["x"] if module.ids else ["x", "lengths"]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (x,) if module.ids else (x, lengths),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=["logits"],
            dynamic_axes=None if module.fixed else {name: {0: "batch"} for name in names},
        )
    return buffer.getvalue()


@pytest.mark.parametrize("name", EXPORTS)
def test_logits_and_gradients_are_those_of_torch(name: str) -> None:
    """Lengths of every kind, samples in any order; the gradient comes to the rows that ids look up."""
    module = Packed(**EXPORTS[name])
    x, lengths = samples(module)
    net = mr.load(exported(module), input="x")
    data = x if module.ids else {"x": x, "lengths": lengths}
    told = torch.from_numpy(lengths)
    rows = module.table(torch.from_numpy(x)).detach() if module.ids else torch.from_numpy(x)
    rows.requires_grad_()
    logits = module.scores(rows, told)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), rows)
    np.testing.assert_allclose(net.predict(data)[1], logits.detach().numpy(), rtol=0, atol=32 * EPS)
    found = mr.attribute(net, data, 1, "gradient").attribution
    np.testing.assert_allclose(found, gradient.numpy(), rtol=0, atol=64 * EPS)
    assert not np.any(found[np.arange(STEPS) >= lengths[:, None]])


@pytest.mark.parametrize("name", ["lstm, mean", "gru of ids, both ways"])
def test_what_fills_samples_up_has_no_attribution(name: str) -> None:
    """Nor do other values there change anything."""
    module = Packed(**EXPORTS[name])
    x, lengths = samples(module)
    net = mr.load(exported(module), input="x")
    data: Any = x if module.ids else {"x": x, "lengths": lengths}
    over = np.arange(STEPS) >= lengths[:, None]
    inverse = mr.fit(net, data, 1)
    found = inverse.attribute(data).attribution
    assert found.shape == (COUNT, STEPS, FEATURES)
    assert not np.any(found[over])
    assert np.abs(found[~over]).min() > 0
    if not module.ids:
        other = {**data, "x": np.where(over[..., None], 3, x)}
        np.testing.assert_array_equal(inverse.attribute(other).attribution, found)


@pytest.mark.parametrize("name", ["lstm of ids", "gru of ids, both ways"])
def test_an_explainer_counts_tokens_itself(name: str, tmp_path: Path) -> None:
    """Of ids whose zeros fill samples up, by onnxruntime alone. Float32 of both, relative to the largest value."""
    module = Packed(**EXPORTS[name])
    ids, _ = samples(module)
    inverse = mr.fit(mr.load(exported(module)), ids, 1)
    mr.export(inverse, tmp_path / "explainer.onnx", check=ids)
    runtime = ort.InferenceSession(tmp_path / "explainer.onnx", providers=["CPUExecutionProvider"])
    (given,) = runtime.get_inputs()
    found = dict(zip((one.name for one in runtime.get_outputs()), runtime.run(None, {given.name: ids}), strict=True))
    wanted = inverse.attribute(ids)
    for what, value in (("source", wanted.source), ("attribution", wanted.attribution)):
        np.testing.assert_allclose(found[what], value, rtol=0, atol=64 * EPS * np.abs(value).max())


def test_a_file_is_tried_with_lengths_of_all_its_steps() -> None:
    """Those that the recurrent layer reads are in order; each sample of a sequence has a step at least."""
    proto = onnx.load_from_string(exported(Packed("LSTM", "mean")))
    bound = with_lengths_tried(bind(proto, {"x", "lengths"}, None, None, "x"), proto)
    drawn = others_of(plausible(bound, 200, 0))["lengths"]
    assert {int(one) for one in drawn} == set(range(1, STEPS + 1))


def test_an_order_of_samples_that_is_handed_out_stays() -> None:
    """Logits in the order of lengths are no samples as they came."""
    module = Packed("LSTM", "mean")
    proto = onnx.load_from_string(exported(module))
    back = next(node for node in proto.graph.node if node.op_type == "Gather" and "Scatter" in node.input[1])
    reader = next(node for node in proto.graph.node if back.output[0] in node.input)
    reader.input[0] = back.input[0]
    net = mr.load(proto, input="x")
    with pytest.raises(mr.UnsupportedModel, match="Gather"):
        mr.fit(net, dict(zip(("x", "lengths"), samples(module), strict=True)), 1)
