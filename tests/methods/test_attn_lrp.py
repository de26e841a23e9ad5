"""AttnLRP: the option `attention` of LRP-ε, against gradient × input of networks that share as it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.backends import NAMES, backend, on_every_backend, relative_error
from tests.graph.sketch import Sketch
from tests.methods.recorded import Case
from tests.methods.test_norms import ROUNDED, TARGETS, case
from tests.networks.attention import NETWORKS as ATTENDING
from tests.networks.exported import Model, as_file
from tests.networks.gated import GATED
from tests.networks.recurrent import RECURRENT
from tests.networks.transformers import Text, sequence, vision
from tests.oracles.attn_lrp import relevance

OPTIONS: dict[str, Any] = {"attention": "attn-lrp", "epsilon": 1e-12}
EXPORTERS = [("torchscript", 17), pytest.param("dynamo", 20, marks=pytest.mark.slow)]


def twin(module: Any, x: Any, told: str) -> np.ndarray:
    """Gradient times input of class n % 3 of sample n, with gradients that share as `told` says."""
    module.tell(told)
    given = x.clone().requires_grad_(True)
    logits = module(given)
    rows = torch.arange(len(x))
    (slope,) = torch.autograd.grad(logits[rows, rows % 3].sum(), given)
    module.tell("truly")
    return np.asarray((slope * given).detach())


@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
@pytest.mark.parametrize("more", [{"first": True}, {"first": False, "gated": True}], ids=["class token", "mean, gated"])
def test_transformers_of_torch_in_double_precision(more: dict[str, Any], exporter: str, opset: int) -> None:
    """ε counts for 1e-12 over sums of which the smallest is about 1e-4 of a value."""
    torch.manual_seed(1)
    model = sequence(**more)
    model.module.double().eval()
    x = torch.randn(6, *model.shape, dtype=torch.float64)
    net = mr.load(as_file(model, exporter, opset, x))
    assert net.dtype == np.float64
    expected = {told: twin(model.module, x, told) for told in ("attn-lrp", "cp-lrp")}
    assert relative_error(expected["attn-lrp"], expected["cp-lrp"]) > 1e-2
    for told in expected:
        found = mr.attribute(net, x.numpy(), np.arange(6) % 3, "lrp-epsilon", **OPTIONS | {"attention": told})
        assert relative_error(found.attribution, expected[told]) < 1e-6


@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
@pytest.mark.parametrize("first", [True, False])
def test_a_vision_transformer(exporter: str, opset: int, first: bool) -> None:
    """In single precision, in which onnxruntime convolves: z is off by 1e-7 of terms that cancel."""
    torch.manual_seed(2)
    model = vision(first=first)
    x = torch.randn(3, *model.shape)
    net = mr.load(as_file(model._replace(module=model.module.eval()), exporter, opset, x))
    found = mr.attribute(net, x.numpy(), np.arange(3), "lrp-epsilon", **OPTIONS)
    expected = twin(model.module.double(), x.double(), "attn-lrp")
    assert relative_error(found.attribution, expected) < ROUNDED


def test_text_is_explained_at_its_embedding() -> None:
    torch.manual_seed(3)
    module = Text(first=True).eval()
    x = torch.randint(0, 11, (3, 5))
    net = mr.load(as_file(Model(module, (5,)), "torchscript", 17, x))
    found = mr.attribute(net, x.numpy(), np.arange(3), "lrp-epsilon", **OPTIONS)
    words = module.double().table(x).detach()
    module.tell("attn-lrp")
    given = words.clone().requires_grad_(True)
    logits = module.read(given)
    (slope,) = torch.autograd.grad(logits[torch.arange(3), torch.arange(3)].sum(), given)
    assert found.tensor == net.embeddings[0]
    assert relative_error(found.attribution, np.asarray((slope * words).detach())) < ROUNDED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", ATTENDING)
def test_every_tensor_of_attention_takes_its_share(made: str, name: str) -> None:
    """Queries, keys, scores and weights among them."""
    ops, net, x, values = case(made)
    expected = relevance(ops, values, TARGETS)
    for op in ops:
        at = op.inputs[0]
        found = mr.attribute(net, x, TARGETS, "lrp-epsilon", at=at, backend=backend(name), **OPTIONS)
        assert relative_error(found.attribution, expected[at]) < ROUNDED, at


@on_every_backend
@pytest.mark.parametrize("made", GATED)
def test_a_gate_takes_half_and_a_divisor_nothing(name: str, made: str) -> None:
    given = Case.of(GATED[made](1), 1)
    expected = relevance(given.network.ops, given.values(), given.targets)[given.net.input]
    found = mr.attribute(given.net, given.x, given.targets, "lrp-epsilon", backend=backend(name), **OPTIONS)
    assert relative_error(found.attribution, expected) < ROUNDED


def test_a_factor_that_does_not_depend_on_the_input_takes_nothing() -> None:
    """An input that is bound to a value, as a mask: all relevance is that of the other factor."""
    sketch = Sketch(4)
    sketch.inputs.append(type(sketch.inputs[0]).FromString(sketch.inputs[0].SerializeToString()))
    sketch.inputs[-1].name = "mask"
    gated = sketch.node("Mul", "x", sketch.node("Sigmoid", "mask"))
    model = sketch.model(sketch.dense(gated, 4, 3), check=False)
    rows = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    net = mr.load(model, input="x")
    found, plain = (
        mr.attribute(net, {"x": rows[0], "mask": rows[1]}, 1, "lrp-epsilon", attention=one).attribution
        for one in ("attn-lrp", "cp-lrp")
    )
    assert np.abs(plain).max() > 0
    np.testing.assert_array_equal(found, plain)


def test_what_the_option_takes() -> None:
    given = Case.of(GATED["squeeze and excitation"](1), 1)
    with pytest.raises(mr.InvalidData, match="attention must be 'cp-lrp' or 'attn-lrp', not 'all'"):
        mr.attribute(given.net, given.x, 0, "lrp-epsilon", attention="all")


@pytest.mark.parametrize("made", RECURRENT)
def test_gates_of_recurrent_layers_stay_constant(made: str) -> None:
    given = Case.of(RECURRENT[made](1), 1)
    found, plain = (
        mr.attribute(given.net, given.x, given.targets, "lrp-epsilon", attention=one).attribution
        for one in ("attn-lrp", "cp-lrp")
    )
    np.testing.assert_array_equal(found, plain)
