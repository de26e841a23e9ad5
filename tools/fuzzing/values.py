"""Absurd values for every argument of every public function."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref import golden
from mipin_ref.data import Preprocessing, as_samples, builtin, open_boxes, open_data, open_labels
from tools.fuzzing.kind import MODELS, Files, Kind
from tools.fuzzing.saved import CASE


class _Angry:
    """Refuses to be anything, in every way."""

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, index: Any) -> Any:
        raise ZeroDivisionError("no item")

    def __repr__(self) -> str:
        raise AttributeError("no text")

    def __array__(self, *given: Any, **named: Any) -> Any:
        raise LookupError("no array")


class _Long:
    """Says that it is long, and has nothing."""

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: Any) -> Any:
        return []


def _deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(5000):
        found = [found]
    return found


VALUES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "numpy true": lambda: np.True_,
    "zero": lambda: 0,
    "one": lambda: 1,
    "two": lambda: 2,
    "minus": lambda: -1,
    "half": lambda: 0.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "small": lambda: 5e-324,
    "large": lambda: 1e308,
    "2^63": lambda: 2**63,
    "2^31": lambda: 2**31,
    "-2^63": lambda: -(2**63) - 1,
    "10^400": lambda: 10**400,
    "10^5000": lambda: 10**5000,
    "-10^400": lambda: -(10**400),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("1e999"),
    "signalling": lambda: Decimal("sNaN"),
    "fraction": lambda: Fraction(10**400, 3),
    "float32 nan": lambda: np.float32("nan"),
    "int8": lambda: np.int8(-1),
    "uint64": lambda: np.uint64(2**64 - 1),
    "longdouble": lambda: np.longdouble("1e4000"),
    "datetime": lambda: np.datetime64("NaT"),
    "numpy text": lambda: np.str_("x"),
    "empty text": lambda: "",
    "nul": lambda: "a\0b",
    "surrogate": lambda: "a\ud800",
    "long text": lambda: "a" * 5000,
    "path of many": lambda: "/".join(["a" * 200] * 60),
    "digits": lambda: "9" * 5000,
    "gigabytes": lambda: "9" * 5000 + "GB",
    "inf bytes": lambda: "1" + "0" * 400 + ".5GB",
    "arabic": lambda: "٣GB",
    "escape": lambda: "\x1b[2J",
    "bytes": lambda: b"x.npy",
    "bytes not text": lambda: b"\xff\xfe",
    "bytearray": lambda: bytearray(4),
    "slash": lambda: "/",
    "null device": lambda: "/dev/null",
    "zero device": lambda: "/dev/zero",
    "memory": lambda: "/proc/self/mem",
    "path": lambda: Path("nothing"),
    "folder": lambda: str(MODELS),
    "model": lambda: MODELS / "golden_mlp" / "model.onnx",
    "case": lambda: CASE,
    "manifest": lambda: CASE / "manifest.json",
    "list": list,
    "nested": lambda: [[[]]],
    "ragged": lambda: [[1], [1, 2]],
    "deep": _deep,
    "tuple": lambda: (),
    "numbers": lambda: [0, 1, 2],
    "floats": lambda: [0.5, float("nan")],
    "large list": lambda: [10**400],
    "texts": lambda: ["a", "b"],
    "surrogates": lambda: ["\ud800"],
    "mixed": lambda: [None, 1, "a"],
    "dict": dict,
    "of dict": lambda: {"a": 1},
    "by number": lambda: {1: 1},
    "set": lambda: {1, 2},
    "range": lambda: range(3),
    "endless": lambda: range(2**62),
    "iterator": lambda: iter([1, 2]),
    "object": object,
    "class": lambda: int,
    "function": lambda: lambda *given, **named: None,
    "angry": _Angry,
    "long": _Long,
    "module": lambda: os,
    "numpy": lambda: np,
    "empty array": lambda: np.empty(0),
    "scalar array": lambda: np.array(1.0),
    "array 1": lambda: np.zeros(3),
    "array 2": lambda: np.ones((2, 6), np.float32),
    "array 3": lambda: np.ones((2, 4, 4)),
    "integers": lambda: np.arange(2),
    "many axes": lambda: np.zeros((1,) * 40),
    "no samples": lambda: np.zeros((0, 6), np.float32),
    "nan array": lambda: np.full((2, 6), np.nan, np.float32),
    "huge values": lambda: np.full((2, 6), 3e38, np.float32),
    "huge maps": lambda: np.full((2, 4, 4), 1e308),
    "halves": lambda: np.ones((2, 6), np.float16),
    "complexes": lambda: np.ones((2, 6), complex),
    "objects": lambda: np.array([None, "a"], object),
    "object maps": lambda: np.full((2, 4, 4), None, object),
    "text array": lambda: np.array(["a", "b"]),
    "dates": lambda: np.zeros((2, 6), "M8[s]"),
    "records": lambda: np.zeros(2, [("a", "f4")]),
    "masked": lambda: np.ma.masked_all((2, 6)),
    "strided": lambda: np.ones((4, 12), np.float32)[::2, ::2],
    "broadcast": lambda: np.broadcast_to(np.float32(1), (10**12, 6)),
    "wide": lambda: np.broadcast_to(np.float32(1), (2, 10**12)),
    "long doubles": lambda: np.ones((2, 6), np.longdouble),
    "booleans": lambda: np.ones((2, 4, 4), bool),
    "box": lambda: np.array([[0, 0, 2, 2], [1, 1, 3, 3]]),
    "uint64s": lambda: np.full(2, 2**64 - 1, np.uint64),
}
"""Made anew for every call."""

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
    "randomization": ("explain", "x", "target", "kind", "tensors", "ssim", "seed"),
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
        call = {"function": function, "values": {name: random.choice(list(VALUES)) for name in arguments}}
        return {"call.json": json.dumps(call).encode()}

    def ask(self, folder: Path) -> None:
        call = json.loads((folder / "call.json").read_bytes())
        values = {name: VALUES[value]() for name, value in call["values"].items()}
        here = os.getcwd()
        os.chdir(folder)  # whatever is written by a name that is taken lies in the folder of the input
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
