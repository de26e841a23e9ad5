"""`quantus_model` in Quantus: each metric gives what it gives of the same network written in torch."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from mipin_ref.graph.redraw import redrawable, reweighted
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape, Transpose
from tests.pages.page import TEXTS

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(1)
KERNEL, SHIFT = RNG.standard_normal((3, 1, 3, 3)), RNG.standard_normal(3)
MATRIX, BIAS = RNG.standard_normal((300, 4)) / 10, np.array([0.1, 0.2, 0.3, 0.4])
OPS: list[Op] = [
    Conv(("input",), "conv.1", KERNEL, bias=SHIFT),
    Activation(("conv.1",), "relu", "Relu"),
    Reshape(("relu",), "flat", (300,)),
    Dense(("flat",), "scores", MATRIX, bias=BIAS),
]
NET = mr.load(to_onnx(OPS, (1, 12, 12)))
X, TARGETS = RNG.random((3, 1, 12, 12), np.float32), np.array([0, 2, 3])
BOXES = np.zeros((3, 1, 12, 12), int)
BOXES[:, :, 2:7, 3:9] = 1

FEW: dict[str, dict[str, Any]] = {
    "FaithfulnessCorrelation": {"subset_size": 20, "nr_runs": 10},
    "FaithfulnessEstimate": {"features_in_step": 12},
    "PixelFlipping": {"features_in_step": 12},
    "RegionPerturbation": {"patch_size": 4, "regions_evaluation": 4},
    "Monotonicity": {"features_in_step": 12},
    "MonotonicityCorrelation": {"features_in_step": 12, "nr_samples": 4},
    "Selectivity": {"patch_size": 4},
    "SensitivityN": {"features_in_step": 24},
    "ROAD": {"percentages": [10, 50]},
    "Infidelity": {"perturb_patch_sizes": [4], "n_perturb_samples": 3},
    "Continuity": {"nr_steps": 3},
    "LocalLipschitzEstimate": {"nr_samples": 3},
    "MaxSensitivity": {"nr_samples": 3},
    "AvgSensitivity": {"nr_samples": 3},
    "RelativeInputStability": {"nr_samples": 3},
    "RelativeOutputStability": {"nr_samples": 3},
    "RelativeRepresentationStability": {"nr_samples": 3},
    "TopKIntersection": {"k": 20},
    "RandomLogit": {"num_classes": 4},
    "SmoothMPRT": {"nr_samples": 2},
    "Focus": {"mosaic_shape": (1, 12, 12)},
}
"""Options that make a metric fit an image of 12×12 pixels, or short."""

CHANGES = {"MPRT", "EfficientMPRT", "InputInvariance"}
"""Metrics that change the model: torch draws other weights, so these have tests of their own."""
FAILS = {"SmoothMPRT": "it explains by captum itself, which needs gradients"}
"""Metrics that cannot run, and why, as the page tells it."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Quantus warns of much, and NumPy 2.4 has left a function out that it calls."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(np, "trapz", np.trapezoid, raising=False)
        yield


def quantus_metrics() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantus
    return {one.__name__: one for group in quantus.AVAILABLE_METRICS.values() for one in group.values()}


NAMES = [
    *("FaithfulnessCorrelation", "FaithfulnessEstimate", "PixelFlipping", "RegionPerturbation", "Monotonicity"),
    *("MonotonicityCorrelation", "Selectivity", "SensitivityN", "IROF", "ROAD", "Infidelity", "Sufficiency"),
    *("Continuity", "LocalLipschitzEstimate", "MaxSensitivity", "AvgSensitivity", "Consistency"),
    *("RelativeInputStability", "RelativeOutputStability", "RelativeRepresentationStability", "PointingGame"),
    *("TopKIntersection", "RelevanceMassAccuracy", "RelevanceRankAccuracy", "AttributionLocalisation", "AUC", "Focus"),
    *("Sparseness", "Complexity", "EffectiveComplexity", "MPRT", "SmoothMPRT", "EfficientMPRT", "RandomLogit"),
    *("Completeness", "NonSensitivity", "InputInvariance"),
]


