"""How far rounding of the signals and their products can move what fitted weights give, estimated from the sums.

In single precision every product of two regressors carries an error of about u·√(Σz_i² Σz_j²), u being the unit
roundoff, whatever is left of it when the products are summed in float64. With G = Z'Z and P = (G + λI)⁻¹ these errors
δG and δC move the weights of output k by P (δC - δG w) and so what they give for regressors s by an amount of standard
deviation

    u · √(Σx_k² + w_k' D w_k) · ‖D^½ P s‖,    D = diag(Σz_i²),

(first-order perturbation of least squares; Golub and Van Loan, Matrix Computations, 5.3.7, taken entry by entry). It is
large where directions matter to an input which the calibration rows leave to the ridge alone: a rank below the number
of regressors, columns that nearly depend on one another, large common offsets. s is drawn with the calibration rows'
scale in each regressor, but independent of their directions, because attributions and unseen inputs have others.
Everything is of the raw, not the centred, second moments: these the rounded signals themselves carry, and they do not
depend on how the samples were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mipin_ref.backend import Array, Backend

UNIT = float(np.finfo(np.float32).eps) / 2
"""The unit roundoff of single precision."""

PROMISE = 1e-3
"""How far source signals and attributions of a float32 fit may be from float64, of the tensor's largest entry."""

MOST = PROMISE / 6
"""The largest estimate that keeps the promise: the largest of many errors is some four standard deviations, and some
regressors are half again as large as their scale.
"""

PROBES = 8


def too_far(amplification: float) -> bool:
    """Whether single precision breaks the promise, given by how many units of roundoff results may move."""
    return not amplification * UNIT <= MOST


def directions(backend: Backend, second: Array, rows: int) -> Array:
    """Random regressors s [g, f, PROBES] of the scale that second [g, f], Σz² over rows, tells; the same every time."""
    xp = backend.xp
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(1, second.shape[1], PROBES))
    return xp.sqrt(second / rows)[:, :, None] * backend.put(signs, xp.float64)


def of_products(
    backend: Backend,
    solve: Callable[[Array], Array],
    second: Array,
    weights: Array,
    second_y: Array,
    spread: Array,
    rows: int,
    noisy: Array | None = None,
) -> float:
    """The estimate for weights from normal equations, in units of the roundoff, of the outputs' largest scale.

    solve: P b for b [g, f, p]; second: D [g, f]; weights: [g, f, d]; second_y: Σx² [g, d] of what they reconstruct;
    spread: Σx² [g, d] about the mean where there is an intercept; noisy: D where the products' errors are those of
    larger regressors than `second` tells, as where they are differences. Infinite where rounding has left a sum of
    squares negative or the estimate is no number.
    """
    xp = backend.xp
    if not bool(xp.all(second >= 0)):
        return float("inf")
    noisy = second if noisy is None else noisy
    answer = solve(directions(backend, second, rows))
    reach = xp.mean(xp.sqrt(_weighted(backend, noisy, answer)), axis=1)
    given = _weighted(backend, second, weights)
    wrong = given if noisy is second else _weighted(backend, noisy, weights)
    # Beside the weights' own error, that of single-precision products of signals and weights when they are applied.
    error = xp.sqrt(xp.maximum(second_y, xp.zeros_like(second_y)) + wrong) * reach[:, None] + xp.sqrt(given / rows)
    return relative(backend, error, spread, rows)


def of_signals(
    backend: Backend,
    solve: Callable[[Array], Array],
    second: Array,
    weights: Array,
    second_y: Array,
    spread: Array,
    rows: int,
    ridge: float,
) -> float:
    """The same for weights from products that are exact, of regressors that are rounded, by E with entries u·z.

    They move by P (E'r - Z'E w), r being what is left of x, at most x itself, and by the E'E that is added to the
    ridge. Of the first two the errors of rows are independent: E'r has deviation u·√(Σr² / rows)·D^½, and E w that of
    u·√(w'Dw / rows) a row, from which P Z' makes √(s'Ps) times as much.
    """
    if ridge == 0 or not bool(backend.xp.all(second >= 0)):
        return float("inf")
    xp = backend.xp
    probes = directions(backend, second, rows)
    answer = solve(probes)
    reach = xp.mean(xp.sqrt(_weighted(backend, second, answer)), axis=1)[:, None]
    within = xp.sum(probes * answer, axis=1)
    within = xp.mean(xp.sqrt(xp.maximum(within, xp.zeros_like(within))), axis=1)[:, None]
    given = xp.sqrt(_weighted(backend, second, weights) / rows)
    left = xp.sqrt(xp.maximum(second_y, xp.zeros_like(second_y)) / rows)
    error = left * reach + given * (1.0 + within + UNIT * xp.max(second) / ridge)
    return relative(backend, error, spread, rows)


def _weighted(backend: Backend, second: Array, weights: Array) -> Array:
    """Σ_f second w² [g, d] of second [g, f] and weights [g, f, d], some columns at a time."""
    xp, parts = backend.xp, []
    step = max(1, backend.block_bytes // (8 * (weights.shape[0] * weights.shape[1] or 1)))
    for start in range(0, weights.shape[2], step):
        some = weights[:, :, start : min(start + step, weights.shape[2])]
        parts.append((second[:, None, :] @ (some * some))[:, 0, :])
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)


def of_rows(backend: Backend, second: Array, weights: Array, spread: Array, rows: int, ridge: float) -> float:
    """The same where products are exact and only the regressors are rounded, by E: that adds E'E to the ridge.

    second: [g, f]; weights: [g, f, d]; spread: [g, d]; ridge: λ. E has entries of u·√(Σz² / rows), so that E'E is
    u²·Σz² in every direction. What is linear in E averages out over rows and was never seen to count.
    """
    if ridge == 0:
        return float("inf")
    xp = backend.xp
    given = xp.sqrt(_weighted(backend, second, weights) / rows)
    return relative(backend, given * (1.0 + UNIT * xp.max(second) / ridge), spread, rows)


def relative(backend: Backend, error: Array, spread: Array, rows: int) -> float:
    """The largest error [g, d] as a part of the largest scale √(spread / rows) of any output."""
    xp = backend.xp
    worst = float(xp.max(error))
    scale = float(xp.sqrt(xp.max(xp.maximum(spread, xp.zeros_like(spread))) / rows))
    if worst == 0:
        return 0.0
    return worst / scale if scale > 0 and worst < float("inf") else float("inf")
