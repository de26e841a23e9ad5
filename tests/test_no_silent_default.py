"""No table, ladder or dispatch over kinds of layer has a default: what a kind has not been told is refused by name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.golden.describe import describe_layers
from mipin_ref.graph import draft as draft_layers
from mipin_ref.graph.emit import emit
from mipin_ref.graph.feature_maps import feature_maps, is_floored
from mipin_ref.graph.kinds import KindTable, keeps_zero
from mipin_ref.graph.layer import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
    parameters,
)
from mipin_ref.graph.redraw import redraw, redrawable
from mipin_ref.inverse.blocks import DeviceWeights, block_shapes, reconstruct
from mipin_ref.inverse.candidates import candidates
from mipin_ref.inverse.plan import Branch, Step, make_plan
from mipin_ref.inverse.pull import pull
from mipin_ref.inverse.recordings import operations
from mipin_ref.layers.moves import MOVES, moved_back
from mipin_ref.methods.bounds import carried
from mipin_ref.methods.linear import LINEAR, linear_adjoint, linear_forward
from mipin_ref.methods.pattern import Spread
from mipin_ref.methods.registry import METHODS
from mipin_ref.methods.shares import AVERAGES, bias_of
from mipin_ref.methods.site import Site, constant_of
from mipin_ref.methods.weights import LayerWeights
from mipin_ref.window import Window

ROOT = Path(mr.__file__).parent
NUMPY = get_backend("numpy")


@dataclass(frozen=True, eq=False, kw_only=True)
class Negation(Layer):
    """x -> -x: a kind that nobody has been told of. Passed on unchanged its signals would have the wrong sign."""

    kind = "Negation"


def window() -> Window:
    return Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))


MAP, POOLED = (3, 4, 4), (3, 2, 2)
MADE: dict[type[Layer], dict[str, Any]] = {
    Dense: {"weight": np.ones((3, 3)), "bias": np.zeros(3), "in_shapes": ((3,),), "out_shape": (3,)},
    Conv: {"weight": np.ones((3, 3, 2, 2)), "bias": np.zeros(3), "window": window(), "groups": 1, "out_shape": POOLED},
    MaxPool: {"window": window(), "ceil_mode": False, "out_shape": POOLED},
    AveragePool: {"window": window(), "ceil_mode": False, "count_include_pad": False, "out_shape": POOLED},
    GlobalAveragePool: {"out_shape": (3, 1, 1)},
    Affine: {"scale": np.full((3, 1, 1), 2.0), "shift": np.zeros((3, 1, 1))},
    Activation: {"function": "Relu"},
    Add: {},
    Concat: {"axis": 1},
    Slice: {"begin": (0, 0, 0), "end": POOLED, "out_shape": POOLED},
    Pad: {"begin": (0, 0, 0), "end": (0, 0, 0)},
    Reshape: {"out_shape": (48,)},
    Transpose: {"perm": (0, 1, 3, 2)},
    draft_layers.Softmax: {"function": "Softmax"},
    draft_layers.Log: {},
    draft_layers.Gap: {},
    Negation: {},
}
DRAFTS = {draft_layers.Softmax, draft_layers.Log, draft_layers.Gap}
UNKNOWN = {Negation, *DRAFTS}
"""Drafts are gone from a network that is loaded: to every step behind that they are unknown too."""


def made(kind: type[Layer]) -> Layer:
    given = {"name": "odd", "inputs": ("t",), "output": "u", "in_shapes": (MAP,), "out_shape": MAP, **MADE[kind]}
    return kind(**given)


def subclasses(of: type[Layer]) -> Iterator[type[Layer]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def branch(layer: Layer) -> Branch:
    return Branch((layer,), 0)


def step(layer: Layer) -> Step:
    return Step("t", layer.in_shape, (branch(layer),), False, False)


def signal(layer: Layer) -> Any:
    return np.ones((1, *layer.out_shape))


def tap(layer: Layer) -> Any:
    return np.zeros((1, *layer.out_shape), np.int8)


def reconstructed(layer: Layer) -> Any:
    shapes = block_shapes(step(layer), column=False)
    weights = DeviceWeights(tuple(np.ones(shape) for shape in shapes), None, 0)
    return reconstruct(NUMPY, step(layer), {"u": signal(layer)}, weights, {"u": tap(layer)}, affine=0)


def site(layer: Layer) -> Site:
    return Site(NUMPY, layer, None, None, None, None, LayerWeights(NUMPY))


def weight(layer: Layer) -> Any:
    return None if isinstance(layer, GlobalAveragePool) else constant_of(layer)


LADDERS: dict[str, tuple[Callable[[Layer], Any], tuple[type[Layer], ...]]] = {
    "trained arrays": (parameters, tuple(MADE)),
    "keeps zero": (keeps_zero, tuple(MADE)),
    "never negative": (lambda layer: is_floored(layer, ()), tuple(MADE)),
    "cost": (operations, tuple(MADE)),
    "moves": (lambda layer: moved_back(NUMPY, layer, 0, signal(layer)), MOVES),
    "pull": (
        lambda layer: pull(NUMPY, branch(layer), {"u": signal(layer)}, {"u": tap(layer)}),
        (*MOVES, MaxPool, AveragePool, GlobalAveragePool, Activation, Affine),
    ),
    "shapes of weights": (lambda layer: block_shapes(step(layer), column=False), tuple(MADE)),
    "reconstruction": (reconstructed, tuple(MADE)),
    "linear forward": (
        lambda layer: linear_forward(NUMPY, layer, np.ones((1, *layer.in_shape)), weight(layer)),
        LINEAR,
    ),
    "linear adjoint": (lambda layer: linear_adjoint(NUMPY, layer, signal(layer), weight(layer)), LINEAR),
    "constants": (constant_of, (Dense, Conv, Affine, AveragePool)),
    "biases": (bias_of, (Dense, Conv, Affine)),
    "spread": (lambda layer: Spread().back(site(layer), signal(layer), 0), (AveragePool, GlobalAveragePool)),
}
"""Each ladder, and the kinds that it is for; all but drafts and the made-up one where it is for all."""


def test_every_kind_is_made_here() -> None:
    kinds = {kind for kind in subclasses(Layer) if kind.__module__.startswith("mipin_ref") or kind is Negation}
    assert kinds == set(MADE)


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("name", LADDERS)
def test_ladders_know_a_kind_or_refuse_it(name: str, kind: type[Layer]) -> None:
    ask, known = LADDERS[name]
    if kind in known and kind not in UNKNOWN:
        ask(made(kind))
        return
    with pytest.raises(mr.UnsupportedModel, match=f"layer 'odd' of kind {kind.kind}"):
        ask(made(kind))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("table", KindTable.tables, ids=lambda table: table.step)
def test_tables_know_a_kind_or_refuse_it(table: KindTable[Any], kind: type[Layer]) -> None:
    expected = set(LINEAR) if table is AVERAGES else set(MADE) - UNKNOWN
    if kind in expected:
        table.of(made(kind))
        return
    with pytest.raises(mr.UnsupportedModel, match=f"{table.step} does not know layer 'odd' of kind {kind.kind}"):
        table.of(made(kind))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("name", mr.methods())
def test_methods_have_a_rule_or_refuse_the_kind(name: str, kind: type[Layer]) -> None:
    net = with_odd(kind)
    method = object.__new__(METHODS[name])
    if name.startswith("pattern"):
        method.options = type("Given", (), {"patterns": type("Held", (), {"weights": {"u": np.ones(1)}})})
    else:
        method = METHODS[name](METHODS[name].Options())
    layer = next(layer for layer in net.layers if layer.name == "odd")
    if kind not in UNKNOWN:
        assert method.rule(net, layer) is not None
        return
    with pytest.raises(mr.UnsupportedModel, match=f"layer 'odd' of kind {kind.kind}"):
        method.rule(net, layer)


def with_odd(kind: type[Layer]) -> mr.Network:
    """The odd layer between an input of its shape and a Dense."""
    odd = made(kind)
    flat = int(np.prod(odd.out_shape))
    layers = [
        odd,
        Reshape(name="f", inputs=("u",), output="f", in_shapes=(odd.out_shape,), out_shape=(flat,)),
        Dense(
            name="y",
            inputs=("f",),
            output="y",
            in_shapes=((flat,),),
            out_shape=(2,),
            weight=np.arange(2.0 * flat).reshape(flat, 2).astype(np.float32),
            bias=np.zeros(2, np.float32),
        ),
    ]
    return mr.Network(
        layers=tuple(layers),
        input="t",
        input_shape=odd.in_shape,
        dtype=np.dtype(np.float32),
        output_names=("y",),
        output="y",
        logits="y",
        aliases={},
        folded=frozenset(),
        sha256="",
    )


X = np.random.default_rng(0).random((6, *MAP)).astype(np.float32)


def attributed(name: str, net: mr.Network) -> Any:
    return mr.attribute(net, X, 0, name, at="t")


WHOLE: dict[str, Callable[[mr.Network], Any]] = {
    "plan": lambda net: make_plan(net, at=None, local=True, input_mask=None),
    "candidates": candidates,
    "feature maps": feature_maps,
    "channel axes": lambda net: net.channel_axis("t"),
    "emit": lambda net: emit(net, ["y"]),
    "redrawable": redrawable,
    "redraw": lambda net: redraw(net, ["y"]),
    "golden manifest": lambda net: describe_layers(net, lambda name, array: name),
    "bounds": lambda net: carried(net, (X[0] * 0, X[0] * 0 + 1)),
    "fit": lambda net: mr.fit(net, X, 0),
    "patterns": lambda net: mr.fit_patterns(net, X),
    "logits": lambda net: net.predict(X),
    **{name: partial(attributed, name) for name in mr.methods() if "pattern" not in name},
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_network_with_a_made_up_kind_is_refused_before_anything_is_computed(name: str) -> None:
    with pytest.raises(mr.UnsupportedModel, match="layer 'odd' of kind Negation"):
        WHOLE[name](with_odd(Negation))
    # The same network without it goes through.
    WHOLE[name](with_odd(Transpose))


ASKING = {
    # Asked above, by themselves or in a network.
    "graph/layer.py: parameters",
    "graph/kinds.py: keeps_zero",
    "graph/feature_maps.py: is_floored",
    "graph/emit.py: _append",
    "golden/describe.py: _fields",
    "inverse/blocks.py: block_shapes",
    "inverse/blocks.py: reconstruct",
    "inverse/pull.py: _pull",
    "inverse/recordings.py: operations",
    "layers/moves.py: moved_back",
    "methods/bounds.py: _moved",
    "methods/linear.py: linear_forward",
    "methods/linear.py: linear_adjoint",
    "methods/pattern.py: back",
    "methods/shares.py: bias_of",
    "methods/site.py: constant_of",
    # Drafts have no arrays; `parameters` is asked of all others.
    "graph/draft.py: add",
    # Behind a check that refuses what is unknown.
    "golden/build.py: _axes",
    "golden/regression.py: groups",
    "golden/regression.py: _beside",
    "golden/regression.py: _places",
    "methods/pattern.py: rule",
    "methods/pattern.py: _pattern",
    "methods/deep_taylor.py: rule",
    "methods/rules.py: back",
    "methods/shares.py: _weight",
    "methods/patterns.py: weighted_layers",
    "methods/patterns.py: _rectified",
    # They look for one kind, of which a network may have none: any other is none of it.
    "graph/feature_maps.py: signs",
    "graph/feature_maps.py: _reconstructed",
    "graph/network.py: _channel_axes",
    "graph/trial.py: live_bytes",
    "golden/causes.py: _forward",
    "golden/causes.py: _propagated",
    "golden/material.py: pools",
    "golden/regression.py: _classes",
    "inverse/blocks.py: sums",
    "inverse/blocks.py: bytes",
    "inverse/blocks.py: _conv",
    "inverse/blocks.py: workspace_bytes",
    "inverse/gathered.py: __init__",
    "inverse/plan.py: dense",
    "inverse/plan.py: make_plan",
    "inverse/plan.py: _branches",
    "inverse/propagate.py: needs",
    "inverse/recordings.py: __init__",
    "methods/sweep.py: __init__",
    "methods/pattern_sums.py: pattern",
    "methods/pattern_sums.py: correlated",
    # Rewrites: a kind that they do not name stays as it is.
    "graph/canonical.py: _misplaced",
    "graph/canonical.py: _why_misplaced",
    "graph/rewrites/affines.py: fold_affines",
    "graph/rewrites/affines.py: settle_affines",
    "graph/rewrites/affines.py: _fold_up",
    "graph/rewrites/affines.py: _fold_down",
    "graph/rewrites/affines.py: _scaled_output",
    "graph/rewrites/affines.py: _scaled_input",
    "graph/rewrites/head.py: remove_head",
    "graph/rewrites/head.py: _begins",
    "graph/rewrites/head.py: _continued",
    "graph/rewrites/head.py: _is_two_class",
    "graph/rewrites/pads.py: dissolve_pads",
    "graph/rewrites/pads.py: _dissolve",
    "graph/rewrites/pads.py: _widened",
}


def dispatches() -> Iterator[str]:
    """Every function that asks which kind a layer is, but for assertions."""
    kinds = {kind.__name__ for kind in MADE} | {"LINEAR", "MOVES"}
    for path in sorted(ROOT.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            asserted = {
                id(inner) for node in ast.walk(function) if isinstance(node, ast.Assert) for inner in ast.walk(node)
            }
            for node in ast.walk(function):
                if id(node) in asserted or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                if node.func.id == "isinstance" and kinds & {
                    n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)
                }:
                    yield f"{path.relative_to(ROOT).as_posix()}: {function.name}"


def test_whoever_asks_for_a_kind_is_listed() -> None:
    """A new ladder is to end in `unknown_kind` and to be asked in LADDERS, or to be a KindTable."""
    assert set(dispatches()) == ASKING


def test_a_negation_that_passed_unchanged_would_be_seen() -> None:
    """What the refusal is for: of -x the signal must turn, and a subclass is not taken for its base either."""
    with pytest.raises(mr.UnsupportedModel, match="kind Negation"):
        moved_back(NUMPY, made(Negation), 0, np.ones((1, *MAP)))
    heir = type("Heir", (Transpose,), {"kind": "Heir"})
    with pytest.raises(mr.UnsupportedModel, match="kind Heir"):
        make_plan(replace(with_odd(Transpose), layers=(as_kind(heir), *with_odd(Transpose).layers[1:])), **PLAN)


PLAN: dict[str, Any] = {"at": None, "local": True, "input_mask": None}


def as_kind(kind: Any) -> Layer:
    found: Layer = kind(name="odd", inputs=("t",), output="u", in_shapes=(MAP,), out_shape=MAP, perm=(0, 1, 3, 2))
    return found