@cache
def twin() -> Any:
    """The network in torch, written by hand."""
    import torch

    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(300, 4))
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), (KERNEL, SHIFT, MATRIX.T, BIAS), strict=True):
            parameter.copy_(torch.tensor(values))
    return model.eval()


def score(name: str, model: Any, explain: Callable[..., Any], **more: Any) -> Any:
    """What one metric says of the model, with the seeds that its draws come from."""
    import torch

    np.random.seed(0)  # noqa: NPY002 - Quantus draws from it
    torch.manual_seed(0)
    metric = quantus_metrics()[name](disable_warnings=True, display_progressbar=False, **{**FEW.get(name, {}), **more})
    # What Focus takes of mosaics: which of their cells hold the class.
    beside = {"custom_batch": [(1, 0, 0, 0)] * 3} if name == "Focus" else {}
    batch = {"x_batch": X.copy(), "y_batch": TARGETS.copy(), "s_batch": BOXES.copy(), **beside}
    return metric(model=model, **batch, a_batch=explain(None, X, TARGETS), explain_func=explain, device="cpu")


def numbers(scores: Any) -> list[float]:
    """All numbers of a result, however it is nested."""
    if isinstance(scores, dict):
        return [one for some in scores.values() for one in numbers(some)]
    return [float(one) for one in np.ravel(np.asarray(scores, float))]


def test_every_metric_of_quantus_is_asked() -> None:
    assert set(NAMES) == set(quantus_metrics())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CHANGES | FAILS.keys()])
def test_a_metric_says_the_same_as_of_the_network_in_torch(name: str) -> None:
    explain = mr.explain_func(NET, "gradient", dtype="float32")
    ours, theirs = (numbers(score(name, model, explain)) for model in (mr.metrics.quantus_model(NET), twin()))
    assert len(ours) > 0
    # Stability divides by changes of outputs as small as single precision has them.
    rtol = 1e-2 if name.startswith("Relative") else 1e-4
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("name", FAILS)
def test_what_cannot_run_says_so(name: str) -> None:
    explain = mr.explain_func(NET, "gradient")
    with pytest.raises(RuntimeError, match="does not require grad"):
        score(name, mr.metrics.quantus_model(NET), explain)


def test_randomised_weights_are_those_that_are_explained() -> None:
    """Each step's correlation, from attributions of the networks that the module holds on the way."""
    import torch
    from scipy.stats import spearmanr

    model, explain = mr.metrics.quantus_model(NET), mr.explain_func(NET, "gradient")
    steps = score("MPRT", model, explain, skip_layers=False)
    scores = list(steps.values())
    assert [name for name in steps if name != "original"] == ["3 Dense scores", "0 Conv conv_1"]
    np.testing.assert_allclose(scores[0], 1, rtol=1e-12)
    original = np.abs(mr.attribute(NET, X, TARGETS, "gradient").contribution)
    changed = deepcopy(model)
    for expected, module in zip(scores[1:], [changed.get_submodule(name) for name in [*steps][1:]], strict=True):
        torch.manual_seed(43)
        module.reset_parameters()
        redrawn = np.abs(mr.attribute(changed.network, X, TARGETS, "gradient").contribution)
        for one, a, b in zip(expected, original, redrawn, strict=True):
            # Quantus takes a map by its largest value, which changes no rank.
            assert one == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-6)
            assert one < 0.9
    assert model.network is NET


def test_a_method_that_is_fitted_is_fitted_anew_on_randomised_weights() -> None:
    calibration = np.random.default_rng(2).random((40, 1, 12, 12), np.float32)
    explain = mr.explain_func(NET, "mip-in", calibration=calibration)
    steps = score("MPRT", mr.metrics.quantus_model(NET), explain)
    assert all(np.isfinite(numbers(steps)))
    assert np.mean(list(steps.values())[-1]) < 0.9
    fitted = mr.explain_func(NET, "mip-in", inverse=mr.fit(NET, calibration, target=[0, 2, 3]))
    with pytest.raises(mr.InvalidData, match="fitted on another network"):
        score("MPRT", mr.metrics.quantus_model(NET), fitted)
    assert np.isfinite(numbers(score("EfficientMPRT", mr.metrics.quantus_model(NET), explain))).all()


