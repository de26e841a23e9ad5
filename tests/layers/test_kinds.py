"""Every kind of layer answers what is asked of it, and only kinds themselves are asked what they are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.layers import KINDS, Dense, Layer, Linear, Shared, Unweighted, as_kind
from mipin_ref.layers.kind import QUESTIONS, unanswered
from mipin_ref.methods.registry import METHODS, make_method
from mipin_ref.methods.rules import rule_of
from tests.backends import backend, on_every_backend
from tests.networks import random_graph, sample_inputs, seeded, to_onnx

ROOT = Path(mr.__file__).parent
FACTS = [
    question for question in QUESTIONS if question not in ("never_negative", "describe", "details", "forward", "emit")
]


@cache
def recorded(seed: int) -> tuple[mr.Network, dict[str, np.ndarray[Any, Any]]]:
    """A random network and all its values for three samples."""
    network = random_graph(seeded(seed), ranks=(2,))
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 3, seed).astype(np.float32)
    return net, dict(Recorder(net, list(net.shapes))(x).values)


def layers() -> list[tuple[Layer, dict[str, np.ndarray[Any, Any]]]]:
    return [(layer, values) for seed in range(60) for net, values in [recorded(seed)] for layer in net.layers]


def subclasses(kind: type[Any]) -> set[type[Any]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def test_the_random_networks_hold_every_kind() -> None:
    assert {type(layer) for layer, _ in layers()} == set(KINDS)


def test_every_class_that_can_be_made_is_a_kind_of_the_list() -> None:
    assert {one for one in subclasses(Layer) if not unanswered(one)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_is_answered(kind: type[Layer]) -> None:
    assert not unanswered(kind)
    assert issubclass(kind, Shared) == (kind.inverse == "shared")
    assert issubclass(kind, Shared | Unweighted)
    layer = next(layer for layer, _ in layers() if type(layer) is kind)
    for fact in FACTS:
        getattr(layer, fact)
    assert isinstance(layer.never_negative(True), bool)
    assert isinstance(layer.describe(), str)
    assert isinstance(layer.details(), dict)


def test_a_kind_that_leaves_a_question_open_is_an_error_where_it_is_defined() -> None:
    with pytest.raises(TypeError, match=r"layer kind Negation does not answer: .*mixes.*pull_back"):

        class Negation(Unweighted):
            kind = "Negation"
            inverse: ClassVar[Any] = "passes"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_has_a_rule_for_every_kind_or_says_so(method: str, kind: type[Layer]) -> None:
    layer = next(layer for layer, _ in layers() if type(layer) is kind)
    table = METHODS[method].rules if "pattern" in method else make_method(method, {}).rules
    assert rule_of(table, layer, method) is not None
    with pytest.raises(
        mr.UnsupportedModel, match=f"method '{method}' has no rule for layer '.*' \\({kind.__name__}\\)"
    ):
        rule_of({}, layer, method)


@on_every_backend
def test_forward_is_what_onnxruntime_computes(name: str) -> None:
    device = backend(name)
    seen = set()
    for layer, values in layers():
        y = device.get(layer.forward(device, [device.put(values[one]) for one in layer.inputs]))
        expected = values[layer.output]
        terms = max((array.size for array in layer.arrays.values()), default=1) + 64
        largest = max(float(np.max(np.abs(values[one]), initial=1.0)) for one in (*layer.inputs, layer.output))
        # A sum of so many rounded products; powers and exponentials are good to a few units in the last place.
        weight = max((float(np.max(np.abs(array), initial=0.0)) for array in layer.arrays.values()), default=1.0)
        assert np.max(np.abs(y - expected)) <= 8 * terms * np.finfo(np.float32).eps * largest * max(weight, 1.0), layer
        seen.add(type(layer))
    assert seen == set(KINDS)


@on_every_backend
def test_linear_kinds_keep_inner_products(name: str) -> None:
    """⟨W x, s⟩ = ⟨x, Wᵀ s⟩."""
    device, rng = backend(name), np.random.default_rng(0)
    for layer, _ in layers():
        if not isinstance(layer, Linear):
            continue
        x, s = rng.standard_normal((2, *layer.in_shape)), rng.standard_normal((2, *layer.out_shape))
        weight = device.put(layer.constant)
        y = device.get(layer.product(device, device.put(x), weight))
        back = device.get(layer.adjoint(device, device.put(s), weight))
        assert abs(np.sum(y * s) - np.sum(x * back)) <= 1e-12 * max(np.sum(np.abs(y * s)), np.sum(np.abs(x * back)))


def test_a_layer_of_another_kind_is_refused_by_name() -> None:
    layer = next(layer for layer, _ in layers() if not isinstance(layer, Dense))
    with pytest.raises(mr.UnsupportedModel, match=r"is no Dense"):
        as_kind(layer, Dense)


KIND_NAMES = "|".join(kind.__name__ for kind in KINDS)


def test_nobody_asks_a_layer_what_kind_it_is() -> None:
    """But the reader's rewrites, the method tables, and the golden cases' explicit twin of the fit."""
    asking = re.compile(rf"isinstance\([^,()]+(?:\[[^\]]*\])?, *\(?(?:{KIND_NAMES})\b")
    counts = {
        str(path.relative_to(ROOT)): len(asking.findall(path.read_text()))
        for path in sorted(ROOT.rglob("*.py"))
        if "rewrites" not in path.parts
    }
    assert {file: count for file, count in counts.items() if count} == {
        "golden/causes.py": 7,
        "golden/regression.py": 7,
        "graph/verify.py": 1,
        "inverse/plan.py": 1,
    }
