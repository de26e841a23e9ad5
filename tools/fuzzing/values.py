"""Absurd values for every argument of every public function."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import mipin_ref as mr
from fuzzing.absurd import VALUES
from fuzzing.kind import Files, Kind
from fuzzing.saved import CASE
from mipin_ref import golden
from mipin_ref.data import Preprocessing, as_samples, builtin, open_boxes, open_data, open_labels
from training.files import MODELS

OUTSIDE = ("slash", "null device", "zero device", "memory")
"""Values that name what lies outside of the folder of an input: nothing may be written there."""
WRITTEN = (("save", "path"), ("save patterns", "path"), ("make", "folder"), ("fit", "checkpoint"))
"""Functions and arguments that name what is written."""

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "load": ("source", "output", "check"),
    "fit": (
        "x",
        "target",
        "labels",
        "ridge",
        "conv_bias",
        "at",
        "input_mask",
        "local",
        "fit_on",
        "backend",
        "dtype",
        "batch_size",
        "memory",
        "checkpoint",
        "progress",
        "client",
    ),
    "fit_patterns": ("x", "at", "backend", "dtype", "batch_size", "memory", "progress"),
    "attribute": ("x", "target", "method", "at", "backend", "dtype", "batch_size", "memory", "progress"),
    "smoothgrad": ("samples", "noise", "seed"),
    "integrated-gradients": ("steps", "baseline"),
    "lrp-epsilon": ("epsilon",),
    "lrp-alpha-beta": ("alpha", "beta"),
    "deep-taylor": ("low", "high"),
    "deeplift": ("baseline",),
    "patternnet": ("patterns",),
    "pattern-attribution": ("patterns",),
    "unknown option": ("x" * 40,),
    "inverse": ("x", "at", "batch_size"),
    "save": ("path",),
    "save patterns": ("path",),
    "rows": ("name",),
    "load_inverse": ("path", "target", "backend"),
    "load_patterns": ("path",),
    "saliency": ("kind", "positive", "size"),
    "heatmap": ("a",),
    "explain_func": ("method", "kind", "at", "backend", "dtype"),
    "explained": ("inputs", "targets"),
    "panel": ("calibration", "names", "fit_options", "method_options", "backend", "dtype", "memory", "progress"),
    "panel explain": ("name", "x", "target", "at"),
    "panel attempt": ("name", "x", "target", "at"),
    "panel prepare": ("classes",),
    "panel ready": ("name", "classes"),
    "panel inverse": ("target",),
    "apc": ("results",),
    "box_accuracy": ("maps", "boxes"),
    "grid_pointing_game": ("maps", "cells", "grid"),
    "deletion": ("x", "maps", "target", "steps", "batch_size", "fill", "output"),
    "insertion": ("x", "maps", "target", "steps", "batch_size", "fill", "output"),
    "class_sensitivity": ("maps_a", "maps_b"),
    "randomization": ("x", "target", "kind", "tensors", "ssim", "seed"),
    "arranged_mosaics": ("labels", "count", "grid", "targets"),
    "tiled": ("cells", "grid"),
    "read_case": ("folder",),
    "verify": ("case", "candidate", "stages", "dtype"),
    "verify arrays": ("array",),
    "make": (
        "model",
        "x",
        "target",
        "folder",
        "labels",
        "output",
        "ridge",
        "conv_bias",
        "at",
        "input_mask",
        "local",
        "fit_on",
    ),
    "remake": ("folder",),
    "open_data": ("path", "key", "preprocessing"),
    "open_labels": ("path", "key"),
    "open_boxes": ("path", "data", "samples", "shape", "key"),
    "as_samples": ("x",),
    "preprocessing": ("scale", "mean", "std", "shape"),
    "builtin": ("name",),
    "check_target": ("target",),
    "tensor": ("name",),
}
"""By function, the arguments that are given absurd values."""


class Values(Kind):
    """Calls: a function, and one or two of its arguments by the name of a value."""

    name = "value"
    batch = 400

    def __init__(self) -> None:
        self.net = mr.load(MODELS / "golden_mlp" / "model.onnx")
        self.image_net = mr.load(MODELS / "golden_cnn" / "model.onnx")
        rng = np.random.default_rng(5)
        self.x = rng.standard_normal((4, *self.net.input_shape), np.float32)
        self.images = rng.standard_normal((2, *self.image_net.input_shape), np.float32)
        self.inverse = mr.fit(self.net, self.x, 0)
        self.patterns = mr.fit_patterns(self.net, self.x)
        self.result = mr.attribute(self.image_net, self.images, 0, "gradient")
        self.maps = np.abs(rng.standard_normal((2, *self.image_net.input_shape[1:])))
        self.case = golden.read_case(CASE)
        self.arrays = {tensor.name: self.case.golden(tensor) for tensor in self.case.tensors}

    def make(self, random: Random) -> Files:
        function = random.choice(list(ARGUMENTS))
        arguments = random.sample(ARGUMENTS[function], min(random.choice((1, 1, 1, 2)), len(ARGUMENTS[function])))
        call = {"function": function, "values": {name: self._value(random, function, name) for name in arguments}}
        return {"call.json": json.dumps(call).encode()}

    def _value(self, random: Random, function: str, argument: str) -> str:
        inside = [value for value in VALUES if value not in OUTSIDE]
        return random.choice(inside if (function, argument) in WRITTEN else list(VALUES))

    def ask(self, folder: Path) -> None:
        call = json.loads((folder / "call.json").read_bytes())
        assert not any(
            (call["function"], name) in WRITTEN and value in OUTSIDE for name, value in call["values"].items()
        )
        shutil.copytree(CASE, folder / "case")
        shutil.copy(CASE.parent / "model.onnx", folder / "model.onnx")
        values = {name: VALUES[value]() for name, value in call["values"].items()}
        here = os.getcwd()
        os.chdir(
            folder
        )  # what is named lies here, and whatever is written by a name that is taken lies in the folder of the input
        try:
            self._call(folder, call["function"], values)
        finally:
            os.chdir(here)

    def _call(self, folder: Path, function: str, values: dict[str, Any]) -> None:
        net, x, out = self.net, self.x, folder / "out"
        panel = mr.Panel(net, x, names=["mip-in", "gradient", "patternnet"]) if function.startswith("panel ") else None

        def with_(call: Callable[..., Any], *names: str, **given: Any) -> Any:
            given |= values
            placed = [given.pop(name) for name in names]
            return call(*placed, **given)

        def method(name: str) -> Any:
            return mr.attribute(net, x, 0, name, **values)

        def explained(**given: Any) -> Any:
            return mr.explain_func(net, "gradient")(None, **given)

        def saved(what: Any, path: Any) -> None:
            what.save(path)

        def arrays(array: Any) -> Any:
            name = next(iter(self.arrays))
            return golden.verify(self.case, {**self.arrays, name: array})

        def redrawn(**given: Any) -> Any:
            given = {"explain": self._explain, "x": self.images, "target": 0, "ssim": False, **given}
            return mr.metrics.randomization(
                self.image_net, given.pop("explain"), given.pop("x"), given.pop("target"), **given
            )

        calls: dict[str, Callable[[], Any]] = {
            "load": lambda: with_(mr.load, "source", source=MODELS / "golden_mlp" / "model.onnx"),
            "fit": lambda: with_(lambda **g: mr.fit(net, **g), x=x, target=0),
            "fit_patterns": lambda: with_(lambda **g: mr.fit_patterns(net, **g), x=x),
            "attribute": lambda: with_(lambda **g: mr.attribute(net, **g), x=x, target=0, method="gradient"),
            "unknown option": lambda: method("gradient"),
            "inverse": lambda: with_(self.inverse.attribute, "x", x=x),
            "save": lambda: with_(lambda path: saved(self.inverse, path)),
            "save patterns": lambda: with_(lambda path: saved(self.patterns, path)),
            "rows": lambda: self.inverse.report,
            "load_inverse": lambda: with_(lambda **g: mr.load_inverse(net=net, **g), path=out),
            "load_patterns": lambda: with_(lambda **g: mr.load_patterns(net=net, **g), path=out),
            "saliency": lambda: with_(mr.saliency, "res", res=self.result),
            "heatmap": lambda: with_(mr.heatmap, a=self.maps),
            "explain_func": lambda: with_(lambda **g: mr.explain_func(net, **g), method="gradient")(
                None, x, [0, 1, 0, 1]
            ),
            "explained": lambda: with_(explained, inputs=x, targets=[0, 1, 0, 1]),
            "panel": lambda: with_(lambda **g: mr.Panel(net, **g), calibration=x).explain("mip-in", x, 0),
            "panel explain": lambda: with_(panel.explain, name="gradient", x=x, target=0),  # type: ignore[union-attr]
            "panel attempt": lambda: with_(panel.attempt, name="gradient", x=x, target=0),  # type: ignore[union-attr]
            "panel prepare": lambda: with_(panel.prepare, classes=[0]),  # type: ignore[union-attr]
            "panel ready": lambda: with_(panel.ready, name="mip-in", classes=[0]),  # type: ignore[union-attr]
            "panel inverse": lambda: with_(panel.inverse, target=0),  # type: ignore[union-attr]
            "apc": lambda: with_(lambda results: mr.metrics.apc(net, results)),
            "box_accuracy": lambda: with_(mr.metrics.box_accuracy, maps=self.maps, boxes=[(0, 0, 1, 1), (1, 1, 2, 2)]),
            "grid_pointing_game": lambda: with_(mr.metrics.grid_pointing_game, maps=self.maps, cells=[0, 1]),
            "deletion": lambda: with_(
                lambda **g: mr.metrics.deletion(self.image_net, **g), x=self.images, maps=self.maps, target=0
            ),
            "insertion": lambda: with_(
                lambda **g: mr.metrics.insertion(self.image_net, **g), x=self.images, maps=self.maps, target=0
            ),
            "class_sensitivity": lambda: with_(mr.metrics.class_sensitivity, maps_a=self.maps, maps_b=self.maps[::-1]),
            "randomization": lambda: redrawn(**values),
            "arranged_mosaics": lambda: with_(
                lambda **g: mr.metrics.arranged_mosaics(g.pop("labels"), g.pop("count"), np.random.default_rng(0), **g),
                labels=[0, 1, 2, 3],
                count=2,
            ),
            "tiled": lambda: with_(mr.metrics.tiled, cells=np.zeros((4, 2, 2)), grid=2),
            "read_case": lambda: with_(golden.read_case, folder=CASE),
            "verify": lambda: with_(golden.verify, case=self.case, candidate=self.arrays),
            "verify arrays": lambda: with_(arrays),
            "make": lambda: with_(golden.make, model=MODELS / "golden_mlp" / "model.onnx", x=x, target=0, folder=out),
            "remake": lambda: with_(golden.remake, folder=out),
            "open_data": lambda: with_(open_data, "path", path=out),
            "open_labels": lambda: with_(open_labels, "path", path=out),
            "open_boxes": lambda: with_(open_boxes, "path", "data", path=out, data=out, samples=1, shape=(3, 4, 4)),
            "as_samples": lambda: with_(as_samples, x=x)[0:1],
            "preprocessing": lambda: with_(Preprocessing).describe(),
            "builtin": lambda: with_(builtin),
            "check_target": lambda: with_(net.check_target),
            "tensor": lambda: with_(net.tensor),
        }
        calls.get(function, lambda: method(function))()

    def _explain(self, net: mr.Network, x: Any, target: int) -> mr.Attribution:
        return mr.attribute(net, x, target, "gradient")