def test_a_shifted_first_layer_undoes_a_shift_of_the_input() -> None:
    """And gradients stay, as they do in torch; Quantus 0.6 leaves a pixel of each image where it is."""
    import torch
    from quantus.helpers.utils import get_wrapped_model

    def of_torch(model: Any, inputs: Any, targets: Any, **ignored: Any) -> Any:
        x = torch.tensor(np.asarray(inputs, np.float32), requires_grad=True)
        logits = (twin() if model is None else model)(x)
        (slope,) = torch.autograd.grad(logits[range(len(x)), targets].sum(), x)
        return slope.numpy()

    model, explain = mr.metrics.quantus_model(NET), mr.explain_func(NET, "gradient", kind="attribution")
    wrapped = get_wrapped_model(model, channel_first=True, softmax=False, device="cpu")
    shifted = wrapped.add_mean_shift_to_first_layer(-1, (1, 1, 12, 12))
    np.testing.assert_allclose(shifted(torch.tensor(X - 1)), logits(NET, X), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(explain(shifted, X - 1, TARGETS), explain(model, X, TARGETS))
    ours, theirs = score("InputInvariance", model, explain), score("InputInvariance", twin(), of_torch)
    np.testing.assert_array_equal(ours, theirs)
    assert np.any(ours)
    assert not np.any(score("InputInvariance", model, mr.explain_func(NET, "input-x-gradient")))


@pytest.mark.parametrize("loaded", ["network", "file"])
def test_the_module_gives_the_logits(loaded: str) -> None:
    import torch

    model = mr.metrics.quantus_model(NET if loaded == "network" else to_onnx(OPS, (1, 12, 12)))
    assert not model.training
    many = np.random.default_rng(3).random((300, 1, 12, 12), np.float32)
    scores = model(torch.tensor(many))
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), logits(NET, many), rtol=0, atol=0)
    np.testing.assert_allclose(scores.numpy(), twin()(torch.tensor(many)).detach().numpy(), rtol=0, atol=1e-5)
    with pytest.raises(mr.InvalidData, match=r"takes \[N, 1, 12, 12\]"):
        model(torch.zeros(2, 1, 5, 5))
    with pytest.raises(mr.InvalidData, match="no sample"):
        model(torch.zeros(0, 1, 12, 12))


