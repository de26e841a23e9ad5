"""What `verify` says of candidates with one known mistake, which the tests make in plain NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

import mipin_ref as mr
from tests.golden.arrays import Array, Candidate, candidate, read


def dense_fit(s: Array, x: Array, ridge: float, *, centred: bool = True) -> tuple[Array, Array]:
    """W [in, out] and b [in] of x [n, in] from s [n, out]."""
    mean_s, mean_x = s.mean(axis=0), x.mean(axis=0)
    z, y = (s - mean_s, x - mean_x) if centred else (s, x)
    w = np.linalg.solve(z.T @ z + ridge * np.eye(s.shape[1]), z.T @ y).T
    return w, mean_x - w @ mean_s


def first(name: str, given: Candidate) -> mr.golden.Finding:
    verified = mr.golden.verify(read(name), given)
    assert not verified.ok
    assert verified.first is not None
    return verified.first


def solved(name: str, tensor: str, above: str, **how: float | bool) -> Candidate:
    """The solve stage of a case whose Dense inverse at `tensor` was fitted otherwise."""
    case = read(name)
    given = candidate(case, "solve")
    everything = candidate(case)
    s, x = everything[f"propagate/S/{above}"], everything[f"forward/value/{tensor}"].astype(np.float64)
    ridge = case.manifest["options"]["ridge"] * how.get("times", 1.0) * (len(x) if how.get("means") else 1)
    w, b = dense_fit(s, x, ridge, centred=bool(how.get("centred", True)))
    given[f"solve/weight/{tensor}/0"], given[f"solve/intercept/{tensor}"] = w, b
    return given


def test_the_fit_written_here_is_the_golden_one() -> None:
    assert mr.golden.verify(read("golden_large_ridge"), solved("golden_large_ridge", "flat", "dense1")).ok


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"centred": False}, "not centred"),
        ({"means": True}, "λ on means over all rows"),
        ({"times": 0.0}, "λ = 0"),
        ({"times": 1e-3 / 3.0}, "λ is the default 0.001"),
        ({"times": 3.0}, "λ is squared"),
        ({"times": 2.0}, "λ is twice"),
        ({"times": 0.5}, "λ is half"),
    ],
)
def test_mistakes_of_a_dense_fit(how: dict[str, float | bool], cause: str) -> None:
    finding = first("golden_large_ridge", solved("golden_large_ridge", "flat", "dense1", **how))
    assert (finding.name, finding.stage) == ("solve/weight/flat/0", "solve")
    assert finding.cause is not None
    assert finding.cause.startswith(cause)


def edited(name: str, tensor: str, change: Callable[[Array, Candidate], Array]) -> Candidate:
    """All golden values, one of them changed."""
    given = candidate(read(name))
    given[tensor] = change(given[tensor], given)
    return given


def value(given: Candidate, tensor: str) -> Array:
    return given[f"forward/value/{tensor}"]


def reconstructed(given: Candidate, tensor: str, above: str, kind: str, *, affine: bool) -> Array:
    """The signal below a Dense, before the mask."""
    linear = given[f"propagate/{kind}/{above}"] @ given[f"solve/weight/{tensor}/0"].T
    return np.asarray(linear + given[f"solve/intercept/{tensor}"] if affine else linear)


MISTAKES: dict[str, tuple[str, str, Callable[[Array, Candidate], Array], str]] = {
    "kernel flipped": ("golden_cnn", "solve/weight/pool1/0", lambda a, g: a[..., ::-1, ::-1], "the kernel is flipped"),
    "kernel flipped, 3-D": (
        "golden_conv_3d", "solve/weight/input/0", lambda a, g: a[..., ::-1, ::-1, ::-1], "the kernel is flipped",
    ),
    "kernel transposed": (
        "golden_cnn", "solve/weight/input/0", lambda a, g: a.swapaxes(-1, -2), "the kernel's axes in space are swapped",
    ),
    "weights transposed": (
        "golden_wide_dense", "solve/weight/relu1/0", lambda a, g: a.swapaxes(0, 1), "axes 0 and 1 are swapped",
    ),
    "Fortran order": (
        "golden_mlp", "solve/weight/relu1/0", lambda a, g: a.ravel("F").reshape(a.shape), "the values lie in Fortran",
    ),
    "sign": ("golden_mlp", "propagate/A/dense1", lambda a, g: -a, "the sign is wrong"),
    "scaled": ("golden_mlp", "end/A", lambda a, g: 2.5 * a, "all values are 2.5 times the golden ones"),
    "mask forgotten, S": (
        "golden_mlp", "propagate/S/relu1",
        lambda a, g: reconstructed(g, "relu1", "dense2", "S", affine=True), "the mask is forgotten",
    ),
    "mask forgotten, A": (
        "golden_mlp", "propagate/A/relu1",
        lambda a, g: reconstructed(g, "relu1", "dense2", "A", affine=False), "the mask is forgotten",
    ),
    "input masked": (
        "golden_pool_ties", "propagate/S/input",
        lambda a, g: np.where(read("golden_pool_ties").given("x") != 0, a, 0.0), "a mask is applied",
    ),
    "mask of positive values": (
        "golden_activations", "forward/mask/tanh", lambda a, g: value(g, "tanh") > 0, "the mask asks for X > 0",
    ),
    "intercept in A": (
        "golden_mlp", "propagate/A/relu1",
        lambda a, g: reconstructed(g, "relu1", "dense2", "A", affine=True) * (value(g, "relu1") != 0),
        "the intercept is not left out of A",
    ),
    "intercept not in S": (
        "golden_mlp", "propagate/S/relu1",
        lambda a, g: reconstructed(g, "relu1", "dense2", "S", affine=False) * (value(g, "relu1") != 0),
        "the intercept is left out",
    ),
    "other logits": (
        "golden_mlp", "propagate/S/logits",
        lambda a, g: value(g, "logits").astype(np.float64), "the logit is not alone",
    ),
    "starts from one": (
        "golden_mlp", "propagate/S/logits", lambda a, g: (a != 0) * 1.0, "the signal starts from 1",
    ),
    "bias missing": (
        "golden_mlp", "forward/value/logits",
        lambda a, g: a - layer("golden_mlp", "logits")["bias"], "the bias is missing",
    ),
    "global index": (
        "golden_cnn", "forward/switch/pool1",
        lambda a, g: a + 64 * np.arange(a.shape[0] * a.shape[1]).reshape(*a.shape[:2], 1, 1), "the index counts over",
    ),
    "last of equal values": (
        "golden_pool_ties", "forward/switch/pool1", lambda a, g: last_maximum(value(g, "relu1")), "of equal values",
    ),
    "overlaps added": (
        "golden_pool_overlap", "propagate/S/relu1", lambda a, g: added(g), "where several windows chose",
    ),
    "channels last": (
        "golden_cnn", "forward/value/flat",
        lambda a, g: np.moveaxis(value(g, "relu2"), 1, -1).reshape(a.shape), "channels run last",
    ),
    "joined in reverse": (
        "golden_concat", "forward/value/joined",
        lambda a, g: np.concatenate([value(g, t) for t in ("mean", "largest", "three", "one")], axis=1),
        "the inputs are joined in reverse order",
    ),
    "A times X": (
        "golden_mlp", "end/A", lambda a, g: a * read("golden_mlp").given("x"), "A is the contribution",
    ),
    "distractor": ("golden_mlp", "end/S", lambda a, g: read("golden_mlp").given("x") - a, "S is the distractor"),
    "single precision": (
        "golden_mlp", "solve/weight/relu1/0",
        lambda a, g: a.astype(np.float32).astype(np.float64), "the values are float32 in a float64 array",
    ),
    "S for A": ("golden_mlp", "propagate/A/dense2", lambda a, g: g["propagate/S/dense2"], "A is the source signal"),
}  # fmt: skip


def layer(name: str, output: str) -> dict[str, Array]:
    case = read(name)
    record = next(one for one in case.manifest["layers"] if one["output"] == output)
    return {key: case.arrays[array] for key, array in record["parameters"].items()}


def last_maximum(x: Array) -> Array:
    """Windows 3×2 of strides 2, 1, without padding."""
    n, channels, height, width = x.shape
    places = np.zeros((n, channels, (height - 3) // 2 + 1, width - 1), np.int64)
    for at in np.ndindex(*places.shape):
        best = -np.inf
        for u in range(3):
            for v in range(2):
                i, j = 2 * at[2] + u, at[3] + v
                if x[at[0], at[1], i, j] >= best:
                    best, places[at] = x[at[0], at[1], i, j], i * width + j
    return places


def added(given: Candidate) -> Array:
    """The pool's inverse with sums where windows agree, masked."""
    s, switches, x = given["propagate/S/pool1"], given["forward/switch/pool1"], value(given, "relu1")
    sums = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]))
    for at in np.ndindex(*s.shape):
        sums[at[0], at[1], switches[at]] += s[at]
    return np.asarray(sums.reshape(x.shape) * (x != 0))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_known_mistake_is_named(mistake: str) -> None:
    name, tensor, change, cause = MISTAKES[mistake]
    finding = first(name, edited(name, tensor, change))
    assert finding.name == tensor
    assert finding.stage == tensor.split("/")[0]
    assert finding.cause is not None
    assert finding.cause.startswith(cause)


