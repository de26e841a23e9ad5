"""Every kind of layer answers what is asked of it, and only kinds themselves are asked what they are."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, ClassVar

import numpy as np
import pytest

import mipin_ref as mr
import mipin_ref.layers
from mipin_ref.golden.describe import describe_layers
from mipin_ref.golden.stages.slips import SLIPS, forward_slips
from mipin_ref.graph.draft import Gap
from mipin_ref.graph.forward import Recorder, logits
from mipin_ref.graph.frontier import frontier
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.inverse.plan.feature_maps import maps_to_explain
from mipin_ref.layers import (
    GRU,
    KINDS,
    LSTM,
    Attention,
    ConvTranspose,
    Dense,
    Extremum,
    Gate,
    Layer,
    Linear,
    Norm,
    Reshape,
    Resize,
    Scores,
    Shared,
    SoftmaxWeights,
    Stateful,
    Switched,
    TokenDense,
    Unweighted,
    Wired,
    as_kind,
)
from mipin_ref.layers.kind import QUESTIONS, unanswered
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.rules import Rules, rule_of
from mipin_ref.panel.registry import METHODS
from tests.backends import EPS, backend, on_every_backend
from tests.layers.made_up import SHAPE, negation, network, unchanged
from tests.networks import Network, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.attention import EVERY as NORMED
from tests.networks.gated import GATED
from tests.networks.geometry_stages import GEOMETRY_STAGES
from tests.networks.norms import SHAPE as NORMED_SHAPE
from tests.networks.recurrent import RECURRENT
from tests.networks.stages import STAGES
from tests.oracles.design import block_design
from tests.oracles.forward import pool_switches
from tests.oracles.spec import MaxPool

ROOT = Path(mr.__file__).parent
FACTS = [
    question
    for question in QUESTIONS
    if question not in ("never_negative", "describe", "details", "forward", "emit", "leads")
]


@cache
def graph(which: int | str) -> Network:
    """A random network of a seed, from 60 on with kinds that change the grid, or one of these by its name."""
    if which in GATED:
        return GATED[str(which)](0)
    if which in RECURRENT:
        return RECURRENT[str(which)](0)
    if isinstance(which, str):
        return Network(tuple(NORMED[which]()), NORMED_SHAPE)
    return random_graph(seeded(which), ranks=(2,), stages=STAGES if which < 60 else GEOMETRY_STAGES)


@cache
def recorded(which: int | str) -> tuple[mr.Network, dict[str, np.ndarray[Any, Any]]]:
    """A network and all its values for three samples."""
    network, seed = graph(which), which if isinstance(which, int) else 0
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 3, seed).astype(np.float32)
    return net, dict(Recorder(net, list(net.shapes))(x).values)


REFUSING = {"lrp-alpha-beta", "deep-taylor", "excitation-backprop", "deconvnet", "guided-backprop"}
REFUSING |= {"patternnet", "pattern-attribution"}
MADE_FOR_OTHERS = (ConvTranspose, Resize)
"""Methods made for rectifiers or patterns, and kinds of section 10 that they refuse by name."""

X = np.random.default_rng(0).normal(size=(9, *SHAPE)).astype(np.float32)


def layers() -> list[tuple[Layer, dict[str, np.ndarray[Any, Any]]]]:
    networks = (*range(100), *GATED, *NORMED, *RECURRENT)
    return [(layer, values) for one in networks for net, values in [recorded(one)] for layer in net.layers]


def subclasses(kind: type[Any]) -> set[type[Any]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def drawn(kind: type[Layer]) -> list[Layer]:
    """The layers of a kind in the random networks."""
    found = [layer for layer, _ in layers() if type(layer) is kind]
    assert found, f"the random networks of tests/networks hold no {kind.__name__}"
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_random_networks_hold_every_kind(kind: type[Layer]) -> None:
    assert drawn(kind)


def test_every_class_that_can_be_made_is_a_kind_of_the_list() -> None:
    for module in walk_packages(mipin_ref.layers.__path__, "mipin_ref.layers."):
        import_module(module.name)
    found = {one for one in subclasses(Layer) if one.__module__.startswith("mipin_ref") and not unanswered(one)}
    assert found == set(KINDS)


BACKWARD = {name: method for name, method in METHODS.items() if issubclass(method, BackwardMethod)}


def table_of(method: type[BackwardMethod]) -> Rules:
    """The rules of a method, with default options where it has tables of its options."""
    return method.rules if method.fitting is not None else method(method.checked({})).rules


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_is_answered(kind: type[Layer]) -> None:
    assert not unanswered(kind)
    assert issubclass(kind, Shared) == (kind.inverse == "shared")
    assert issubclass(kind, Shared | Unweighted)
    layer = drawn(kind)[0]
    for fact in FACTS:
        getattr(layer, fact)
    assert isinstance(layer.never_negative(True), bool)
    assert isinstance(layer.describe(), str)
    assert isinstance(layer.details(), dict)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_says_of_the_signs_of_its_values_is_so(kind: type[Layer]) -> None:
    device, rng = backend("numpy"), np.random.default_rng(0)
    for layer in drawn(kind):
        inputs = [rng.standard_normal((3, *shape)) for shape in layer.in_shapes]
        for given, floored in ((inputs, False), ([np.abs(x) for x in inputs], True)):
            if layer.never_negative(floored):
                assert np.min(layer.forward(device, given)) >= 0, layer


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_rearranges_where_its_layers_do(kind: type[Layer]) -> None:
    device, rng = backend("numpy"), np.random.default_rng(0)
    kept = []
    for layer in drawn(kind):
        x, *others = (rng.standard_normal((3, *shape)) for shape in layer.in_shapes)
        y = layer.forward(device, [x, *others])
        kept.append(np.array_equal(np.sort(x, axis=None), np.sort(y, axis=None)))
    assert kind.rearranges == all(kept)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if issubclass(kind, Unweighted) and not issubclass(kind, Switched)]
)
def test_where_a_kind_keeps_zero_the_mask_of_its_output_is_that_of_its_input(kind: type[Layer]) -> None:
    """What comes back to an input that is zero, of a signal that is zero where the output is."""
    device, rng = backend("numpy"), np.random.default_rng(0)
    for layer in drawn(kind):
        if not layer.keeps_zero:
            continue
        inputs = [np.maximum(rng.standard_normal((3, *shape)), 0) for shape in layer.in_shapes]
        # State may be anything but zero, by which a gate would divide.
        inputs = [x if slot in layer.paths else 0.5 + np.abs(x) for slot, x in enumerate(inputs)]
        states = {layer.output: inputs[-1]}
        y = layer.forward(device, inputs)
        signal = np.where(y == 0, 0.0, rng.standard_normal(y.shape))
        for slot in layer.paths:
            back = as_kind(layer, Unweighted).pull_back(device, signal, slot, states)
            assert not np.any(back[inputs[slot] == 0]), layer


def test_a_kind_that_leaves_a_question_open_is_an_error_where_it_is_defined() -> None:
    with pytest.raises(TypeError, match=r"layer kind Negation does not answer: .*mixes.*pull_back"):

        class Negation(Unweighted):
            kind = "Negation"
            inverse: ClassVar[Any] = "passes"


CAMS = {"grad-cam", "grad-cam++", "hires-cam", "layer-cam", "score-cam", "eigen-cam"}
ROLLOUTS = {"attention-rollout", "gradient-attention-rollout"}
DIFFERENTIATE = CAMS | ROLLOUTS | {"gradient", "input-x-gradient", "smoothgrad", "integrated-gradients"}
RULED = dict.fromkeys((Gate, Extremum, Norm, LSTM, GRU), DIFFERENTIATE | {"lrp-epsilon"})
RULED |= dict.fromkeys((Attention, SoftmaxWeights, Scores), DIFFERENTIATE | {"lrp-epsilon"})
RULED |= {TokenDense: DIFFERENTIATE | {"lrp-epsilon", "deeplift"}}
"""Kinds that other methods refuse (method, section 10), and those that do not."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BACKWARD)
def test_every_method_has_a_rule_for_every_kind_or_refuses_it_by_name(name: str, kind: type[Layer]) -> None:
    """What a method has no rule for is in RULED or REFUSING, so that a rule that was forgotten is told here."""
    if name in RULED.get(kind, BACKWARD) and not (name in REFUSING and kind in MADE_FOR_OTHERS):
        assert kind in table_of(BACKWARD[name]), f"method {name!r} has no rule for {kind.__name__}"
        return
    with pytest.raises(
        mr.UnsupportedModel, match=f"method '{re.escape(name)}' has no rule for layer .* \\({kind.__name__}\\)"
    ):
        rule_of(table_of(BACKWARD[name]), drawn(kind)[0], name)