def test_each_layer_gives_what_torch_gives() -> None:
    import torch

    model, x = mr.metrics.quantus_model(NET), torch.tensor(X)
    made: list[Any] = []
    handles = [module.register_forward_hook(lambda module, given, out: made.append(out)) for module in model.children()]
    model(x)
    for handle in handles:
        handle.remove()
    value = x
    for out, ours, theirs in zip(made, model.children(), twin().children(), strict=True):
        alone = ours(value)
        value = theirs(value).detach()
        np.testing.assert_allclose(out.numpy(), value.numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(alone.numpy(), value.numpy(), rtol=0, atol=1e-5)


def test_parameters_are_those_of_the_network_that_is_run() -> None:
    import torch

    model = mr.metrics.quantus_model(NET)
    assert model.network is NET
    copied, before = deepcopy(model), deepcopy(model.state_dict())
    dense = copied.get_submodule("3 Dense scores")
    with torch.no_grad():
        dense.bias += 1
    expected = reweighted(NET, {"scores": {"weight": NET.layers[3].arrays["weight"], "bias": BIAS + 1}})
    x = torch.tensor(X)
    np.testing.assert_allclose(copied(x).numpy(), model(x).numpy() + 1, rtol=0, atol=1e-6)
    assert copied.network is copied.network
    assert copied.network.sha256 not in {NET.sha256, expected.output}
    assert model.network is NET
    copied.load_state_dict(before)
    assert copied.network is NET
    assert [name for name, one in model.named_modules() if hasattr(one, "reset_parameters")] == [
        "0 Conv conv_1",
        "3 Dense scores",
    ]
    assert len(redrawable(NET)) == 2


@pytest.mark.parametrize("head", ["Softmax", "Sigmoid", None])
def test_softmax_is_the_head_of_the_file(head: str | None) -> None:
    """As Quantus asks for it: probabilities where softmax=True, logits where not."""
    import torch
    from onnx import helper
    from quantus.helpers.utils import get_wrapped_model

    file = to_onnx(OPS, (1, 12, 12))
    if head is not None:
        made = helper.make_node(head, ["scores"], ["p"])
        made.attribute.extend([helper.make_attribute("axis", -1)] if head == "Softmax" else [])
        file.graph.node.append(made)
        file.graph.output[0].name = "p"
    model, expected = mr.metrics.quantus_model(file), twin()(torch.tensor(X)).detach()
    probabilities = expected.sigmoid() if head == "Sigmoid" else expected.softmax(dim=-1)
    for softmax, wanted in ((True, probabilities), (False, expected)):
        given = get_wrapped_model(model, channel_first=True, softmax=softmax, device="cpu").predict(X)
        np.testing.assert_allclose(given, wanted.numpy(), rtol=0, atol=1e-5)


def test_one_number_without_a_head_has_no_probability() -> None:
    from quantus.helpers.utils import get_wrapped_model

    ops: list[Op] = [Reshape(("input",), "flat", (4,)), Dense(("flat",), "scores", np.ones((4, 1)))]
    model, x = mr.metrics.quantus_model(to_onnx(ops, (1, 2, 2))), np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_allclose(get_wrapped_model(model, True, softmax=False, device="cpu").predict(x), [[4]])
    with pytest.raises(mr.InvalidData, match="it has no probability"):
        get_wrapped_model(model, True, softmax=True, device="cpu").predict(x)


def test_channels_may_stand_in_front_of_a_network_that_takes_them_behind() -> None:
    """As Quantus turns every image, for model and explanation alike."""
    behind = mr.load(to_onnx([Transpose(("image",), "input", (0, 3, 1, 2)), *OPS], (12, 12, 1)))
    assert behind.input_shape == (12, 12, 1)
    for name in ("PixelFlipping", "MaxSensitivity"):
        turned, plain = (
            numbers(score(name, mr.metrics.quantus_model(net), mr.explain_func(net, "gradient")))
            for net in (behind, NET)
        )
        np.testing.assert_allclose(turned, plain, rtol=1e-5)
    explain, last = mr.explain_func(behind, "gradient"), np.moveaxis(X, 1, -1)
    np.testing.assert_array_equal(explain(None, last, TARGETS), np.moveaxis(explain(None, X, TARGETS), 1, -1))


def test_model_and_explanation_must_be_of_one_network() -> None:
    other = mr.load(to_onnx([*OPS[:3], Dense(("flat",), "scores", MATRIX * 2, bias=BIAS)], (1, 12, 12)))
    with pytest.raises(mr.InvalidData, match="are of two networks"):
        score("MaxSensitivity", mr.metrics.quantus_model(other), mr.explain_func(NET, "gradient"))


def test_without_torch_it_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "mipin_ref.metrics.quantus_module", raising=False)
    with pytest.raises(mr.BackendUnavailable, match=r"torch is missing: pip install 'quantus\[torch\]'"):
        mr.metrics.quantus_model(NET)


def test_the_page_tells_which_metrics_run() -> None:
    page = TEXTS["mipin_ref/metrics/README.md"]
    section = page[page.index("## In Quantus") :]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("|")]
    told = {name: row[2].strip() for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert set(told) == set(NAMES)
    assert {name for name, runs in told.items() if not runs.startswith("yes")} == set(FAILS)
    assert all(reason in told[name] for name, reason in FAILS.items())