def test_an_unknown_mistake_has_no_cause() -> None:
    rng = np.random.default_rng(0)
    given = edited("golden_mlp", "solve/weight/relu1/0", lambda a, g: rng.standard_normal(a.shape))
    assert first("golden_mlp", given).cause is None


def test_branches_fitted_one_by_one() -> None:
    """Two convolutions on one tensor, each fitted as if it were alone."""
    case = read("golden_wide_dense")
    given = candidate(case)
    x = value(given, "relu1").astype(np.float64)
    step = next(step for step in case.manifest["steps"] if step["tensor"] == "relu1")
    parts = []
    for number, branch in enumerate(step["branches"]):
        above = case.manifest["layers"][branch["layers"][0]]
        s = given[f"propagate/S/{above['output']}"]
        if above["kind"] == "Dense":
            w, _ = dense_fit(s, x, case.manifest["options"]["ridge"])
            parts.append(w @ s.mean(axis=0))
        else:
            z, y = s - s.mean(axis=0), x - x.mean(axis=0)
            w = np.sum(z * y, axis=0) / (np.sum(z * z, axis=0) + case.manifest["options"]["ridge"])
            parts.append(w * s.mean(axis=0))
        given[f"solve/weight/relu1/{number}"] = w
    given["solve/intercept/relu1"] = x.mean(axis=0) - np.sum(parts, axis=0)
    finding = first("golden_wide_dense", given)
    assert finding.name == "solve/weight/relu1/0"
    assert finding.cause == "the branches are fitted one by one, not jointly"


