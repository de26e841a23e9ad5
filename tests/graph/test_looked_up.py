"""What integers a file is tried with: they stay inside every table that they may be looked up in, and hide nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import mipin_ref as mr
from mipin_ref.beside import others_of
from mipin_ref.graph.asked_inputs import asked_inputs
from mipin_ref.graph.bind import bind
from mipin_ref.graph.looked_up import rows_looked_up
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.unmoved import unmoved
from tests.explain.reader import PLACES, WORDS, Reader, exported

NAMES = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module", params=[False, True], ids=["torchscript", "dynamo"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    return exported(Reader(infinite=True).eval(), tmp_path_factory.mktemp("net") / "net.onnx", dynamo=request.param)


@pytest.mark.slow
def test_each_input_has_the_tables_that_its_own_values_pick_from(path: Path) -> None:
    asked = asked_inputs(path)
    assert {name: one.tables for name, one in asked.named.items()} == {
        "input_ids": (len(WORDS),),
        "attention_mask": (),
        "token_type_ids": (2,),
    }
    assert asked.places == (PLACES,)
    assert all(one.sizes == (None,) for one in asked.named.values())
    below = rows_looked_up(onnx.load(path), "input_ids", NAMES[1:])
    assert below == {"input_ids": 8, "attention_mask": 2, "token_type_ids": 2}


@pytest.mark.slow
def test_no_drawn_mask_hides_a_whole_sample(path: Path) -> None:
    bound = bind(onnx.load(path), NAMES, dict.fromkeys(NAMES, (2,)), None, "input_ids")
    drawn = plausible(bound, 64, 0)
    mask, types = (others_of(drawn)[name] for name in NAMES[1:])
    assert np.all(mask.max(axis=1) == 1)
    assert {*mask.ravel().tolist()} == {*types.ravel().tolist()} == {0, 1}
    assert {*np.asarray(drawn).ravel().tolist()} == {*range(8)}


@pytest.mark.slow
def test_the_rows_that_ids_look_up_are_what_auto_explains_and_masks_and_types_stay(path: Path) -> None:
    net: Any = mr.load(path, input="input_ids", input_shape=dict.fromkeys(NAMES, (5,)))
    (tensor,) = net.embeddings
    assert mr.explain(net, samples(), method="gradient", at="auto", progress=False).tensor == tensor
    still = unmoved(net)
    assert tensor not in still
    assert still >= {name for name in net.sources if name != tensor}
    assert net.logits not in still


def samples() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mask = (np.arange(5) < rng.integers(1, 6, 4)[:, None]).astype(np.int64)
    return {"input_ids": rng.integers(0, 14, (4, 5)), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
