"""The likely cause of a deviation, where its signature is known: what the golden values become by a known mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.errors import CorruptFile, MipinError
from mipin_ref.golden.case import Case, Tensor
from mipin_ref.golden.material import Material, pools
from mipin_ref.golden.perturb import Golden, solved
from mipin_ref.golden.regression import Array, Inverted, Mistake
from mipin_ref.golden.slips import Explained, forward_slips
from mipin_ref.graph.load import load
from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Step, make_plan
from mipin_ref.layers import Layer, MaxPool, as_kind, switched
from mipin_ref.reading import decoding

DEFAULT_RIDGE = 1e-3
CLOSER = 1e-2
"""A mistake explains a deviation when it leaves at most this part of it."""


@dataclass(frozen=True, eq=False)
class Causes:
    """Of one case and candidate. arrays: the candidate's, by name."""

    case: Case
    arrays: Mapping[str, Array]

    def likely(self, tensor: Tensor, bound: float) -> str | None:
        """The mistake by which the golden values of a tensor come nearest to the candidate's; None where none does."""
        value = self.arrays[tensor.name].astype(np.float64)
        golden = self.case.golden(tensor).astype(np.float64)
        if _single(self.arrays[tensor.name], golden):
            return "the values are float32 in a float64 array: say so by dtype"
        nearest, left = None, max(bound, CLOSER * float(np.max(np.abs(value - golden))))
        for cause, by in self._mistakes(tensor, golden, value):
            try:
                found = by()
            except (MipinError, ValueError, IndexError):
                continue  # this mistake has no meaning for this tensor
            apart = float(np.max(np.abs(found - value), initial=0.0)) if found.shape == value.shape else np.inf
            if apart < left:
                nearest, left = cause, apart
        return nearest

    def _mistakes(self, tensor: Tensor, golden: Array, value: Array) -> Explained:
        kind = tensor.name.split("/")[1]
        if kind == "switch":
            yield from self._switches(tensor, golden)
        elif kind == "mask":
            yield "the mask asks for X > 0 instead of X ≠ 0", lambda: self._values(tensor.tensor) > 0
            yield "the mask is the wrong way round", lambda: 1 - golden
        else:
            if kind == "weight" and value.ndim > 2:
                axes = tuple(range(2, value.ndim))
                yield "the kernel is flipped in space", lambda: np.flip(golden, axes)
                yield "the kernel's axes in space are swapped", lambda: golden.swapaxes(-1, -2)
            if value.ndim > 1 and len(set(value.shape)) < value.ndim:
                yield "axes 0 and 1 are swapped", lambda: golden.swapaxes(0, 1)
            if value.ndim > 1:
                yield "the values lie in Fortran order", lambda: golden.ravel("F").reshape(golden.shape)
                yield "the values lie in Fortran order", lambda: golden.ravel().reshape(golden.shape, order="F")
            if self._network is not None:
                yield from self._computed(tensor, kind, golden)
            yield "the sign is wrong", lambda: -golden
            factor = _factor(golden, value)
            # The weights of a single regressor are all scaled alike, whatever is wrong with it.
            if abs(factor - 1) > 1e-3 and value.shape[-1:] != (1,):
                yield f"all values are {factor:.6g} times the golden ones", lambda: golden * factor

    def _computed(self, tensor: Tensor, kind: str, golden: Array) -> Explained:
        if tensor.stage == "forward":
            yield from forward_slips(self._layer(tensor.tensor), self._golden.material.values, golden)
        elif tensor.stage == "solve":
            yield from self._solved(tensor)
        elif kind in "SA":
            yield from self._masks(tensor, golden)
            yield from self._propagated(tensor, kind)

    @cached_property
    def _network(self) -> Network | None:
        """None where the ONNX file is not there: causes that need it stay unknown."""
        return load(self.case.model, output=self._output, check=False) if self.case.model.is_file() else None

    @property
    def _output(self) -> str:
        return str(self.case.manifest["model"]["output"])

    @cached_property
    def _golden(self) -> Golden:
        assert self._network is not None
        # The arrays are as the manifest says, but it may not say what this network has.
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return reread(self.case, self._network)

    def _values(self, tensor: str) -> Array:
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return self.case.arrays[_arrays(self.case)[f"forward/value/{tensor}"]]

    def _layer(self, output: str) -> Layer:
        assert self._network is not None
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return next(layer for layer in self._network.layers if layer.output == output)

    def _switches(self, tensor: Tensor, golden: Array) -> Explained:
        if self._network is None:
            return
        layer = self._layer(tensor.tensor)
        n, channels = golden.shape[:2]
        size = layer.in_shape[1:]
        start = np.arange(n * channels).reshape(n, channels, *(1,) * (golden.ndim - 2))
        area = int(np.prod(size))
        yield "the index counts over samples and channels too", lambda: golden + start * area
        yield "the index counts over channels too", lambda: golden + (start % channels) * area
        yield "the index is the kernel tap, not the location", lambda: self._golden.material.taps[tensor.tensor]
        yield "of equal values the last one wins instead of the first", lambda: _last_maximum(self._golden, layer)
        yield (
            "the index counts in Fortran order",
            lambda: np.ravel_multi_index(np.unravel_index(golden.astype(np.int64), size), size, order="F"),
        )

    def _solved(self, tensor: Tensor) -> Explained:
        golden = self._golden
        step = golden.material.plan.step_of[tensor.tensor]

        def by(mistake: Mistake, *, ridge: float = golden.ridge, rows: Array = golden.rows) -> Callable[[], Array]:
            def found() -> Array:
                inverted = golden.material.regression(step).solve(
                    golden.material.read(step, golden.s),
                    golden.material.taps,
                    golden.material.values[step.tensor],
                    rows,
                    ridge,
                    mistake=mistake,
                )
                return dict(solved(golden.material, step.tensor, inverted, golden.s, golden.a))[tensor.name]

            return found

        samples = int(golden.rows.sum())
        locations = int(np.prod(step.shape)) // step.shape[0]
        if step.intercept:
            yield "not centred: the sums are taken without subtracting means", by("not centred")
            yield "the intercept is missing", by("no intercept")
            yield "the intercept is penalised", by("penalised intercept")
        else:
            yield "there is an intercept, where this fit has none", by("intercept")
        yield "λ on means over all rows instead of sums", by("none", ridge=golden.ridge * samples * locations)
        yield "λ on means over samples instead of sums", by("none", ridge=golden.ridge * samples)
        yield "λ = 0", by("none", ridge=0.0)
        yield f"λ is the default {DEFAULT_RIDGE:g}, not the case's", by("none", ridge=DEFAULT_RIDGE)
        yield "λ is twice as large", by("none", ridge=2 * golden.ridge)
        yield "λ is half as large", by("none", ridge=golden.ridge / 2)
        yield "λ is squared", by("none", ridge=golden.ridge**2)
        if not golden.rows.all():
            yield (
                "the fit takes all samples, not only those of the target class",
                by("none", rows=np.ones_like(golden.rows)),
            )
        if len(step.branches) > 1:
            yield "the branches are fitted one by one, not jointly", by("one by one")
        if tensor.name.startswith("solve/linear/"):
            yield (
                "the intercept is not left out",
                lambda: golden.material.predict(step, golden.a, golden.inverted[step.tensor], affine=True),
            )
        yield from self._flipped(step, tensor.name)

    def _flipped(self, step: Step, name: str) -> Explained:
        """Of predictions: with the golden kernels flipped, or the intercept not added."""
        golden = self._golden
        if step.tensor not in golden.inverted or not name.startswith(("solve/prediction/", "solve/linear/")):
            return
        inverted = golden.inverted[step.tensor]
        affine = name.startswith("solve/prediction/")
        above = golden.s if affine else golden.a
        if affine and step.intercept:
            yield "the intercept is left out", lambda: golden.material.predict(step, above, inverted, affine=False)
        yield (
            "the kernel is flipped in space",
            lambda: golden.material.predict(step, above, _flipped(inverted), affine=affine),
        )

    def _masks(self, tensor: Tensor, golden: Array) -> Explained:
        """A mask that was forgotten leaves the other entries alone, and so does one too many."""
        where = self._golden.material.values.get(tensor.tensor)
        if where is None:
            return
        value, off = self.arrays[tensor.name], where == 0
        if np.any(value[off] != 0) and not np.any(golden[off]):
            yield "the mask is forgotten", lambda: np.where(off, value, golden)
        yield "a mask is applied where the method has none", lambda: np.where(off, 0.0, golden)
        yield "the mask asks for X > 0 instead of X ≠ 0", lambda: np.where(where > 0, golden, 0.0)

    def _propagated(self, tensor: Tensor, kind: str) -> Explained:
        golden = self._golden
        material = golden.material
        if tensor.tensor not in material.plan.step_of:
            yield "the logit is not alone: other classes are not zero", lambda: material.values[tensor.tensor]
            yield "the signal starts from 1 instead of y_c", lambda: (golden.s[tensor.tensor] != 0) * 1.0
            return
        step, above = material.plan.step_of[tensor.tensor], golden.s if kind == "S" else golden.a
        inverted = golden.inverted.get(step.tensor)
        mask = material.values[step.tensor] != 0 if step.mask else np.array(1.0)
        if inverted is not None and step.intercept:
            yield (
                "the intercept is left out" if kind == "S" else "the intercept is not left out of A",
                lambda: material.predict(step, above, inverted, affine=kind == "A") * mask,
            )
        if inverted is not None and any(block.ndim > 2 for block in inverted.blocks):
            yield (
                "the kernel is flipped in space",
                lambda: material.predict(step, above, _flipped(inverted), affine=kind == "S") * mask,
            )
        pool = switched(step.layers[:1]).get(step.layers[0].output)
        if inverted is None and pool is not None:
            yield (
                "where several windows chose a location their values are added, not averaged",
                lambda: pool.adjoint(get_backend(), above[pool.output], material.taps[pool.output]) * mask,
            )
        x = material.values[tensor.tensor]
        if kind == "A":
            yield "A is the source signal", lambda: golden.s[tensor.tensor]
            yield "A is the contribution A·X", lambda: golden.a[tensor.tensor] * x
        else:
            yield "S is the attribution", lambda: golden.a[tensor.tensor]
            yield "S is the distractor X - S", lambda: x - golden.s[tensor.tensor]


