"""Tokens whose features have several axes, as an LSTM makes of both directions: each still has one score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mipin_ref as mr
from mipin_ref.cli import main
from tests.cli.test_compare_texts import drawn
from tests.networks.exported import Model, as_file

TOKENS, HIDDEN = 6, 3


class Both(nn.Module):  # type: ignore[misc]
    """Ids, an LSTM of both directions, the mean over tokens and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.end = nn.Embedding(11, 4), nn.Linear(2 * HIDDEN, 3)
        self.read = nn.LSTM(4, HIDDEN, batch_first=True, bidirectional=True)

    def forward(self, ids: Any) -> Any:
        return self.end(self.read(self.words(ids))[0].mean(dim=1))


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The ids of three texts, ids.npy, beside a network, net.onnx."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)
    x = torch.randint(0, 11, (3, TOKENS))
    Path("net.onnx").write_bytes(as_file(Model(Both().eval(), (TOKENS,)), "torchscript", 17, x))
    np.save("ids.npy", x.numpy())
    return np.asarray(x.numpy())


def test_a_token_has_one_score(ids: np.ndarray) -> None:
    net = mr.load("net.onnx")
    (at,) = (name for name, shape in net.shapes.items() if shape == (TOKENS, 2, HIDDEN) and name not in net.inner)
    ex = mr.explain(net, ids, at=at, method="input-x-gradient")
    # By torch: the gradient of what the LSTM makes, times that.
    torch.manual_seed(2)
    torch.randint(0, 11, (3, TOKENS))
    model = Both().eval()
    wanted = []
    for one, target in zip(ids, ex.targets, strict=True):
        read = model.read(model.words(torch.from_numpy(one)[None]))[0].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.end(read.mean(dim=1))[0, int(target)], read)
        wanted.append((gradient * read).sum(-1)[0].detach().numpy())
    np.testing.assert_allclose(ex.maps, wanted, rtol=1e-4, atol=1e-6)
    ex.save("out")
    with np.load("out/attribution.npz") as stored:
        np.testing.assert_allclose(stored["score"], wanted, rtol=1e-4, atol=1e-6)
    given = ["net.onnx", "ids.npy", "--at", at, "--methods", "input-x-gradient,mip-in", "-o", "page.html"]
    assert main(["compare", *given]) == 0
    lines = drawn(Path("page.html").read_text())
    # A line a class and method; the predicted class of each text first.
    for row, one in enumerate(wanted):
        told = [value for _, value in lines[row * 3 * 2]]
        np.testing.assert_allclose(told, one, rtol=6e-3, atol=1e-6)
