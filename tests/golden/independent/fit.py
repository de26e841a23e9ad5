"""The weights of one inverse: an explicit design matrix a channel, solved by orthogonal transformations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import torch

from tests.golden.independent.case import Tensor
from tests.golden.independent.forward import Layer
from tests.golden.independent.geometry import links
from tests.golden.independent.pull import Pull

Step = dict[str, Any]
Signals = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """What one step fits: a block a branch, in the shapes of the format; intercept [C] or None."""

    blocks: list[Tensor]
    intercept: Tensor | None


class Fit(Pull):
    picked: float | None = None
    """λ of the step at hand, where the options do not state one for all."""

    def regressor(self, step: Step, branch: dict[str, Any], signals: Signals) -> Tensor:
        """The signal above a Dense [n, out]; y_c alone [n, 1] where the Dense makes the logits."""
        s = signals[self.case.layers[branch["layers"][0]]["output"]]
        target = self.case.options["target"]
        return s[:, target : target + 1] if step["column"] else s

    def predict(self, step: Step, weights: Weights, signals: Signals, switches: Signals) -> Tensor:
        """X̂ [n, *shape] from the signals above."""
        total = torch.zeros((self.case.manifest["samples"], *step["shape"]), dtype=self.case.dtype)
        for branch, block in zip(step["branches"], weights.blocks, strict=True):
            layer = self.case.layers[branch["layers"][0]]
            if layer["kind"] == "Dense":
                part = self.regressor(step, branch, signals) @ block.T
                total = total + (part[:, step["channel_of"]] if "channel_of" in step else part)
            elif layer["kind"] == "Conv":
                total = total + self.adjoint(layer, block, signals[layer["output"]])
            elif layer["kind"] == "ConvTranspose":
                total = total + self.read_again(layer, block, signals[layer["output"]])
            elif layer["kind"] == "TokenDense":
                by_place = signals[layer["output"]].movedim(layer["axis"], -1)
                total = total + (by_place @ block.T).movedim(-1, layer["axis"])
            else:
                total = total + self.per_channel(block, step) * self.branch_signal(branch, signals, switches)
        return total if weights.intercept is None else total + self.per_channel(weights.intercept, step)

    def axis(self, step: Step) -> int:
        """The axis of the channels, counted with the samples."""
        return int(step.get("axis", 1))

    def per_channel(self, vector: Tensor, step: Step) -> Tensor:
        if "channel_of" in step:
            return vector[step["channel_of"]]
        return vector.reshape(-1, *[1] * (len(step["shape"]) - self.axis(step)))

    def channels_last(self, step: Step, values: Tensor) -> Tensor:
        """[n, *shape] with the channels behind the locations; of a flattened map whose elements share weights too."""
        if "channel_of" not in step:
            return values.movedim(self.axis(step), -1)
        channel_of = torch.tensor(step["channel_of"])
        return torch.stack([values[:, channel_of == m] for m in range(int(channel_of.max()) + 1)], dim=-1)

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        """The joint fit of all branches: channels with equal regressors share one problem."""
        self.picked = step.get("ridge")
        layers = [self.case.layers[branch["layers"][0]] for branch in step["branches"]]
        shared = "channel_of" in step
        channels = max(step["channel_of"]) + 1 if shared else step["shape"][self.axis(step) - 1]
        keys = [tuple(self.problem(layer, m, channels) for layer in layers) for m in range(channels)]
        all_blocks, intercepts = [], []
        for key, members in groupby(range(channels), key=lambda m: keys[m]):
            columns = [
                self.living_rows(step, self.columns(step, branch, number, signals, switches)[rows])
                for branch, number in zip(step["branches"], key, strict=True)
            ]
            target = self.living_rows(step, self.channels_last(step, x[rows])[..., list(members)])
            blocks, intercept = self.fit_blocks(columns, target, step["intercept"])
            all_blocks.append(blocks)
            intercepts.append(intercept)
        joined = [torch.cat([blocks[k].T for blocks in all_blocks]) for k in range(len(layers))]
        shaped = [self.shaped(layer, block) for layer, block in zip(layers, joined, strict=True)]
        return Weights(shaped, torch.cat(intercepts) if step["intercept"] else None)

    def living_rows(self, step: Step, values: Tensor) -> Tensor:
        """[n, *map, k] as rows [r, k]: a sample and location each, but for locations that lead to no target."""
        if "alive" in step:
            values = values.flatten(1, -2)[:, step["alive"]]
        return values.flatten(0, -2)

    def living(self, step: Step, signal: Tensor) -> Tensor:
        """The signal [n, *shape], zero at locations that lead to no target."""
        if "alive" not in step:
            return signal
        places = torch.zeros(step["shape"], dtype=torch.bool).movedim(self.axis(step) - 1, -1)
        places.view(-1, places.shape[-1])[step["alive"]] = True
        return signal * places.movedim(-1, self.axis(step) - 1)

    @staticmethod
    def problem(layer: Layer, m: int, channels: int) -> int:
        """Number of the regressors that a branch offers to channel m."""
        if layer["kind"] in ("Dense", "TokenDense"):
            return 0
        return m * layer["groups"] // channels if layer["kind"] in ("Conv", "ConvTranspose") else m

    def columns(self, step: Step, branch: dict[str, Any], number: int, signals: Signals, switches: Signals) -> Tensor:
        """Regressors [n, *map, k] of a branch."""
        layer = self.case.layers[branch["layers"][0]]
        if layer["kind"] == "Dense" and "channel_of" in step:
            locations = len(step["channel_of"]) // (max(step["channel_of"]) + 1)
            return self.regressor(step, branch, signals)[:, None].expand(-1, locations, -1)
        if layer["kind"] == "Dense":
            return self.regressor(step, branch, signals)
        if layer["kind"] == "Conv":
            return self.conv_columns(layer, number, signals[layer["output"]])
        if layer["kind"] == "ConvTranspose":
            return self.transposed_columns(layer, number, signals[layer["output"]])
        if layer["kind"] == "TokenDense":
            return signals[layer["output"]].movedim(layer["axis"], -1)
        return self.channels_last(step, self.branch_signal(branch, signals, switches))[..., number, None]

    def conv_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        """[n, *map, o · taps]: output o of the group, seen from each input location through tap u."""
        own = s.unflatten(1, (layer["groups"], -1))[:, group]
        in_map, out_map, taps = layer["in_shapes"][0][1:], layer["out_shape"][1:], prod(layer["window"]["kernel"])
        seen = torch.zeros((*own.shape[:2], taps, *in_map), dtype=s.dtype)
        for tap, outputs, inputs in links(layer["window"], in_map, out_map):
            seen[(slice(None), slice(None), tap, *inputs)] = own[(..., *outputs)]
        return seen.flatten(1, 2).movedim(1, -1)

    def transposed_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        """[n, *map, o · taps]: output o of the group, at the output location that each tap takes an input's to."""
        own = s.unflatten(1, (layer["groups"], -1))[:, group]
        in_map, out_map, taps = layer["in_shapes"][0][1:], layer["out_shape"][1:], prod(layer["window"]["kernel"])
        seen = torch.zeros((*own.shape[:2], taps, *in_map), dtype=s.dtype)
        for tap, there, here in links(layer["window"], out_map, in_map):
            seen[(slice(None), slice(None), tap, *there)] = own[(..., *here)]
        return seen.flatten(1, 2).movedim(1, -1)

    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        """Weights by channel [C, k] in the format's shape."""
        if layer["kind"] in ("Dense", "TokenDense"):
            return block
        if layer["kind"] == "ConvTranspose":
            return block.unflatten(1, (-1, *layer["window"]["kernel"]))
        if layer["kind"] != "Conv":
            return block[:, 0]
        by_group = block.unflatten(1, (-1, *layer["window"]["kernel"])).unflatten(0, (layer["groups"], -1))
        return by_group.transpose(1, 2).flatten(0, 1)

    def fit_blocks(self, columns: list[Tensor], target: Tensor, intercept: bool) -> tuple[list[Tensor], Tensor]:
        """Weights of each block [k, channels], all solved together, and intercepts [channels]."""
        sizes = [block.shape[1] for block in columns]
        weights, constant = self.ridge(torch.cat(columns, dim=1), target, intercept)
        return list(weights.split(sizes)), constant

    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        """Minimise Σ (target - regressors · W - b)² + λ Σ W²; without intercept b is 0."""
        middle = regressors.mean(dim=0) if intercept else torch.zeros_like(regressors[0])
        level = target.mean(dim=0) if intercept else torch.zeros_like(target[0])
        stated = self.case.options["ridge"] if self.picked is None else self.picked
        weights = self.penalised(regressors - middle, target - level, stated)
        return weights, level - middle @ weights

    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        """Least squares of [regressors; √λ · 1] against [target; 0] by QR, minimum norm where that has no full rank."""
        unknowns = regressors.shape[1]
        power = torch.linalg.svdvals(regressors) ** 2
        least = power[-1] if len(power) == unknowns else 0.0
        floor = unknowns * torch.finfo(torch.float64).eps
        if ridge == 0 or (power[0] + ridge) * floor > least + ridge:
            return self.minimum_norm(regressors, target, ridge)
        # Not the singular vectors: their error is relative to the largest column, and √λ is far below it.
        penalty = ridge**0.5 * torch.eye(unknowns, dtype=regressors.dtype)
        q, r = torch.linalg.qr(torch.cat([regressors, penalty]))
        aim = torch.cat([target, torch.zeros((unknowns, target.shape[1]), dtype=target.dtype)])
        return torch.linalg.solve_triangular(r, q.T @ aim, upper=True)

    def minimum_norm(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        """Over the singular values s that do not count as zero: Σ v · s / (s² + λ) · uᵀ target."""
        left, singular, right = torch.linalg.svd(regressors, full_matrices=False)
        # Rounded regressors of a deficient problem are deficient to their own precision only.
        eps = torch.finfo(regressors.dtype if ridge == 0 else torch.float64).eps
        kept = singular**2 > regressors.shape[1] * eps * singular[0] ** 2
        factor = torch.where(kept, singular / torch.where(kept, singular**2 + ridge, 1.0), 0.0)
        return right.T @ (factor[:, None] * (left.T @ target))