def reread(case: Case, net: Network) -> Golden:
    """The golden values of a case on disk, as `make` had them; blocks of weights that it left out are fitted again."""
    options, arrays, names = case.manifest["options"], case.arrays, _arrays(case)
    plan = make_plan(
        net,
        at=options["at"],
        local=options["local"],
        input_mask=options["input_mask"],
        conv_bias=options["conv_bias"],
    )
    x, rows = case.given("x"), case.given("rows")
    if x is None or rows is None:
        raise CorruptFile(f"the case in {str(case.folder)!r} has no samples, or does not say which of them count")
    values = {net.input: x} | {layer.output: arrays[names[f"forward/value/{layer.output}"]] for layer in net.layers}
    switches = {layer.output: arrays[names[f"forward/switch/{layer.output}"]] for layer in pools(net)}
    material = Material(net, plan, options["target"], values, switches)
    tensors = [plan.logits, *(step.tensor for step in plan.steps)]
    s, a = ({name: arrays[names[f"propagate/{kind}/{name}"]] for name in tensors} for kind in "SA")
    chosen = rows.astype(np.bool_)
    inverted = {}
    for step in plan.fitted:
        blocks = [names.get(f"solve/weight/{step.tensor}/{i}") for i in range(len(step.branches))]
        found = [arrays[name] for name in blocks if name is not None]
        if len(found) < len(blocks):
            inverted[step.tensor] = material.invert(step, s, chosen, options["ridge"])
            continue
        intercept = arrays[names[f"solve/intercept/{step.tensor}"]] if step.intercept else None
        inverted[step.tensor] = Inverted(tuple(found), intercept, 1.0, 0)
    named = {name: arrays[array] for name, array in names.items()}
    return Golden(material, s, a, inverted, chosen, options["ridge"], named)


