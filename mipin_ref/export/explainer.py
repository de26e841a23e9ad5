"""The graph of an explainer: the network forward, then both signals down the plan."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy import int64

from mipin_ref.export.asked import Asked
from mipin_ref.export.chosen import PIXELS, TARGET, Chosen
from mipin_ref.export.maps import add_map
from mipin_ref.export.pixels import Pixels
from mipin_ref.export.precision import INT8, SINGLE
from mipin_ref.graph.document import Document
from mipin_ref.graph.eighths import narrow
from mipin_ref.graph.functions import all_nodes
from mipin_ref.graph.layer_list import leading_to
from mipin_ref.graph.merged import makes_input, merge, others_read, samples_at_a_time
from mipin_ref.inverse.descent.written import Written
from mipin_ref.layers import Stateful

OUTPUTS = ("logits", "logit", "source", "attribution", "contribution", "map")
RESERVED = (*OUTPUTS, TARGET, PIXELS)


class Explainer:
    """Writes one explainer; precision: of its weights; document: that it is written to; inputs: the names that
    those of the network have there.
    """

    def __init__(self, asked: Asked, pixels: Pixels | None, *, precision: str) -> None:
        self.asked, self.document = asked, Document(asked.net.dtype, RESERVED, half=precision != SINGLE)
        net = asked.net
        self._shapes = net.shapes | asked.part.shapes
        self._samples = samples_at_a_time(net) or "N"
        # Claimed first, so that the explainer's inputs have the names that the file's have.
        fed = None if makes_input(net) else net.input
        self.inputs = {
            name: (self.document.tensor if name == fed else self.document.fresh)(name) for name in net.inputs
        }
        self._value = {name: self.document.tensor(name) for name in self._shapes}
        self._add_input(pixels)
        self._add_forward()
        self._chosen = Chosen.of(self.document, asked.targets, asked.places)
        signal = self._descended()
        self._add_outputs(signal)
        if precision == INT8:
            narrow(self.document)

    @property
    def input(self) -> str:
        """The name of the input."""
        return str(self.document.model.graph.input[0].name)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The operators of other domains than ONNX's own, as the model has them."""
        nodes = [one for one in all_nodes(self.document.model.graph.node) if one.domain]
        return tuple(dict.fromkeys(f"{one.domain}.{one.op_type}" for one in nodes))

    def _add_input(self, pixels: Pixels | None) -> None:
        net, document, read = self.asked.net, self.document, self.inputs[self.asked.net.input]
        if pixels is None:
            dtype = net.dtype if net.reads is None else net.reads
            document.input(read, dtype, (self._samples, *net.input_shape))
        else:
            document.input(PIXELS, np.dtype(np.uint8), (self._samples, *pixels.shape))
            pixels.write(document, PIXELS, read)
        for name, one in others_read(net).items():
            document.input(self.inputs[name], one.dtype, (self._samples, *one.shape))

    def _add_forward(self) -> None:
        plan, steps, net, document = self.asked.plan, self.asked.steps, self.asked.net, self.document
        read = {self.asked.tensor, net.logits, plan.logits}.union(step.tensor for step in steps if step.mask)
        for step in steps:
            for layer in step.layers:
                if isinstance(layer, Stateful) and layer.reads:
                    read.update(name for what, name in layer.reads if what == "value")
                    read.update((*layer.inputs, layer.output))
        known = {*net.starts}.union(layer.output for layer in net.layers)
        made = [layer for layer in net.layers if layer.output not in net.starts]
        layers = leading_to([*made, *(one for one in self.asked.part.layers if one.output not in known)], read)
        merge(document, net, read.union(name for layer in layers for name in layer.inputs), self.inputs)
        document.forward(layers, read)

    def _descended(self) -> str:
        """Both signals at the explained tensor [2n, *shape]."""
        net, document, plan, chosen = self.asked.net, self.document, self.asked.plan, self._chosen
        self._flat(net.logits, "logits")
        document.output("logits", (self._samples, prod(net.shapes[net.logits])))
        entries = "logits" if plan.logits == net.logits else self._flat(plan.logits, document.fresh("seed/entries"))
        logit, shape = chosen.logit(entries), self._shapes[plan.logits]
        document.output("logit", (self._samples,))
        column = document.append(
            "Reshape", [logit, document.constant("column", np.array([-1, 1], int64))], document.fresh("seed/column")
        )
        if not plan.column:
            placed = chosen.one_hot(column, prod(shape))
            to = document.constant("seed/shape", np.array([-1, *shape], int64))
            column = document.append("Reshape", [placed, to], document.fresh("seed/placed"))
        seed = document.append("Concat", [column, column], document.fresh("seed/both"), axis=0)
        inverses = self.asked.inverses
        way = Written(
            document,
            [one.plan for one in inverses],
            [one.weights for one in inverses],
            self._value.__getitem__,
            chosen.weight,
        )
        return way.down(self.asked.steps, seed, plan.logits)[self.asked.tensor]

    def _flat(self, tensor: str, output: str) -> str:
        """A tensor as [n, entries]."""
        shape = self.document.constant("flat", np.array([-1, prod(self._shapes[tensor])], int64))
        return self.document.append("Reshape", [self._value[tensor], shape], output)

    def _add_outputs(self, signals: str) -> None:
        document, tensor = self.document, self.asked.tensor
        shape = self.asked.net.shapes[tensor]
        view = document.constant("two", np.array([2, -1, *shape], int64))
        apart = document.append("Reshape", [signals, view], document.fresh("back/apart"))
        for number, name in enumerate(("source", "attribution")):
            document.append("Gather", [apart, document.constant(name, np.array(number, int64))], name, axis=0)
            document.output(name, (self._samples, *shape))
        document.append("Mul", ["attribution", self._value[tensor]], "contribution")
        document.output("contribution", (self._samples, *shape))
        add_map(document, self.asked, self._chosen, self._samples)