@pytest.mark.parametrize("name", [name for name in BACKWARD if name not in ROLLOUTS])
def test_every_method_refuses_a_kind_that_it_has_no_rule_for(name: str) -> None:
    """Before anything is computed, naming itself, the layer and its kind."""
    net = network(negation())
    options: dict[str, Any] = (
        {} if (fitting := BACKWARD[name].fitting) is None else {fitting.option: fitting(net, X, {}).of([0])}
    )
    with pytest.raises(
        mr.UnsupportedModel, match=f"method '{re.escape(name)}' has no rule for layer 'odd' \\(Negation\\)"
    ):
        mr.attribute(net, X, 0, name, at="t", **options)


def test_every_kind_has_its_known_slips() -> None:
    assert set(SLIPS) == set(KINDS)
    with pytest.raises(mr.UnsupportedModel, match=r"the slips of layer 'odd' \(Negation\) are not known"):
        next(forward_slips(negation(), {}, X))


@pytest.mark.parametrize("name", BACKWARD)
def test_no_method_takes_an_heir_of_a_kind_for_the_kind(name: str) -> None:
    class Heir(Reshape):
        kind = "Heir"

    layer = Heir(name="odd", inputs=("t",), output="u", in_shapes=(SHAPE,), out_shape=SHAPE)
    with pytest.raises(mr.UnsupportedModel, match=f"method '{re.escape(name)}' has no rule for layer 'odd'"):
        rule_of(table_of(BACKWARD[name]), layer, name)


