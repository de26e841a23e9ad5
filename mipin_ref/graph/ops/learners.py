"""Linear models and scalers of scikit-learn's exports (ai.onnx.ml)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, Softmax
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import add_affine
from mipin_ref.graph.ops.registry import draft_as, handles, layer_name
from mipin_ref.graph.quantised import MOVES
from mipin_ref.layers import Activation, Dense, HostArray

INSTEAD = {
    "TreeEnsemble": "a tree ensemble is no network of layers",
    "TreeEnsembleClassifier": "a tree ensemble is no network of layers",
    "TreeEnsembleRegressor": "a tree ensemble is no network of layers",
    "SVMClassifier": "a kernel machine is no network of layers; export a linear one as LinearSVC",
    "SVMRegressor": "a kernel machine is no network of layers; export a linear one as LinearSVR",
}

ORDERS = {"L1": 1, "L2": 2}


@handles("ai.onnx.ml.Scaler")
def scaler(node: Node, draft: Draft) -> None:
    """(x - offset) · scale, of each feature or of all alike."""
    x = draft.signal(node)
    features = _features(x)
    offset, scale = (
        np.broadcast_to(np.asarray(node.attributes.get(name, default), draft.dtype), (features,))
        for name, default in (("offset", [0.0]), ("scale", [1.0]))
    )
    add_affine(node, draft, x, scale.copy(), -offset * scale)


@handles("ai.onnx.ml.LinearRegressor")
def linear_regressor(node: Node, draft: Draft) -> None:
    x, targets = draft.signal(node), int(node.attributes.get("targets", 1))
    if _told(node, "post_transform", "NONE") != "NONE":
        raise Refused(f"its post_transform is {_told(node, 'post_transform', 'NONE')}")
    _product(node, draft, x, targets, node.outputs[0])


@handles("ai.onnx.ml.LinearClassifier")
def linear_classifier(node: Node, draft: Draft) -> None:
    """Scores of each class, and the head that its post_transform is."""
    x = draft.signal(node)
    labels = node.attributes.get("classlabels_ints") or node.attributes.get("classlabels_strings") or []
    rows = len(node.attributes.get("coefficients", [])) // _features(x)
    if rows != len(labels) or rows < 2:
        raise Refused(f"it has coefficients of {rows} classes and labels of {len(labels)}")
    heads: dict[str, Callable[[Node, Draft, Signal], None] | None] = {
        "NONE": None,
        "LOGISTIC": _logistic,
        "SOFTMAX": _softmax,
    }
    transform = _told(node, "post_transform", "NONE")
    if transform not in heads:
        raise Refused(f"its post_transform is {transform}")
    head = heads[transform]
    output = node.outputs[1] if head is None else draft.inner_name(node, "scores")
    _product(node, draft, x, rows, output)
    if head is not None:
        head(node, draft, draft.signals[output])


@handles("ai.onnx.ml.Normalizer")
def normalizer(node: Node, draft: Draft) -> None:
    """Probabilities over all classes add up to one already; what is no probability is divided by its norm."""
    x, norm = draft.signal(node), _told(node, "norm", "MAX")
    made = next((layer for layer in draft.layers if layer.output == x.name), None)
    maker = draft.makers.get(node.inputs[0])
    if isinstance(made, Softmax) and norm == "L1":
        draft.alias(node.outputs[0], x)
    elif maker is not None and maker.op == "LinearClassifier":
        raise Refused(f"it divides probabilities of single classes by their sum: explain {node.inputs[0]!r} itself")
    elif norm not in ORDERS:
        raise Refused(f"it divides by the norm {norm} of the sample; followed are {' and '.join(ORDERS)}")
    else:
        draft_as(node, draft, "LpNormalization", node.inputs, node.outputs[0], {"axis": -1, "p": ORDERS[norm]})


@handles("ai.onnx.ml.Imputer")
def imputer(node: Node, draft: Draft) -> None:
    """What is missing of the data is refused where they are read, so that nothing is left to put in its place."""
    x = draft.signal(node)
    missing = node.attributes.get("replaced_value_float", 0.0)
    if not node.attributes.get("imputed_value_floats") or not np.isnan(missing):
        raise Refused(f"it replaces the value {missing:g} of features, which is none that is missing (NaN)")
    if not _only_moved(node.inputs[0], draft):
        raise Refused("it replaces NaN that nodes in front of it may make")
    draft.alias(node.outputs[0], x)


def _only_moved(name: str, draft: Draft) -> bool:
    """Whether a tensor holds what the network's inputs hold, and nothing that is computed of it."""
    waiting = [name]
    while waiting:
        maker = draft.makers.get(waiting.pop())
        if maker is None:
            continue
        if maker.op not in MOVES and maker.op not in ("Concat", "Cast", "ArrayFeatureExtractor", "Imputer"):
            return False
        waiting.extend(one for one in maker.inputs if one in draft.signals)
    return True


@handles("ai.onnx.ml.ArrayFeatureExtractor")
def features_of(node: Node, draft: Draft) -> None:
    """Features [.., k] of [.., F], a Gather along the last axis."""
    picked = draft.constant(node.inputs[1])
    if picked is None or node.inputs[0] not in draft.signals:
        raise Refused("it looks up a table by what the network computes")
    name = draft.inner_name(node, "features")
    draft.constants[name] = picked.ravel()
    draft_as(node, draft, "Gather", [node.inputs[0], name], node.outputs[0], {"axis": -1})


@handles(*(f"ai.onnx.ml.{name}" for name in INSTEAD))
def learner(node: Node, draft: Draft) -> None:
    raise Refused(INSTEAD[node.op])


def _features(x: Signal) -> int:
    if len(x.shape) != 2:
        raise Refused(f"it reads [N, features], not {len(x.shape)} axes")
    return x.sample[0]


def _told(node: Node, attribute: str, default: str) -> str:
    return str(node.attributes.get(attribute, default))


def _product(node: Node, draft: Draft, x: Signal, outputs: int, output: str) -> None:
    features = _features(x)
    given: HostArray = np.asarray(node.attributes.get("coefficients", []), draft.dtype)
    if given.size != outputs * features:
        raise Refused(f"it has {given.size} coefficients for {outputs} outputs of {features} features")
    shift = np.asarray(node.attributes.get("intercepts") or [0.0] * outputs, draft.dtype)
    if shift.shape != (outputs,):
        raise Refused(f"it has {shift.size} intercepts for {outputs} outputs")
    if not (np.all(np.isfinite(given)) and np.all(np.isfinite(shift))):
        raise Refused("its coefficients hold NaN or Inf")
    draft.add(
        Dense(
            name=layer_name(node),
            inputs=(x.name,),
            output=output,
            in_shapes=(x.sample,),
            out_shape=(outputs,),
            weight=np.ascontiguousarray(given.reshape(outputs, features).T),
            bias=shift,
        )
    )


def _logistic(node: Node, draft: Draft, scores: Signal) -> None:
    draft.add(
        Activation(
            name=layer_name(node),
            inputs=(scores.name,),
            output=node.outputs[1],
            in_shapes=(scores.sample,),
            out_shape=scores.sample,
            function="Sigmoid",
        )
    )


def _softmax(node: Node, draft: Draft, scores: Signal) -> None:
    draft.add(
        Softmax(
            name=layer_name(node),
            inputs=(scores.name,),
            output=node.outputs[1],
            in_shapes=(scores.sample,),
            out_shape=scores.sample,
            function="Softmax",
        )
    )
