"""Small networks that read sentences with planted evidence: a transformer, an LSTM and a GRU, trained and as ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from training.descent import BATCH, descend
from training.planted import CLASS_NAMES, ID, TOKENS, UNKNOWN, VOCABULARY, Sentences, sentences

WIDTH, HEADS, BLOCKS, HIDDEN = 32, 4, 2, 48
SPREAD = 0.3
"""Standard deviation of a transformer's first embeddings. With torch's, 1, it is late to look at the word before, which
negators ask for, and with some seeds does not.
"""
DROPPED = 0.1
"""Share of words that are replaced by UNKNOWN in training."""
OPSET = 17


class Block(nn.Module):  # type: ignore[misc]
    """Attention and a perceptron, each behind a LayerNorm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        h = self.norm1(x)
        q, k, v = (layer(h).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = (q @ k.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))


class Transformer(nn.Module):  # type: ignore[misc]
    """Ids [N, TOKENS] to logits [N, classes], read off the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(len(VOCABULARY), WIDTH), nn.Embedding(TOKENS, WIDTH)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=SPREAD)
        self.blocks = nn.ModuleList([Block() for _ in range(BLOCKS)])
        self.norm, self.end = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(CLASS_NAMES))

    def forward(self, ids: Any) -> Any:
        x = self.words(ids) + self.places.weight
        for block in self.blocks:
            x = block(x)
        return self.end(self.norm(x)[:, 0])


class Recurrent(nn.Module):  # type: ignore[misc]
    """Ids [N, TOKENS] to logits [N, classes], read off the last step of an LSTM or a GRU. cell: its class."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.words, self.cell = nn.Embedding(len(VOCABULARY), WIDTH), cell(WIDTH, HIDDEN, batch_first=True)
        self.end = nn.Linear(HIDDEN, len(CLASS_NAMES))

    def forward(self, ids: Any) -> Any:
        return self.end(self.cell(self.words(ids))[0][:, -1])


NETWORKS: dict[str, Callable[[], Any]] = {
    "transformer": Transformer,
    "lstm": partial(Recurrent, nn.LSTM),
    "gru": partial(Recurrent, nn.GRU),
}
STEPS = {"transformer": 2500, "lstm": 3000, "gru": 3000}


def trained(name: str, seed: int, data: Sentences | None = None, steps: int | None = None) -> Any:
    """The network of that name, trained with a seed: AdamW, as `descend` has it.

    data: sentences to train on, None for 20,000.
    """
    torch.manual_seed(seed)
    data = sentences(20_000, 1000 + seed) if data is None else data
    model = NETWORKS[name]()
    count = STEPS[name] if steps is None else steps
    ids, classes = torch.from_numpy(data.ids), torch.from_numpy(data.classes)

    def loss_of(rows: Any, rng: Any) -> Any:
        dropped = torch.rand(BATCH, TOKENS, generator=rng) < DROPPED
        dropped[:, 0] = False
        return nn.functional.cross_entropy(model(ids[rows].masked_fill(dropped, ID[UNKNOWN])), classes[rows])

    descend(torch.optim.AdamW(model.parameters(), weight_decay=0.01), len(ids), seed, count, loss_of)
    return model.eval()


def accuracy(model: Any, data: Sentences) -> float:
    """The share of sentences that a network classifies right."""
    with torch.no_grad():
        chosen: NDArray[np.int64] = model(torch.from_numpy(data.ids)).argmax(1).numpy()
    return float((chosen == data.classes).mean())


def exported(model: Any, example: Any = None, name: str = "ids") -> bytes:
    """The network as one ONNX file, its batch free. example: an input, None for ids; name: of the input."""
    example = torch.zeros(2, TOKENS, dtype=torch.int64) if example is None else example
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter warns that a batch other than one may not suit an LSTM's initial state, which is zero here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=[name],
            output_names=["logits"],
            dynamic_axes={name: {0: "N"}, "logits": {0: "N"}},
        )
    proto = onnx.load_model_from_string(buffer.getvalue())
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))