def test_all_samples_instead_of_the_class() -> None:
    case = read("golden_target_class")
    given = candidate(case)
    s = given["propagate/S/logits"][:, [1]]
    x = value(given, "flat").astype(np.float64)
    given["solve/weight/flat/0"], given["solve/intercept/flat"] = dense_fit(s, x, 1e-3)
    assert first("golden_target_class", given).cause == "the fit takes all samples, not only those of the target class"


def test_the_first_tensor_in_order_of_stages_is_named() -> None:
    given = candidate(read("golden_mlp"))
    for tensor in ("end/S", "propagate/A/relu1", "solve/intercept/relu1", "solve/weight/relu2/0"):
        given[tensor] = given[tensor] + 1.0
    verified = mr.golden.verify(read("golden_mlp"), given)
    assert [finding.name for finding in verified.findings] == [
        "solve/weight/relu2/0",
        "solve/intercept/relu1",
        "propagate/A/relu1",
        "end/S",
    ]
    assert "'solve/weight/relu2/0' (stage solve) is off by 1" in str(verified)
    assert "(3 more are off)" in str(verified)


@pytest.mark.parametrize("stage", ["forward", "solve", "propagate", "end"])
def test_each_stage_is_checked_alone(stage: str) -> None:
    case = read("golden_cnn")
    given = candidate(case, stage)
    verified = mr.golden.verify(case, given)
    assert verified.ok
    assert list(verified.compared) == [stage]
    tensor = next(name for name in given if name.split("/")[1] not in ("switch", "mask"))
    given[tensor] = given[tensor] * 1.01
    assert first("golden_cnn", given).stage == stage


def test_only_the_stages_asked_for_are_compared() -> None:
    case = read("golden_mlp")
    given = candidate(case)
    given["end/A"] = given["end/A"] + 1.0
    assert mr.golden.verify(case, given, stages=["forward", "solve"]).ok
    assert not mr.golden.verify(case, given, stages=["end"]).ok


def test_how_far_and_where() -> None:
    case = read("golden_mlp")
    given = candidate(case, "solve")
    weight = given["solve/weight/relu1/0"]
    weight[3, 2] += 0.5
    finding = first("golden_mlp", given)
    assert finding.at == (3, 2)
    assert finding.error == pytest.approx(0.5, rel=1e-12)
    assert (finding.wrong, finding.entries) == (1, weight.size)


def test_the_tolerance_is_the_edge() -> None:
    case = read("golden_mlp")
    tensor = next(t for t in case.tensors if t.name == "solve/intercept/relu1")
    bound = tensor.tolerance["float64"]
    assert bound is not None
    for part, ok in ((0.9, True), (1.1, False)):
        given = candidate(case, "solve")
        given[tensor.name][0] += part * bound
        assert mr.golden.verify(case, given).ok == ok


def test_float32_in_a_float64_file() -> None:
    """The dtype said beats that of the arrays, and the tolerance is the wider one."""
    case = read("golden_mlp")
    given = {name: a.astype(np.float64) for name, a in candidate(case, "propagate", dtype="float32").items()}
    assert not mr.golden.verify(case, given).ok
    assert mr.golden.verify(case, given, dtype="float32").ok


def test_weights_that_are_not_determined_are_left_to_predictions() -> None:
    case = read("golden_ill_conditioned")
    given = candidate(case, "solve")
    rng = np.random.default_rng(0)
    given["solve/weight/input/0"] = rng.standard_normal(given["solve/weight/input/0"].shape)
    verified = mr.golden.verify(case, given)
    assert verified.ok
    assert verified.left_out == ("solve/weight/input/0",)
    del given["solve/weight/input/0"]
    assert mr.golden.verify(case, given).ok
    given["solve/prediction/input"] = given["solve/prediction/input"] + 0.1
    assert first("golden_ill_conditioned", given).name == "solve/prediction/input"


def test_as_json() -> None:
    given = edited("golden_cnn", "solve/weight/pool1/0", lambda a, g: a[..., ::-1, ::-1])
    document = json.loads(json.dumps(mr.golden.verify(read("golden_cnn"), given).as_dict()))
    assert (document["case"], document["ok"]) == ("golden_cnn", False)
    assert document["first"]["name"] == "solve/weight/pool1/0"
    assert document["first"]["cause"] == "the kernel is flipped in space"
    assert document["compared"]["end"] == 3