def test_a_made_up_kind_is_inverted_as_it_says() -> None:
    """S and A of -x in front of a Dense are those of the Dense with -W: the engine asks the kind alone."""
    turned = mr.fit(network(negation()), X, 1).attribute(X)
    plain = mr.fit(network(unchanged(), sign=-1.0), X, 1).attribute(X)
    np.testing.assert_array_equal(turned.output, plain.output)
    # Sums of turned values round alike, but for the sign of what is exactly between two numbers.
    for found, expected in ((turned.source, plain.source), (turned.attribution, plain.attribution)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))
    assert np.corrcoef(turned.source.ravel(), -plain.source.ravel())[0, 1] < 0


def test_a_made_up_kind_is_shown_and_written() -> None:
    net = network(negation())
    assert "Negation" in str(net)
    assert maps_to_explain(net)[-1].tensor == "t"
    np.testing.assert_allclose(logits(net, X), -logits(network(unchanged()), X), rtol=1e-6)
    (first, *_) = describe_layers(net, lambda name, array: name)
    assert first["kind"] == "Negation"


def test_what_is_no_kind_is_no_layer_of_a_network() -> None:
    """Softmax, Log, Product, Contraction and Gap stand in the draft alone."""
    drafted = {one for one in subclasses(Wired) if not issubclass(one, Layer)} - {Wired}
    assert {one.__name__ for one in drafted} == {"_Passing", "Softmax", "Log", "Product", "Contraction", "Gap"}
    problem = Problem("Odd 'odd'", "no inverse is known")
    gap = Gap(name="odd", inputs=("t",), output="u", in_shapes=((2,),), out_shape=(2,), problems=(problem,))
    names = frozenset({"t", "u"})
    with pytest.raises(mr.UnsupportedModel, match=r"Odd 'odd' \(no inverse is known\)"):
        frontier(Wiring([gap], "u", names), (problem,), names, "t", {})


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


def same(layer: Layer, ops: dict[str, Any]) -> bool:
    """Whether there is an op of the same tensors."""
    return layer.output in ops and ops[layer.output].inputs == layer.inputs


def test_signals_come_back_as_the_design_of_the_oracle_says() -> None:
    """A fit below would absorb a wrong sign or factor: here each layer is asked alone."""
    device, rng, seen = backend("numpy"), np.random.default_rng(0), set()
    for which in (*range(100), *GATED, *NORMED, *RECURRENT):
        ops = {op.output: op for op in graph(which).ops}
        net, values = recorded(which)
        for layer in net.layers:
            # A mean over all but channels that are last is read as several layers.
            apart = which in NORMED and layer.kind != type(ops.get(layer.output)).__name__
            # Of what an LSTM or a GRU hands out, files have tensors that the ops have not.
            apart = apart or (which in RECURRENT and not same(layer, ops))
            if not isinstance(layer, Unweighted) or apart:
                continue
            op = ops[layer.output]
            signal = rng.standard_normal((3, *layer.out_shape))
            switches = pool_switches(op, values[layer.input]) if isinstance(op, MaxPool) else None
            states = {} if switches is None else {layer.output: as_kind(layer, Switched).taps(switches)}
            given = [values[name].astype(np.float64) for name in (*layer.inputs, layer.output)]
            if isinstance(layer, Stateful) and layer.reads and switches is None:
                states = {layer.output: layer.state({one: values[one[1]] for one in layer.reads})}
            for slot in layer.paths:
                shape = layer.in_shapes[slot]
                back = layer.pull_back(device, signal, slot, states)
                for m in range(shape[0]):
                    expected = block_design(op, slot, signal, layer.in_shapes, switches, m, given)
                    # Means of at most a few dozen values, or copies, summed in another order.
                    largest = max(1.0, float(np.max(np.abs(expected))))
                    np.testing.assert_allclose(
                        back[:, m].reshape(-1), expected[:, 0], rtol=0, atol=36 * 4 * EPS * largest, err_msg=str(layer)
                    )
            seen.add(type(layer))
    assert seen == {kind for kind in KINDS if issubclass(kind, Unweighted)}


def test_a_layer_of_another_kind_is_refused_by_name() -> None:
    layer = next(layer for layer, _ in layers() if not isinstance(layer, Dense))
    with pytest.raises(mr.UnsupportedModel, match=r"is no Dense"):
        as_kind(layer, Dense)


KIND_NAMES = "|".join(kind.__name__ for kind in KINDS)


def test_nobody_asks_a_layer_what_kind_it_is() -> None:
    """But the reader's rewrites. A table from kind to answer is asked by the exact class."""
    asking = re.compile(rf"isinstance\([^,()]+(?:\[[^\]]*\])?, *\(?(?:{KIND_NAMES})\b")
    counts = {
        str(path.relative_to(ROOT)): len(asking.findall(path.read_text()))
        for path in sorted(ROOT.rglob("*.py"))
        if "rewrites" not in path.parts
    }
    assert {file: count for file, count in counts.items() if count} == {}
