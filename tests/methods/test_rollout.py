"""Attention rollouts: torch's own weights and gradients, matrices multiplied entry by entry, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.backends import NAMES, backend, relative_error
from tests.explain.reader import Reader
from tests.explain.reader import exported as exported_reader
from tests.inverse.test_exported_models import exported
from tests.inverse.test_exported_models import made as model_of
from tests.methods.test_norms import TARGETS, case
from tests.networks import to_onnx
from tests.networks.attention import NETWORKS, TOKENS, WIDTH, block, ended, of_the_first, patched, weights
from tests.networks.exported import Model, as_file
from tests.networks.norms import SHAPE, fixed, tokens
from tests.networks.transformers import GRID, WORDS, Text, sequence, vision
from tests.oracles.autograd import gradients
from tests.oracles.rollout import gradient_rollout, rollout
from tests.oracles.spec import Add, Attention, Gather, Op, Slice

ROLLOUTS = ("attention-rollout", "gradient-attention-rollout")
EXPORTERS = [("torchscript", 17), pytest.param("dynamo", 20, marks=pytest.mark.slow)]


def expected(module: Any, logits: Any, method: str) -> np.ndarray:
    """Scores [n, T] by torch's weights of attention, for class n % 3 of sample n."""
    rows = torch.arange(len(logits))
    told = [block.weights for block in module.blocks]
    slopes = torch.autograd.grad(logits[rows, rows % 3].sum(), told)
    made = []
    for n in rows.tolist():
        each = [np.asarray(one[n].detach(), np.float64) for one in told]
        residual = [True] * len(each)
        if method == "attention-rollout":
            whole = rollout(each, residual)
        else:
            whole = gradient_rollout(each, [np.asarray(one[n], np.float64) for one in slopes], residual)
        made.append(whole.mean(axis=0) if module.first is None else of_class_token(whole, method))
    return np.array(made)


def of_class_token(whole: np.ndarray, method: str) -> np.ndarray:
    """The first row of R, of which Chefer, Gur and Wolf set the token's own entry aside, which starts as 1."""
    row: np.ndarray = whole[0].copy()
    row[0] *= method == "attention-rollout"
    return row


def scores(res: mr.Attribution) -> np.ndarray:
    assert res.channel_axis is not None
    assert np.ptp(res.attribution, axis=res.channel_axis).max() == 0, "the features of a token share alike"
    return np.asarray(res.contribution.sum(axis=res.channel_axis))


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("first", [True, False], ids=["class token", "mean"])
@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
def test_transformers_of_torch_in_double_precision(exporter: str, opset: int, first: bool, method: str) -> None:
    torch.manual_seed(6)
    model = sequence(first=first)
    model.module.double().eval()
    x = torch.randn(4, *model.shape, dtype=torch.float64)
    net = mr.load(as_file(model, exporter, opset, x))
    res = mr.attribute(net, x.numpy(), np.arange(4) % 3, method)
    wanted = expected(model.module, model.module(x), method)
    # Products of numbers that onnxruntime and torch round apart; the newer exporter stores a scale in single precision.
    assert relative_error(scores(res), wanted) < (1e-12 if exporter == "torchscript" else np.finfo(np.float32).eps)
    assert net.shapes[res.tensor][0] == wanted.shape[1]


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("first", [True, False], ids=["class token", "mean"])
@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
def test_a_vision_transformer_is_a_picture(exporter: str, opset: int, first: bool, method: str) -> None:
    """In single precision; the class token is left out of the map. At patches, at pixels, and at tokens behind."""
    torch.manual_seed(7)
    model = vision(first=first)
    x = torch.randn(4, *model.shape)
    net = mr.load(as_file(model._replace(module=model.module.eval()), exporter, opset, x))
    wanted = expected(model.module, model.module(x), method)[:, int(first) :].reshape(4, *GRID)
    for at in (None, "auto"):
        res = mr.attribute(net, x.numpy(), np.arange(4) % 3, method, at=at)
        np.testing.assert_allclose(mr.saliency(res), wanted, rtol=1e-4)
    patches = mr.attribute(net, x.numpy(), np.arange(4) % 3, method, at=net.layers[0].output)
    np.testing.assert_allclose(patches.attribution, np.repeat(wanted[:, None] / 6, 6, axis=1), rtol=1e-4)
    pixels = mr.attribute(net, x.numpy(), np.arange(4) % 3, method, at=net.input)
    # A token has the 3 × 3 pixels of its patch, of three colours.
    each = np.repeat(np.repeat(wanted / 27, 3, axis=1), 3, axis=2)
    np.testing.assert_allclose(pixels.attribution, np.stack([each] * 3, axis=1), rtol=1e-4)


