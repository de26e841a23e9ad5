"""The cases that come with the package: they come out again, and are what the format says."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest

import mipin_ref as mr
from tests.golden.arrays import NAMES, PATHS, candidate, read

SCHEMA = json.loads((resources.files("mipin_ref.golden") / "manifest.schema.json").read_text("utf-8"))

every_case = pytest.mark.parametrize("name", NAMES)


@pytest.mark.parametrize("folder", mr.golden.cases(), ids=lambda path: path.parent.name)
def test_a_case_comes_out_again(folder: Any) -> None:
    """What tools/make_golden.py --check does."""
    verified = mr.golden.remake(folder)
    assert verified.ok, str(verified)
    assert set(verified.compared) == {"forward", "solve", "propagate", "end"}


@every_case
def test_the_manifest_follows_its_schema(name: str) -> None:
    manifest = json.loads((PATHS[name] / "manifest.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)


def test_the_schema_can_fail() -> None:
    manifest = json.loads((PATHS["golden_mlp"] / "manifest.json").read_text("utf-8"))
    for broken in ({"version": 2}, {"extra": 0}, {"stages": manifest["stages"][::-1]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(manifest | broken)


@every_case
def test_every_array_is_named_by_the_manifest(name: str) -> None:
    case = read(name)
    named = {entry["array"] for entry in case.manifest["given"]} | {tensor.array for tensor in case.tensors}
    named |= {array for layer in case.manifest["layers"] for array in layer["parameters"].values() if array}
    assert set(case.arrays) == named


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_golden_values_pass_in_both_precisions(name: str, dtype: str) -> None:
    """Rounded to float32 they are off by less than what a float32 implementation may be."""
    case = read(name)
    verified = mr.golden.verify(case, candidate(case, dtype=dtype))
    assert verified.ok, str(verified)


@every_case
def test_tolerances_are_what_the_manifest_says_of_them(name: str) -> None:
    manifest = read(name).manifest
    terms = manifest["perturbation"]
    for stage in manifest["stages"]:
        for entry in stage["tensors"]:
            for dtype in () if entry["exact"] else ("float64", "float32"):
                change, told = entry["change"][dtype], entry["tolerance"][dtype]
                largest, eps = entry["largest"], terms["eps"][dtype]
                bound = np.inf if change is None else terms["safety"] * change + terms["floor"] * eps * largest
                assert told == (bound if bound <= terms["hopeless"] * largest else None)


def test_in_double_precision_nearly_everything_is_compared() -> None:
    """What is not is left to predictions, in the two cases made for that."""
    left = set()
    for name in NAMES:
        left |= {(name, tensor.name) for tensor in read(name).tensors if tensor.tolerance.get("float64", 0.0) is None}
    assert left == {
        ("golden_ill_conditioned", "solve/weight/input/0"),
        ("golden_ill_conditioned", "end/S"),
        ("golden_ill_conditioned", "end/A"),
    }


def test_the_set_is_small() -> None:
    assert len(NAMES) >= 18
    assert sum(path.stat().st_size for folder in PATHS.values() for path in folder.iterdir()) < 22_000_000


def test_every_rule_of_the_method_has_a_case() -> None:
    """Kinds of layers, geometry and options that some case has."""
    rules: set[str] = set()
    for name in NAMES:
        manifest = read(name).manifest
        rules |= {layer["kind"] for layer in manifest["layers"]}
        for layer in manifest["layers"]:
            window = layer.get("window")
            if window:
                rules |= {f"{layer['kind']} {len(window['kernel'])}-D"}
                rules |= {what for what in ("strides", "dilations") if max(window[what]) > 1}
                rules |= {"unequal pads"} if window["begin"] != window["end"] else set()
                overlap = any(k > s for k, s in zip(window["kernel"], window["strides"], strict=True))
                rules |= {f"{layer['kind']} overlap"} if overlap else set()
                rules |= {f"{layer['kind']} dilated"} if max(window["dilations"]) > 1 else set()
            rules |= {"groups"} if layer.get("groups", 1) > 1 else set()
            rules |= {f"{layer['kind']} {what}" for what in ("ceil_mode", "count_include_pad") if layer.get(what)}
            rules |= {"slope"} if "slope" in layer["parameters"] else set()
            rules |= {"concat along the map"} if layer["kind"] == "Concat" and layer["axis"] > 1 else set()
            rules |= _rules_of(layer)
        for step in manifest["steps"]:
            rules |= {f"mask, X > 0, {step['tensor']}"} if step.get("positive") else set()
            rules |= {f"channels on axis {step['axis']}"} if "axis" in step else set()
            kinds = sorted(manifest["layers"][branch["layers"][0]]["kind"] for branch in step["branches"])
            rules |= {"+".join(kinds)} if len(kinds) > 1 else set()
            rules |= {"several layers of one branch"} if any(len(b["layers"]) > 1 for b in step["branches"]) else set()
        options = manifest["options"]
        rules |= {f"{key}={options[key]}" for key in ("conv_bias", "input_mask", "local", "fit_on")}
        rules |= {"ridge=0"} if options["ridge"] == 0 else set()
        rules |= {"at"} if options["at"] else set()
        rules |= {"a target of several indices"} if isinstance(manifest["model"].get("target"), list) else set()
        given = [entry["name"] for entry in manifest["given"]]
        rules |= (
            {"starts behind nodes without an inverse"} if any(one.startswith("source/") for one in given) else set()
        )
        rules |= {"labels"} if any(entry["name"] == "labels" for entry in manifest["given"]) else set()
    assert rules >= {
        "Dense", "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Affine", "Activation", "Add", "Concat",
        "Slice", "Pad", "Reshape", "Transpose", "Conv 1-D", "Conv 2-D", "Conv 3-D", "strides", "dilations",
        "unequal pads", "MaxPool overlap", "AveragePool overlap", "groups", "slope", "concat along the map",
        "MaxPool ceil_mode", "AveragePool ceil_mode", "AveragePool count_include_pad", "MaxPool dilated",
        "Add+Conv", "Conv+Conv",
        "AveragePool+Conv+Conv+MaxPool", "Add+Dense+Dense", "several layers of one branch", "conv_bias=True",
        "input_mask=True", "input_mask=False", "local=False", "fit_on=target_class", "ridge=0", "at", "labels",
        "ConvTranspose", "Resize", "Norm", "ResponseNorm", "Reduce", "TokenDense", "Difference", "Negative", "Gate",
        "Extremum", "Gather", "Where", "Gate Mul", "Gate Div", "Gate, content broadcast", "Gate, gate broadcast",
        "Extremum Max", "Extremum Min", "Extremum of 3", "Formula", "mask, X > 0, silu", "mask, X > 0, gelu",
        "Add, broadcast", "Difference, broadcast", "Norm centred True", "Norm centred False", "Norm, groups",
        "Reduce total True", "Reduce total False", "TokenDense, last axis", "ConvTranspose strides",
        "ConvTranspose groups", "ConvTranspose dilations", "Resize nearest", "Resize linear", "Gather, copies",
        "Gather, in steps", "MaxPool of a whole map", "channels on axis 2", "channels on axis 3", "Add+Norm",
        "LSTM", "GRU", "LSTM last True", "LSTM last False", "GRU reset_behind True", "GRU reset_behind False",
        "LSTM reverse [False, True]", "LSTM reverse [True]", "GRU reverse [False]",
        "Attention", "SoftmaxWeights", "Scores",
        "a target of several indices", "starts behind nodes without an inverse",
    }  # fmt: skip


def _rules_of(layer: dict[str, Any]) -> set[str]:
    """What is particular about a layer of a kind that has several ways."""
    kind, window = layer["kind"], layer.get("window", {})
    rules = {f"{kind} {layer[field]}" for field in ("function", "mode") if kind != "Activation" and field in layer}
    rules |= {
        f"{kind} {field} {layer[field]}"
        for field in ("centred", "total", "last", "reset_behind", "reverse")
        if field in layer
    }
    rules |= {f"{kind} of {len(layer['inputs'])}"} if kind == "Extremum" else set()
    rules |= {"Formula"} if layer.get("function") == "Formula" else set()
    if kind in ("Gate", "Add", "Difference"):
        spread = [
            name
            for name, shape in zip(("content", "gate"), layer["in_shapes"], strict=False)
            if shape != layer["out_shape"]
        ]
        rules |= (
            {f"Gate, {name} broadcast" for name in spread}
            if kind == "Gate"
            else {f"{kind}, broadcast"}
            if spread
            else set()
        )
    if kind == "ConvTranspose":
        rules |= {f"{kind} {what}" for what in ("strides", "dilations") if max(window[what]) > 1}
        rules |= {f"{kind} groups"} if layer["groups"] > 1 else set()
    if kind == "Norm":
        rules |= {"Norm, groups"} if layer["split"] != layer["in_shapes"][0] else set()
    if kind == "TokenDense":
        rules |= {"TokenDense, last axis"} if layer["axis"] == len(layer["out_shape"]) else set()
    if kind == "Gather":
        picks = [pick for pick in layer["picks"] if pick is not None]
        rules |= {"Gather, copies"} if any(len(set(pick)) < len(pick) for pick in picks) else set()
        rules |= {"Gather, in steps"} if any(abs(pick[1] - pick[0]) > 1 for pick in picks if len(pick) > 1) else set()
    if kind == "MaxPool":
        rules |= {"MaxPool of a whole map"} if window["kernel"] == layer["in_shapes"][0][1:] else set()
    return rules


def test_a_dead_channel_and_ties_are_there() -> None:
    dead = read("golden_dead")
    values = {t.tensor: dead.golden(t) for t in dead.tensors if t.name.startswith("forward/value/")}
    assert not values["relu1"][:, 1].any()
    assert not values["relu3"][:, 2].any()
    assert values["relu1"][:, 0].any()
    ties = read("golden_pool_ties")
    x = next(ties.golden(t) for t in ties.tensors if t.name == "forward/value/relu1")
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))[:, :, ::2]
    counts = np.sum(windows == windows.max(axis=(4, 5), keepdims=True), axis=(4, 5))
    positive = windows.max(axis=(4, 5)) > 0
    assert np.mean(counts[positive] > 1) > 0.2
    clipped = read("golden_extremum")
    values = {t.tensor: clipped.golden(t) for t in clipped.tensors if t.name.startswith("forward/value/")}
    for one, other in (("clip1", "clip2"), ("clip3", "clip4")):
        assert np.mean((values[one] == values[other]) & (values[one] != 0)) > 0.05


def test_the_page_names_what_a_layer_holds() -> None:
    """Every field of a layer in some case stands in its kind's row of the format."""
    page = (resources.files("mipin_ref.golden") / "FORMAT.md").read_text("utf-8")
    common = {"kind", "name", "inputs", "output", "in_shapes", "out_shape", "parameters"}
    table = page[page.index("### layers") : page.index("### steps")]
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    for name in NAMES:
        for layer in read(name).manifest["layers"]:
            told = {*(layer.keys() - common), *layer["parameters"]}
            missing = {field for field in told if f"`{field}`" not in rows[layer["kind"]]}
            assert not missing, f"{layer['kind']}: {missing}"
