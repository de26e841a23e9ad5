"""The graph of an explainer: the network forward, then both signals down the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy import int64

from mipin_ref.export.asked import Asked
from mipin_ref.export.chosen import Chosen
from mipin_ref.export.maps import add_map
from mipin_ref.export.pixels import Pixels
from mipin_ref.graph.document import Back, Document
from mipin_ref.graph.merged import merge
from mipin_ref.inverse.plan import Branch, Step
from mipin_ref.layers import HostArray, Layer, Shape, Shared, Stateful

OUTPUTS = ("logits", "logit", "source", "attribution", "contribution", "map")
TARGET, PIXELS = "target", "pixels"
RESERVED = (*OUTPUTS, TARGET, PIXELS)


class Explainer:
    """Writes one explainer; document: that it is written to."""

    def __init__(self, asked: Asked, pixels: Pixels | None, *, half: bool) -> None:
        self.asked, self.document = asked, Document(asked.net.dtype, RESERVED, half=half)
        self._masks: dict[tuple[str, bool], str] = {}
        self._states: dict[tuple[str, int], str] = {}
        net = asked.net
        self._shapes = net.shapes | asked.part.shapes
        self._value = {name: self.document.tensor(name) for name in self._shapes}
        self._add_input(pixels)
        self._add_forward()
        self._chosen = Chosen.of(self.document, asked.targets, asked.places)
        signal = self._descended()
        self._add_outputs(signal)

    @property
    def input(self) -> str:
        """The name of the input."""
        return str(self.document.model.graph.input[0].name)

    def _add_input(self, pixels: Pixels | None) -> None:
        net, document = self.asked.net, self.document
        name = document.tensor(net.input)
        if pixels is None:
            document.input(name, net.dtype if net.reads is None else net.reads, ("N", *net.input_shape))
        else:
            document.input(PIXELS, np.dtype(np.uint8), ("N", *pixels.shape))
            pixels.write(document, PIXELS, name)

    def _add_forward(self) -> None:
        plan, steps, net, document = self.asked.plan, self.asked.steps, self.asked.net, self.document
        read = {self.asked.tensor, net.logits, plan.logits}.union(step.tensor for step in steps if step.mask)
        for step in steps:
            for layer in step.layers:
                if isinstance(layer, Stateful) and layer.reads:
                    read.update(name for what, name in layer.reads if what == "value")
                    read.update((*layer.inputs, layer.output))
        merge(document, net)
        known = {layer.output for layer in net.layers}
        document.forward([*net.layers, *(one for one in self.asked.part.layers if one.output not in known)], read)

    def _descended(self) -> str:
        """Both signals at the explained tensor [2n, *shape]."""
        net, document, plan, chosen = self.asked.net, self.document, self.asked.plan, self._chosen
        self._flat(net.logits, "logits")
        document.output("logits", ("N", prod(net.shapes[net.logits])))
        entries = "logits" if plan.logits == net.logits else self._flat(plan.logits, document.fresh("seed/entries"))
        logit, shape = chosen.logit(entries), self._shapes[plan.logits]
        document.output("logit", ("N",))
        column = document.append(
            "Reshape", [logit, document.constant("column", np.array([-1, 1], int64))], document.fresh("seed/column")
        )
        if not plan.column:
            placed = chosen.one_hot(column, prod(shape))
            to = document.constant("seed/shape", np.array([-1, *shape], int64))
            column = document.append("Reshape", [placed, to], document.fresh("seed/placed"))
        signals = {plan.logits: document.append("Concat", [column, column], document.fresh("seed/both"), axis=0)}
        for step in self.asked.steps:
            signals[step.tensor] = self._stepped(step, signals)
        return signals[self.asked.tensor]

    def _flat(self, tensor: str, output: str) -> str:
        """A tensor as [n, entries]."""
        shape = self.document.constant("flat", np.array([-1, prod(self._shapes[tensor])], int64))
        return self.document.append("Reshape", [self._value[tensor], shape], output)

    def _stepped(self, step: Step, signals: dict[str, str]) -> str:
        """The signals [2n, *shape] of a step's tensor."""
        document, name = self.document, step.tensor
        parts = [self._branch(step, number, branch, signals) for number, branch in enumerate(step.branches)]
        made = parts[0] if len(parts) == 1 else document.append("Sum", parts, document.fresh(f"back/{name}/sum"))
        weights = [one.weights[step.tensor] for one in self.asked.inverses] if step.fitted else []
        intercepts = [one.intercept for one in weights if one.intercept is not None]
        if not intercepts and not step.mask and step.alive is None:
            return made
        view = document.constant("two", np.array([2, -1, *step.shape], int64))
        made = document.append("Reshape", [made, view], document.fresh(f"back/{name}/two"))
        if intercepts:
            placed = _each(lambda one: _placed(step, one)[None], intercepts)
            own = self._chosen.weight(f"back/{name}/intercept", placed)
            none = document.weight(f"back/{name}/no intercept", np.zeros_like(placed[0]))
            added = document.append("Concat", [own, none], document.fresh(f"back/{name}/intercepts"), axis=0)
            made = document.append("Add", [made, added], document.fresh(f"back/{name}/shifted"))
        if step.mask:
            made = document.append("Mul", [made, self._mask(step)], document.fresh(f"back/{name}/masked"))
        if step.alive is not None:
            alive = [one.plan.step_of[name].alive for one in self.asked.inverses]
            flags = [np.ones((1,) * len(step.shape)) if one is None else one * 1.0 for one in alive]
            kept = self._chosen.weight(f"back/{name}/alive", [np.broadcast_to(one, _widest(flags)) for one in flags])
            made = document.append("Mul", [made, kept], document.fresh(f"back/{name}/living"))
        rows = document.constant("rows", np.array([-1, *step.shape], int64))
        return document.append("Reshape", [made, rows], document.fresh(f"back/{name}/signals"))

    def _branch(self, step: Step, number: int, branch: Branch, signals: dict[str, str]) -> str:
        document = self.document
        blocks = [one.weights[step.tensor].blocks[number] for one in self.asked.inverses] if step.fitted else []
        prefix = f"back/{step.tensor}/{number}"
        pulled = [
            self._through(layer, branch.slot, signals, f"{prefix}.{i}", blocks) for i, layer in enumerate(branch.layers)
        ]
        made = pulled[0] if len(pulled) == 1 else document.append("Sum", pulled, document.fresh(f"{prefix}/together"))
        if not step.fitted or isinstance(branch.layer, Shared):
            return made
        shares = self._chosen.weight(f"{prefix}/weights", _each(lambda block: _placed(step, block), blocks))
        return document.append("Mul", [made, shares], document.fresh(f"{prefix}/weighted"))

    def _through(
        self, layer: Layer, slot: int, signals: dict[str, str], prefix: str, blocks: Sequence[HostArray]
    ) -> str:
        """The signals [2n, *in_shapes[slot]] of a layer, before weights that are not shared."""

        def block(form: Callable[[HostArray], HostArray]) -> str:
            return self._chosen.weight(f"{prefix}/block", _each(form, blocks))

        writer = Back(self.document, prefix, self._value.__getitem__, lambda: self._state(layer, slot, writer), block)
        return layer.emit_back(writer, signals[layer.output], slot)

    def _state(self, layer: Layer, slot: int, writer: Back) -> str:
        key = layer.output, slot
        if key not in self._states:
            assert isinstance(layer, Stateful)
            self._states[key] = layer.emit_state(writer, slot)
        return self._states[key]

    def _mask(self, step: Step) -> str:
        """Ones [n, *shape] where the tensor fired (Eq. 9)."""
        document, key = self.document, (step.tensor, step.positive)
        if key not in self._masks:
            value, name = self._value[step.tensor], f"mask/{step.tensor}"
            if step.positive:
                zero = document.weight("zero", 0.0)
                fired = document.append("Greater", [value, zero], document.fresh(f"{name}/fired"))
            else:
                fired = document.append("Cast", [value], document.fresh(f"{name}/fired"), to=BOOL)
            self._masks[key] = document.append("Cast", [fired], document.fresh(name), to=document.element)
        return self._masks[key]

    def _add_outputs(self, signals: str) -> None:
        document, tensor = self.document, self.asked.tensor
        shape = self.asked.net.shapes[tensor]
        view = document.constant("two", np.array([2, -1, *shape], int64))
        apart = document.append("Reshape", [signals, view], document.fresh("back/apart"))
        for number, name in enumerate(("source", "attribution")):
            document.append("Gather", [apart, document.constant(name, np.array(number, int64))], name, axis=0)
            document.output(name, ("N", *shape))
        document.append("Mul", ["attribution", self._value[tensor]], "contribution")
        document.output("contribution", ("N", *shape))
        add_map(document, self.asked, self._chosen)


BOOL = 9
"""What ONNX counts the type of conditions as."""


def _each(form: Callable[[HostArray], HostArray], arrays: Sequence[HostArray]) -> list[HostArray]:
    """A form of each array; of one that is there for many targets once, so that it is still one."""
    made: dict[int, HostArray] = {}
    return [made.setdefault(id(one), form(one)) if id(one) not in made else made[id(one)] for one in arrays]


def _placed(step: Step, values: HostArray) -> HostArray:
    """One value a channel [C] as it broadcasts to [1, *shape]."""
    if not step.shape:
        return values.reshape(1)
    shape = [1] * (len(step.shape) + 1)
    shape[step.axis] = len(values)
    return values.reshape(shape)


def _widest(flags: Sequence[HostArray]) -> Shape:
    return np.broadcast_shapes(*(one.shape for one in flags))