@pytest.mark.parametrize("method", ROLLOUTS)
def test_text_is_told_by_its_words(method: str) -> None:
    torch.manual_seed(8)
    module = Text(first=True).eval()
    x = torch.randint(0, WORDS, (4, 5))
    net = mr.load(as_file(Model(module, (5,)), "torchscript", 17, x))
    res = mr.attribute(net, x.numpy(), np.arange(4) % 3, method)
    assert res.tensor == net.embeddings[0]
    # The token that stands in front is no word.
    wanted = expected(module, module(x), method)[:, 1:]
    np.testing.assert_allclose(scores(res), wanted, rtol=1e-4)


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_class_token_among_the_words(dynamo: bool, method: str, tmp_path: Path) -> None:
    """A row of the table like the words', as of BERT, under a mask: its own entry of R is set aside by the second."""
    torch.manual_seed(3)
    module = Reader().eval()
    net = mr.load(
        exported_reader(module, tmp_path / "net.onnx", dynamo=dynamo),
        input="input_ids",
        input_shape=dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (6,)),
    )
    ids, mask = torch.tensor([[2, 4, 5, 8, 3, 0], [2, 7, 10, 11, 9, 3]]), torch.ones(2, 6, dtype=torch.int64)
    mask[0, 5] = 0
    types = torch.zeros_like(mask)
    given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": types.numpy()}
    targets = torch.tensor([1, 2])
    logits, told = module.told(ids, mask, types)
    slopes = torch.autograd.grad(logits[torch.arange(2), targets].sum(), told)
    wanted = []
    for n in range(2):
        each = [np.asarray(one[n].detach(), np.float64) for one in told]
        steep = [np.asarray(one[n], np.float64) for one in slopes]
        attention = method == "attention-rollout"
        whole = rollout(each, [True, True]) if attention else gradient_rollout(each, steep, [True, True])
        wanted.append(of_class_token(whole, method))
    found = scores(mr.attribute(net, given, targets.numpy(), method))
    # Two engines in single precision; next to the identity's 1 the words' scores were nothing.
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.max(wanted))
    assert (found[:, 0] > 0).all() == attention
    assert (found[:, 1:5] > 0).any(axis=1).all()
    assert found[0, 5] == 0, "what the mask hides"


