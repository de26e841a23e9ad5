"""Text and speech classifiers of transformers, with seeded random weights, and their exports.

No weights are downloaded: each is made of its configuration, small, on sequences of a fixed length.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

TOKENS, VOCABULARY, LABELS = 32, 1000, 5
MELS, FRAMES = 80, 200


class Sequences(NamedTuple):
    """How a classifier of sequences is built, what it reads, random samples by its inputs' names, and where the scores
    begin on the output's first axis.
    """

    build: Callable[[], Any]
    samples: Callable[[int], dict[str, torch.Tensor]]
    scores: int = 0


def _transformers(name: str) -> Any:
    try:
        return getattr(import_module("transformers"), name)
    except ModuleNotFoundError as error:
        told = f"{name} needs package {error.name}: pip install transformers, or name others with --networks"
        raise SystemExit(told) from error


class Scores(nn.Module):  # type: ignore[misc]
    """The scores of a classifier, by position: what exporters follow."""

    def __init__(self, inner: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.inner, self.names = inner, names

    def forward(self, *given: Any) -> Any:
        return self.inner(**dict(zip(self.names, given, strict=True))).logits


class MeanPooled(nn.Module):  # type: ignore[misc]
    """Scores of the mean of an encoder's states over the tokens that count."""

    def __init__(self, encoder: Any, width: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, LABELS)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        counted = attention_mask.unsqueeze(-1).to(states.dtype)
        return self.head((states * counted).sum(1) / counted.sum(1))


def _classifier(kind: str, names: tuple[str, ...], **sizes: Any) -> Any:
    config = _transformers(f"{kind}Config")(num_labels=LABELS, vocab_size=VOCABULARY, **sizes)
    return Scores(_transformers(f"{kind}ForSequenceClassification")(config), names)


def _t5() -> Any:
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 4, "num_heads": 4}
    config = _transformers("T5Config")(vocab_size=VOCABULARY, dropout_rate=0.0, use_cache=False, **sizes)
    return MeanPooled(_transformers("T5EncoderModel")(config), 128)


def _whisper() -> Any:
    sizes = {"d_model": 128, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 256}
    more: dict[str, Any] = dict.fromkeys((f"{one}_token_id" for one in ("pad", "bos", "eos", "decoder_start")), 0)
    more |= {"num_mel_bins": MELS, "max_source_positions": FRAMES // 2, "classifier_proj_size": 64}
    config = _transformers("WhisperConfig")(vocab_size=VOCABULARY, num_labels=LABELS, **sizes, **more)
    return Scores(_transformers("WhisperForAudioClassification")(config), ("input_features",))


def _text(count: int) -> dict[str, torch.Tensor]:
    """Token ids, of which the last ones may be no part of the text."""
    ids = torch.randint(1, VOCABULARY, (count, TOKENS))
    lengths = torch.randint(TOKENS // 2, TOKENS + 1, (count, 1))
    return {"input_ids": ids, "attention_mask": (torch.arange(TOKENS) < lengths).to(ids.dtype)}


def _speech(count: int) -> dict[str, torch.Tensor]:
    return {"input_features": torch.randn(count, MELS, FRAMES)}


BOTH = ("input_ids", "attention_mask")
SEQUENCES = {
    "bert_tiny": Sequences(
        lambda: _classifier(
            "Bert", BOTH, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
        ),
        _text,
    ),
    "distilbert": Sequences(
        lambda: _classifier("DistilBert", BOTH, dim=256, n_layers=6, n_heads=8, hidden_dim=1024), _text
    ),
    "t5_encoder": Sequences(_t5, _text),
    "whisper_encoder": Sequences(_whisper, _speech),
}
"""Name -> how it is made."""


def seeded(sequences: Sequences, seed: int = 0) -> Any:
    """The network in evaluation mode. Dense layers are drawn anew: as they are initialised they leave next to nothing
    of what a sample's tokens are.
    """
    torch.manual_seed(seed)
    network = sequences.build()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    return network.eval()


def exported(network: Any, sequences: Sequences, exporter: str, opset: int) -> bytes:
    """The network as an ONNX file with a free batch, written by torch's exporter "torchscript" or "dynamo"."""
    examples = sequences.samples(2)
    named = {"input_names": list(examples), "output_names": ["scores"], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            buffer = io.BytesIO()
            axes = {name: {0: "n"} for name in examples}
            torch.onnx.export(network, tuple(examples.values()), buffer, dynamo=False, dynamic_axes=axes, **named)
            return buffer.getvalue()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            free = tuple({0: torch.export.Dim("n")} for _ in examples)
            shapes = (free,) if isinstance(network, Scores) else free
            program = torch.onnx.export(
                network, tuple(examples.values()), dynamo=True, dynamic_shapes=shapes, verbose=False, **named
            )
            program.save(path)
            return path.read_bytes()
