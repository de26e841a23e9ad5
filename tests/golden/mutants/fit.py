"""Faults of the least-squares problem: centring, λ, rank, samples."""

from __future__ import annotations

import torch

from tests.golden.independent import Case, Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.mutants.mutant import Mutant


class NotCentred(Independent):
    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        return super().ridge(regressors, target, False)


class RegressorsNotCentred(Independent):
    """The penalty then falls on another problem than that of an unpenalised intercept."""

    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        if not intercept:
            return super().ridge(regressors, target, False)
        level = target.mean(dim=0)
        weights = self.penalised(regressors, target - level, self.case.options["ridge"])
        return weights, level - regressors.mean(dim=0) @ weights


class InterceptPenalised(Independent):
    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        if not intercept:
            return super().ridge(regressors, target, False)
        ones = torch.ones((len(regressors), 1), dtype=regressors.dtype)
        both = self.penalised(torch.cat([regressors, ones], dim=1), target, self.case.options["ridge"])
        return both[:-1], both[-1]


class OneMeanForAllChannels(Independent):
    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        if not intercept:
            return super().ridge(regressors, target, False)
        weights, level = super().ridge(regressors, target, True)
        return weights, level - target.mean(dim=0) + target.mean()


class CentredByLocation(Independent):
    """An intercept for each location of each channel, of which the mean is told."""

    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        if not intercept:
            return super().ridge(regressors, target, False)
        samples = int(self.rows().sum())
        by_sample = [array.reshape(samples, -1, array.shape[1]) for array in (regressors, target)]
        centred = [(array - array.mean(dim=0)).flatten(0, 1) for array in by_sample]
        weights = self.penalised(centred[0], centred[1], self.case.options["ridge"])
        return weights, target.mean(dim=0) - regressors.mean(dim=0) @ weights


class MeansOfAllSamples(Independent):
    """Intercepts from the means over samples that the fit leaves out too."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        weights = super().solve_step(step, x, signals, switches, rows)
        if weights.intercept is None:
            return weights
        left = x - self.predict(step, self.linear(weights), signals, switches)
        return Weights(weights.blocks, left.transpose(0, 1).flatten(1).mean(dim=1))


class LambdaHalved(Independent):
    """As if the squares were halved and the penalty were not, or the other way round."""

    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge / 2)


class LambdaOnMeans(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge * len(regressors))


class LambdaOnMeansOverSamples(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge * int(self.rows().sum()))


class LambdaMissing(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, 0.0)


class LambdaSquared(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge**2)


class LambdaOfTheMeanDiagonal(Independent):
    """Relative to the size of the regressors, as many libraries scale it."""

    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge * float((regressors**2).sum(dim=0).mean()))


class LambdaAlwaysTheDefault(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, 1e-3)


class TinyRidgeForMinimumNorm(Independent):
    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        return super().penalised(regressors, target, ridge or 1e-6)


class SmallDirectionsCut(Independent):
    """What is far below the largest eigenvalue counts as zero, though λ > 0."""

    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        left, singular, right = torch.linalg.svd(regressors, full_matrices=False)
        kept = singular**2 > 1e-8 * singular[0] ** 2
        factor = torch.where(kept, singular / (singular**2 + ridge), 0.0)
        return right.T @ (factor[:, None] * (left.T @ target))


class DependentColumnsDropped(Independent):
    """A solution of the rank-deficient problem, not the one of least norm."""

    def minimum_norm(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        kept: list[int] = []
        for column in range(regressors.shape[1]):
            if torch.linalg.matrix_rank(regressors[:, [*kept, column]]) > len(kept):
                kept.append(column)
        weights = torch.zeros((regressors.shape[1], target.shape[1]), dtype=target.dtype)
        weights[kept] = torch.linalg.lstsq(regressors[:, kept], target).solution
        return weights


class NothingCountsAsZero(Independent):
    def minimum_norm(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        left, singular, right = torch.linalg.svd(regressors, full_matrices=False)
        return right.T @ ((left.T @ target) * (singular / (singular**2 + ridge))[:, None])


class DeadChannelDivided(Independent):
    """Columns brought to unit deviation, a constant one as well."""

    def penalised(self, regressors: Tensor, target: Tensor, ridge: float) -> Tensor:
        deviation = regressors.std(dim=0)
        penalty = torch.diag(ridge**0.5 / deviation)
        rows = torch.cat([regressors / deviation, penalty])
        aim = torch.cat([target, torch.zeros((len(penalty), target.shape[1]), dtype=target.dtype)])
        gram = rows.T @ rows
        inverse = torch.full_like(gram, torch.nan) if not gram.isfinite().all() else torch.linalg.inv(gram)
        return inverse @ (rows.T @ aim) / deviation[:, None]


class EverySampleFitted(Independent):
    def rows(self) -> Tensor:
        return torch.ones(self.case.manifest["samples"], dtype=torch.bool)


class RowsByPrediction(Independent):
    """Though there are labels."""

    def rows(self) -> Tensor:
        if self.case.options["fit_on"] == "all":
            return super().rows()
        return self.case.value(self.case.logits).argmax(dim=1) == self.case.options["target"]


class ValuesForSignals(Independent):
    """Regressed on what the network computed above, not on the signals."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        return super().solve_step(step, x, self.golden_values(), switches, rows)