RESIDUAL = {
    "vision_transformer": [True, True],
    "encoder": [True],
    "one_head": [True],
    "masked": [False],
    "deep": [False, False],
}
"""Networks that mix the same tokens, and whether these go round each attention."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", RESIDUAL)
def test_weights_as_they_are_recorded(made: str, name: str) -> None:
    ops, net, x, values = case(made)
    slopes = gradients(ops, values, TARGETS)
    told = [op.inputs[1] for op in ops if isinstance(op, Attention)]
    for method in ROLLOUTS:
        wanted = []
        for n in range(len(x)):
            each = [values[one][n] for one in told]
            if method == "attention-rollout":
                whole = rollout(each, RESIDUAL[made])
            else:
                whole = gradient_rollout(each, [slopes[one][n] for one in told], RESIDUAL[made])
            read = of_class_token(whole, method) if any(RESIDUAL[made]) else whole[0]
            wanted.append(read if made in ("vision_transformer", "deep") else whole.mean(axis=0))
        res = mr.attribute(net, x, TARGETS, method, backend=backend(name))
        assert relative_error(scores(res), np.array(wanted)) < 1e-12, method


def test_what_the_results_state() -> None:
    """Scores are not negative, whatever the sign of the logit, and of a rollout they are shares."""
    _, net, x, _ = case("vision_transformer")
    logits = net.predict(x)[1]
    assert logits.min() < 0 < logits.max()
    for method in ROLLOUTS:
        for target in range(3):
            res = mr.attribute(net, x, target, method)
            assert (res.attribution >= 0).all()
            assert (res.multiplier, res.follows_logit) == (False, False)
            np.testing.assert_array_equal(mr.saliency(res), mr.saliency(res, positive=False))
    shares = scores(mr.attribute(net, x, 1, "attention-rollout"))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    other = scores(mr.attribute(net, x, 2, "attention-rollout"))
    np.testing.assert_array_equal(shares, other)


@pytest.mark.parametrize("method", ROLLOUTS)
def test_targets_of_several_tokens(method: str) -> None:
    """An output [N, T, C]: each target reads the token that it is of."""
    ops = fixed(lambda: [*patched(), *block("t", "u", 2), tokens("u", "y", WIDTH, 3, 2)])()
    net = mr.load(to_onnx(ops, SHAPE))
    x = np.random.default_rng(2).standard_normal((2, *SHAPE)).astype(np.float32)
    both = scores(mr.attribute(net, x, [(3, 1), (7, 1)], method))
    for n, target in enumerate([(3, 1), (7, 1)]):
        alone = scores(mr.attribute(net, x[n : n + 1], target, method))[0]
        np.testing.assert_allclose(both[n], alone, rtol=1e-12)
        assert alone.argmax() == target[0], "half of a token is its own"


@pytest.mark.parametrize(
    "name", ["MultiheadAttention, time first", "encoder layer", "rotary", "grouped queries", "ViT"]
)
def test_forms_that_exporters_write(name: str) -> None:
    net = exported(model_of(name), "torchscript", 17)
    x = np.random.default_rng(3).standard_normal((3, *net.input_shape)).astype(np.float32)
    shares = scores(mr.attribute(net, x, 1, "attention-rollout"))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (mr.attribute(net, x, 1, "gradient-attention-rollout").attribution > 0).any()


def crossed_beside() -> list[Op]:
    """Half of the tokens, to which attention adds what it finds in the other half."""
    return [
        *patched(),
        Slice(("t",), "mine", (0, 0), (6, WIDTH)),
        Slice(("t",), "memory", (6, 0), (12, WIDTH)),
        *weights("memory", "p", 2, count=6),
        tokens("memory", "v", WIDTH, WIDTH, 2),
        Attention(("v", "p"), "a", 2),
        Add(("mine", "a"), "b"),
        *ended("b"),
    ]


def side_by_side() -> list[Op]:
    made = [*patched()]
    for one in ("1", "2"):
        made += [*weights("t", f"p{one}", 2), tokens("t", f"v{one}", WIDTH, WIDTH, 2)]
        made += [Attention((f"v{one}", f"p{one}"), f"a{one}", 2)]
    return [*made, Add(("a1", "a2"), "b"), *ended("b")]


def turned_between() -> list[Op]:
    """Between two layers of attention the tokens change places."""
    return [
        *(*patched(), *block("t", "u", 2)),
        Gather(("u",), "turned", (tuple(reversed(range(TOKENS))), None)),
        *(*block("turned", "w", 2), *of_the_first("w")),
    ]


REFUSED = {
    "windows": (NETWORKS["windows"], "mixes them in 3 windows apart from each other"),
    "pooled": (NETWORKS["pooled"], "makes 1 of 12"),
    "crossed": (NETWORKS["crossed"], "makes 3 of 12"),
    "crossed beside": (fixed(crossed_beside), "mixes others than those of '.*' that go round it"),
    "side by side": (fixed(side_by_side), "is read by no later one|is followed by what mixes them otherwise"),
    "turned between": (fixed(turned_between), "is followed by what mixes them otherwise"),
}


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("name", REFUSED)
def test_other_attention_is_refused_by_name(name: str, method: str) -> None:
    made, reason = REFUSED[name]
    net = mr.load(to_onnx(made(), SHAPE))
    x = np.zeros((1, *SHAPE), np.float32)
    with pytest.raises(
        mr.UnsupportedModel, match=rf"method '{method}' follows .* and layer '.+' \(Attention\) (?:{reason})"
    ) as caught:
        mr.attribute(net, x, 0, method)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ROLLOUTS)
def test_windows_of_swin_are_refused(method: str) -> None:
    net = exported(model_of("Swin"), "torchscript", 17)
    with pytest.raises(mr.UnsupportedModel, match="windows apart from each other"):
        mr.attribute(net, np.zeros((1, *net.input_shape), np.float32), 0, method)


@pytest.mark.parametrize("method", ROLLOUTS)
def test_a_network_without_attention_is_refused(method: str) -> None:
    _, net, x, _ = case("convnext")
    with pytest.raises(mr.UnsupportedModel, match=f"method '{method}' follows attention, and the network has none"):
        mr.attribute(net, x, 0, method)
    panel = mr.Panel(net)
    assert method not in panel.names
    assert method in mr.Panel(net, names=[method]).names


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("at", ["x", "y", "w.p"])
def test_tensors_that_are_of_no_tokens(method: str, at: str) -> None:
    """Windows of the convolution overlap, and logits are of one token that is read."""
    _, net, x, _ = case("vision_transformer")
    with pytest.raises(mr.InvalidData, match=f"method '{method}' tells of tokens, and '{at}' has no elements"):
        mr.attribute(net, x, 0, method, at=at)


@pytest.mark.parametrize("method", ROLLOUTS)
def test_scores_are_the_same_wherever_tokens_are(method: str) -> None:
    _, net, x, _ = case("vision_transformer")
    wanted = scores(mr.attribute(net, x, 0, method))
    assert wanted.shape == (4, TOKENS)
    for at in ("t", "u.v", "u.a", "u.b", "u", "w.n", "w.a", "w"):
        np.testing.assert_array_equal(scores(mr.attribute(net, x, 0, method, at=at)), wanted)
