"""A small classifier of texts of any length, as exporters of BERT-like networks write it, and tokenizers for it."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "film", "was", "not", "good", "bad", "play", "##ing", "very", "."]
PLACES, WIDTH, CLASSES = 12, 8, 3
TEXTS = ["The film was good.", "Not playing", "the film was very very bad ."]
TOKENS = [
    ["[CLS]", "The", "film", "was", "good", ".", "[SEP]"],
    ["[CLS]", "Not", "play", "ing", "[SEP]"],
    ["[CLS]", "the", "film", "was", "very", "very", "bad", ".", "[SEP]"],
]
"""What the tokenizer makes of them."""
IDS = [[2, 4, 5, 6, 8, 13, 3], [2, 7, 10, 11, 3], [2, 4, 5, 6, 12, 12, 9, 13, 3]]


class Reader(nn.Module):  # type: ignore[misc]
    """Two blocks of attention over ids, under a mask, beside types; infinite: the mask is -Inf, as in new exports."""

    def __init__(self, *, infinite: bool = False) -> None:
        super().__init__()
        self.infinite = infinite
        self.words, self.places, self.types = (nn.Embedding(n, WIDTH) for n in (len(WORDS), PLACES, 2))
        self.register_buffer("order", torch.arange(PLACES)[None])
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList([nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(4)]) for _ in range(2)])
        self.end = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return self.behind(self.words(input_ids), attention_mask, token_type_ids)

    def behind(self, words: Any, mask: Any, types: Any) -> Any:
        """The logits [N, classes] of rows of the table [N, T, WIDTH]."""
        return self.mixed(words, mask, types)[0]

    def told(self, input_ids: Any, mask: Any, types: Any) -> tuple[Any, list[Any]]:
        """The logits, and the weights [N, heads, T, T] that each block mixes tokens by."""
        return self.mixed(self.words(input_ids), mask, types)

    def mixed(self, words: Any, mask: Any, types: Any) -> tuple[Any, list[Any]]:
        kept = []
        x = self.norm(words + self.places(self.order[:, : words.shape[1]]) + self.types(types))
        hidden = torch.where(mask[:, None, None, :] > 0, 0.0, -torch.inf if self.infinite else -1e9)
        for layer in self.layers:
            q, k, v = (one(x).unflatten(-1, (2, WIDTH // 2)).transpose(1, 2) for one in layer[:3])
            weights = (q @ k.transpose(-2, -1) / 2 + hidden).softmax(-1)
            kept.append(weights)
            x = x + layer[3]((weights @ v).transpose(1, 2).flatten(2))
        return self.end(torch.tanh(x[:, 0])), kept


def exported(model: Any, path: Path, *, dynamo: bool) -> Path:
    """The file, its batch and its length free, as either exporter writes it."""
    names = ["input_ids", "attention_mask", "token_type_ids"]
    arguments = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in names)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
            torch.onnx.export(
                model, arguments, buffer, dynamo=True, dynamic_shapes=(free,) * 3, input_names=names, verbose=False
            )
        else:
            free = {0: "batch", 1: "length"}
            torch.onnx.export(
                model,
                arguments,
                buffer,
                dynamo=False,
                opset_version=17,
                input_names=names,
                dynamic_axes=dict.fromkeys(names, free),
            )
    path.write_bytes(buffer.getvalue())
    return path


def tokenizer_file(path: Path, words: list[str] = WORDS) -> Path:
    """A tokenizer.json of word pieces that puts [CLS] and [SEP] around a text, and pads and cuts where it is asked."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece(vocab={word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    ends = [(word, words.index(word)) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=11)
    made.enable_truncation(4)
    made.save(str(path))
    return path


def vocabulary_files(folder: Path) -> dict[str, Path]:
    """The same words, without the pieces, in every form that a vocabulary has."""
    words = [word for word in WORDS if not word.startswith("##")]
    texts = {
        "vocab.txt": "\n".join(words) + "\n",
        "list.json": json.dumps(words, indent=1),
        "ids.json": json.dumps({word: number for number, word in enumerate(words)}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


def seeded(*, infinite: bool = False) -> Any:
    """A reader with seeded weights."""
    torch.manual_seed(3)
    return Reader(infinite=infinite).eval()


def texts_folder(folder: Path) -> None:
    """Writes net.onnx, its tokenizer.json and TEXTS as texts.txt."""
    exported(seeded(), folder / "net.onnx", dynamo=False)
    tokenizer_file(folder / "tokenizer.json")
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