class SignalsUnmasked(Independent):
    """The fit sees predictions before their masks; only the passes are masked."""

    def descend(
        self,
        step: Step,
        weights: Weights | None,
        values: Signals,
        switches: Signals,
        sources: Signals,
        attributions: Signals,
    ) -> None:
        before: Signals = getattr(self, "before", {self.case.logits: sources[self.case.logits]})
        if weights is None:
            before[step["tensor"]] = self.branch_signal(step["branches"][0], before, switches)
        else:
            before[step["tensor"]] = self.predict(step, weights, sources, switches)
        self.before = before
        super().descend(step, weights, values, switches, sources, attributions)

    def regressing(self, sources: Signals, values: Signals) -> Signals:
        return {**sources, **{name: s for name, s in getattr(self, "before", {}).items() if name in sources}}


class Float32PassedOff(Independent):
    def candidate(self) -> dict[str, Tensor]:
        case = Case.__new__(Case)
        case.__dict__.update(self.case.__dict__, dtype=torch.float32)
        arrays = Independent(case).candidate()
        return {name: a.double() if a.is_floating_point() else a for name, a in arrays.items()}


FIT = {
    "not centred": Mutant(NotCentred, "golden_mlp", "solve", "solve/weight/relu2/0"),
    "target centred, regressors not": Mutant(RegressorsNotCentred, "golden_mlp", "solve", "solve/weight/relu2/0"),
    "one mean for all channels": Mutant(OneMeanForAllChannels, "golden_mlp", "solve", "solve/intercept/relu2"),
    "centred at each location": Mutant(CentredByLocation, "golden_conv_bias", "solve", "solve/weight/relu2/0"),
    "means over samples that the fit leaves out": Mutant(
        MeansOfAllSamples, "golden_target_class", "solve", "solve/intercept/flat"
    ),
    "intercept penalised": Mutant(InterceptPenalised, "golden_mlp", "solve", "solve/weight/relu2/0"),
    "λ on means over samples and locations": Mutant(LambdaOnMeans, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ on means over samples": Mutant(LambdaOnMeansOverSamples, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ halved": Mutant(LambdaHalved, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ missing": Mutant(LambdaMissing, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ squared": Mutant(LambdaSquared, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ relative to the mean diagonal": Mutant(LambdaOfTheMeanDiagonal, "golden_cnn", "solve", "solve/weight/relu3/0"),
    "λ always the default": Mutant(LambdaAlwaysTheDefault, "golden_large_ridge", "solve", "solve/weight/relu3/0"),
    "tiny λ in place of the minimum norm": Mutant(
        TinyRidgeForMinimumNorm, "golden_min_norm", "solve", "solve/weight/relu2/0", in_float32=False
    ),
    "small directions cut though λ > 0": Mutant(
        SmallDirectionsCut, "golden_ill_conditioned", "solve", "solve/weight/relu1/0"
    ),
    "dependent columns dropped": Mutant(
        DependentColumnsDropped, "golden_min_norm", "solve", "solve/weight/relu1/0", in_float32=False
    ),
    "no eigenvalue counts as zero": Mutant(
        NothingCountsAsZero, "golden_min_norm", "solve", "solve/weight/relu1/0", in_float32=False
    ),
    "dead channel divided by its deviation": Mutant(DeadChannelDivided, "golden_dead", "solve", "solve/weight/flat/0"),
    "fit_on ignored": Mutant(EverySampleFitted, "golden_target_class", "solve", "solve/weight/flat/0"),
    "fit_on by prediction though labels are given": Mutant(
        RowsByPrediction, "golden_target_class", "solve", "solve/weight/flat/0"
    ),
    "regressed on the values above": Mutant(ValuesForSignals, "golden_mlp", "solve", "solve/weight/relu1/0"),
    "regressed on signals before their masks": Mutant(SignalsUnmasked, "golden_cnn", "end", "end/S"),
    "computed in float32, written in float64": Mutant(Float32PassedOff, "golden_mlp", "solve", "solve/weight/relu2/0"),
}
