"""LSTM and GRU, of the format's page: forward, and the way back with their gates."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent.case import Tensor
from tests.golden.independent.functions import FUNCTIONS

Layer = dict[str, Any]
Parameters = dict[str, Tensor]


class Steps:
    """One layer with its parameters. inputs: a, x and the computed initial states."""

    def __init__(self, layer: Layer, parameters: Parameters, inputs: list[Tensor]) -> None:
        self.layer, self.parameters, self.inputs = layer, parameters, inputs
        self.lstm = layer["kind"] == "LSTM"
        self.count, self.size = layer["in_shapes"][0][0], parameters["recurrence"].shape[-1]

    def order(self, direction: int) -> list[int]:
        steps = list(range(self.count))
        return steps[::-1] if self.layer["reverse"][direction] else steps

    def part(self, direction: int) -> slice:
        return slice(direction * self.size, (direction + 1) * self.size)

    def initial(self, name: str, direction: int) -> Tensor:
        if name in self.layer["computed"]:
            return self.inputs[2 + self.layer["computed"].index(name)][:, direction]
        a = self.inputs[0]
        return self.parameters[name][direction].expand(len(a), *a.shape[2:-1], self.size)

    def gate(self, direction: int, which: int, x: Tensor, h: Tensor, c: Tensor | None = None) -> Tensor:
        weight, recurrence, bias = (self.parameters[name][direction] for name in ("weight", "recurrence", "bias"))
        total = x @ weight[which].T + h @ recurrence[which].T + bias[which]
        if "peepholes" in self.parameters and c is not None:
            total = total + self.parameters["peepholes"][direction, which] * c
        return self.function(0, total)

    def function(self, place: int, x: Tensor) -> Tensor:
        """What stands for σ, for the tanh of the candidate and for that of the cell."""
        usual: list[dict[str, Any]] = [{"function": name, "options": {}} for name in ("Sigmoid", "Tanh", "Tanh")]
        told = self.layer.get("activations", usual)[place]
        return FUNCTIONS[told["function"]](x, told["options"])

    def made(self) -> Tensor:
        """The output [n, T, D·H], or with the row of the last cells."""
        a, x = self.inputs[:2]
        parts = []
        for d in range(len(self.layer["reverse"])):
            h, c = self.initial("hidden", d), self.initial("cell", d) if self.lstm else None
            hs: dict[int, Tensor] = {}
            for t in self.order(d):
                own = a[:, t, ..., self.part(d)]
                if c is not None:
                    (_, o, _), c = self.lstm_step(d, own, x[:, t], h, c)
                    h = o * self.function(2, c)
                else:
                    h = self.gru_step(d, own, x[:, t], h)
                hs[t] = h
            rows = [hs[t] for t in range(self.count)] + ([c] if self.layer.get("last") else [])
            parts.append(torch.stack(rows, dim=1))
        return torch.cat(parts, dim=-1)

    def lstm_step(self, d: int, own: Tensor, x: Tensor, h: Tensor, c: Tensor) -> tuple[list[Tensor], Tensor]:
        """Gates i, o, f, and the cell behind the step."""
        i, f = (self.gate(d, k, x, h, c) for k in (0, 2))
        c = f * c + i * self.function(1, own + self.past(d, 3, h))
        return [i, self.gate(d, 1, x, h, c), f], c

    def gru_step(self, d: int, own: Tensor, x: Tensor, h: Tensor) -> Tensor:
        z, r = (self.gate(d, k, x, h) for k in range(2))
        u = r * self.past(d, 2, h) if self.layer["reset_behind"] else self.past(d, 2, r * h)
        return (1 - z) * self.function(1, own + u) + z * h

    def past(self, d: int, which: int, h: Tensor) -> Tensor:
        return h @ self.parameters["recurrence"][d, which].T + self.parameters["bias"][d, which]

    def gates(self, y: Tensor) -> Tensor:
        """[n, gates, T, D·H] of the values of x and of this layer's output y."""
        (a, x), parts = self.inputs[:2], []
        for d in range(len(self.layer["reverse"])):
            h, c, by_step = self.initial("hidden", d), self.initial("cell", d) if self.lstm else None, {}
            for t in self.order(d):
                if c is not None:
                    gates, c = self.lstm_step(d, a[:, t, ..., self.part(d)], x[:, t], h, c)
                else:
                    gates = [self.gate(d, k, x[:, t], h) for k in range(2)]
                by_step[t] = torch.stack(gates, dim=1)
                h = y[:, t, ..., self.part(d)]
            parts.append(torch.stack([by_step[t] for t in range(self.count)], dim=2))
        return torch.cat(parts, dim=-1)


class Recurrent:
    """The way back, apart from the parameters."""

    def recurrent_back(self, layer: Layer, s: Tensor, gates: Tensor) -> Tensor:
        count, *rows, width = layer["in_shapes"][0]
        size, p = width // len(layer["reverse"]), torch.zeros((len(s), count, *rows, width), dtype=s.dtype)
        for d, backwards in enumerate(layer["reverse"]):
            part = slice(d * size, (d + 1) * size)
            order = list(range(count))[:: -1 if backwards else 1]
            q = None
            for place in range(count - 1, -1, -1):
                t = order[place]
                entered = self.entering(layer, gates[:, :, t, ..., part], s[:, t, ..., part])
                if q is not None:
                    q = entered + self.carrying(layer, gates, t, order[place + 1])[..., part] * q
                else:
                    q = entered + (s[:, count, ..., part] if layer.get("last") else 0)
                p[:, t, ..., part] = self.leaving(layer, gates[:, :, t, ..., part]) * q
        return p

    def entering(self, layer: Layer, gates: Tensor, s: Tensor) -> Tensor:
        return gates[:, 1] * s if layer["kind"] == "LSTM" else s

    def carrying(self, layer: Layer, gates: Tensor, step: int, following: int) -> Tensor:
        return gates[:, 2 if layer["kind"] == "LSTM" else 0, following]

    def leaving(self, layer: Layer, gates: Tensor) -> Tensor:
        return gates[:, 0] if layer["kind"] == "LSTM" else 1 - gates[:, 0]