def _arrays(case: Case) -> dict[str, str]:
    return {tensor.name: tensor.array for tensor in case.tensors}


def _single(value: Array, golden: Array) -> bool:
    """Whether a float64 array holds float32 values that are off by single-precision rounding."""
    if value.dtype.itemsize < 8 or not np.array_equal(value, value.astype(np.float32)):
        return False
    return bool(np.max(np.abs(value - golden)) <= 1e-3 * np.max(np.abs(golden)))


def _factor(golden: Array, value: Array) -> float:
    """The number that golden times it comes nearest to value."""
    square = float(np.sum(golden * golden))
    return float(np.sum(golden * value)) / square if square else 1.0


def _flipped(inverted: Inverted) -> Inverted:
    blocks = tuple(np.flip(b, tuple(range(2, b.ndim))) if b.ndim > 2 else b for b in inverted.blocks)
    return replace(inverted, blocks=blocks)


def _last_maximum(golden: Golden, layer: Layer) -> Array:
    """The switches of a pool whose ties go to the last of equal values."""
    window, locations, size = as_kind(layer, MaxPool).window, layer.out_shape[1:], layer.in_shape[1:]
    x = golden.material.values[layer.input].astype(np.float64)
    shape = (*x.shape[:2], *window.padded(locations, size))
    canvas: Any = np.full(shape, -np.inf)
    canvas[(..., *window.crop(size))] = x
    place: Any = np.zeros(shape, np.int64)
    place[(..., *window.crop(size))] = np.arange(int(np.prod(size))).reshape(size)
    values = np.stack([canvas[(..., *window.spread(offset, locations))] for offset in window.offsets])
    places = np.stack([place[(..., *window.spread(offset, locations))] for offset in window.offsets])
    last = len(values) - 1 - np.argmax(values[::-1], axis=0)
    return np.asarray(np.take_along_axis(places, last[None], axis=0)[0])
