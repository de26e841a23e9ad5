"""CuPy without a GPU: it takes every call that the engine makes, recorded on NumPy or read from the source."""

from __future__ import annotations

import contextlib
import inspect
import operator
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend, NotPositiveDefinite, get_backend
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.layers import Divisor, GlobalAveragePool, Norm
from mipin_ref.layers.activation import FUNCTIONS
from mipin_ref.layers.averages import average, window_counts
from mipin_ref.layers.conv.forward import conv_forward
from mipin_ref.layers.response_norm import response_norm
from mipin_ref.methods.cam import ActivationMap
from mipin_ref.panel.registry import METHODS
from mipin_ref.solve.conv_gram import ConvGram
from mipin_ref.solve.conv_problem import Form
from mipin_ref.solve.gram import Gram, Rows
from mipin_ref.solve.own_gram import OwnGram
from mipin_ref.window import Window
from tests.backend.recording import BINARY, COMPARED, Call, Log, recording
from tests.backend.source import asked_of_xp, calls_of_cupy, signature_in_source
from tests.inverse.test_against_oracle import living_chain
from tests.inverse.test_graphs import living_graph
from tests.methods.recorded import residual
from tests.networks import Network, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.attention import EVERY as NETWORKS
from tests.networks.gated import GATED
from tests.networks.geometry_stages import GEOMETRY_STAGES
from tests.networks.norms import SHAPE as NORMED
from tests.networks.recurrent import RECURRENT
from tests.solve.test_conv_gram import DILATED, STRIDED, TOGETHER, Parts, problem_of, random_sample

OPTIONS: list[dict[str, Any]] = [
    {},
    {"conv_bias": True, "dtype": "float32"},
    {"local": False, "ridge": 0},
    {"fit_on": "target_class", "labels": np.arange(24) % 3, "conv_bias": True},
    {"ridge": 0, "conv_bias": True},
    {"dtype": "float32", "input_mask": True},
]
"""Each network is fitted with one of these."""


@pytest.fixture(scope="module")
def log(stays_single: None) -> Log:
    """What fits, attributions and methods of many kinds have asked for."""
    found = Log()
    for seed in range(12):
        network = living_graph(seed) if seed % 2 else living_chain(seed)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 24, seed).astype(np.float32)
        options = OPTIONS[seed // 2]
        device = recording(found, options.get("dtype", "float64"))
        for inv in mr.fit(net, x, [0, 2], backend=device, batch_size=10, **options).values():
            inv.attribute(x[:5], at=[step.tensor for step in inv.plan.steps])
    for dtype in ("float64", "float32"):
        sum_up(found, dtype)
        explain(found, dtype)
        share_out(found, dtype)
    return found


def explain(log: Log, dtype: str) -> None:
    """Every method on networks of many kinds of layers, and what none of these holds."""
    device = recording(log, dtype)
    rng = np.random.default_rng(0)
    for seed, network in enumerate([residual(), *(random_graph(seeded(seed), ranks=(2,)) for seed in range(12))]):
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 3, seed)
        for method in (name for name, facts in METHODS.items() if facts.fitting is None and facts.suits(net)):
            # Without a feature map Grad-CAM asks which tensor is meant.
            at = net.input if issubclass(METHODS[method], ActivationMap) and not feature_maps(net) else None
            mr.attribute(net, x, [0, 1, 2], method, at=at, backend=device, dtype=dtype)
    further = [make(0) for make in (GATED | RECURRENT).values()]
    further += [random_graph(seeded(seed), ranks=(2,), stages=GEOMETRY_STAGES) for seed in range(60, 72)]
    further += [Network(tuple(make()), NORMED) for make in NETWORKS.values()]
    for seed, network in enumerate(further):
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 3, seed)
        for method in ("gradient", "lrp-epsilon"):
            with contextlib.suppress(mr.UnsupportedModel):  # what has no rule in one of them
                mr.attribute(net, x, 0, method, backend=device, dtype=dtype)
        for layer in net.layers:
            with np.errstate(all="ignore"):  # of functions that ask for values above zero
                layer.forward(device, [device.put(rng.standard_normal((2, *shape))) for shape in layer.in_shapes])
    x = device.put(rng.standard_normal((2, 4, 6, 5)))
    for function in FUNCTIONS.values():
        with np.errstate(invalid="ignore", divide="ignore"):  # of functions that ask for values above zero
            function.pair(device.xp, x, {"slope": device.put(rng.standard_normal((4, 1, 1)))})
    FUNCTIONS["Gelu"].pair(device.xp, x, {"approximate": "tanh"})
    FUNCTIONS["Clip"].pair(device.xp, x, {"min": 0.0})
    FUNCTIONS["Clip"].pair(device.xp, x, {"max": 1.0})
    norms: Any = {"name": "n", "inputs": ("x",), "output": "n", "in_shapes": ((4, 6, 5),), "out_shape": (4, 6, 5)}
    norms |= {"split": (4, 6, 5), "over": (1,), "centred": True, "axis": 1, "scale": np.ones(1), "shift": np.zeros(1)}
    for divisor in (Divisor(order=1), Divisor(floor=0.5)):
        Norm(divisor=divisor, **norms).adjoint(device, x, x)
    response_norm(device, x, {"size": 3, "alpha": 1.0, "beta": 0.75, "bias": 1.0})
    window = Window((3, 2), (2, 1), (1, 0), (1, 1), (1, 1))
    locations = window.output_size((6, 5))
    for groups, m in ((1, 4), (2, 2), (4, 1)):
        conv_forward(device, x, device.put(rng.standard_normal((4, m, 3, 2))), window, groups, locations)
    counts = window_counts(window, locations, (6, 5), pads=True).astype(np.float64)
    average(device, x, window, device.put(counts))
    shapes: Any = {"in_shapes": ((4, 6, 5),), "out_shape": (4, 1, 1)}
    for seed in range(12):
        network = random_graph(seeded(seed), ranks=(2,))
        net = mr.load(to_onnx(network.ops, network.input_shape))
        for layer in net.layers:
            layer.forward(device, [device.put(rng.standard_normal((2, *shape))) for shape in layer.in_shapes])
    GlobalAveragePool(name="m", inputs=("x",), output="m", **shapes).forward(device, [x])


def share_out(log: Log, dtype: str) -> None:
    """Relevance methods and patterns."""
    device = recording(log, dtype)
    for seed in range(6):
        network = living_graph(seed) if seed % 2 else living_chain(seed)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 6, seed).astype(np.float32)
        shared: dict[str, Any] = {"backend": device, "dtype": dtype}
        for method in ("lrp-epsilon", "lrp-alpha-beta", "deep-taylor", "excitation-backprop"):
            mr.attribute(net, x, 0, method, **shared)
        mr.attribute(net, x, 0, "deep-taylor", low=-9, high=9, **shared)
        patterns = mr.fit_patterns(net, x, **shared)
        for method in ("patternnet", "pattern-attribution"):
            mr.attribute(net, x, 0, method, patterns=patterns, **shared)


def sum_up(log: Log, dtype: str) -> None:
    """Every form of the normal equations, in two parts that are merged."""
    device, size = recording(log, dtype), (6, 5)
    problems: list[tuple[Any, Parts]] = [
        (f, [(w, 4, g)]) for f in get_args(Form) for w in (STRIDED, DILATED) for g in (1, 2)
    ]
    problems += [(f, parts) for f in ("im2col", "rows") for parts in TOGETHER.values()]
    for form, parts in problems:
        for own, intercept in ((0, False), (2, True)):
            signals, y = random_sample(parts, size, 4, own, 6, 0)
            parted = [ConvGram(device, problem_of(parts, size, 4, own, 6, intercept), form) for _ in range(2)]
            for i, part in enumerate(parted):
                part.update([device.put(s[i::2]) for s in signals], device.put(y[i::2]))
            parted[0].merge(parted[1])
            for ridge in (0.1, 0.0):
                parted[0].solve(ridge)
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((12, 5)), rng.standard_normal((12, 9)) + 100
    for intercept, own in product((False, True), (0, 2)):
        width, options = 9 // (1 + own), dict[str, Any](own=own, intercept=intercept)
        one: Any
        other: Any
        for one, other in (
            (Gram(device, 5, width, **options), Gram(device, 5, width, **options)),
            (Rows(device, 5, width, **options), Rows(device, 5, width, **options)),
        ):
            one.update(device.put(z[:7]), device.put(y[:7]))
            other.update(device.put(z[7:]), device.put(y[7:]))
            one.merge(other)
            one.solve(0.1)
            one.solve(0.0, device.put(np.array([0, 3])), slice(1, 2))
        alone, beside = (OwnGram(device, width, **options) for _ in range(2))
        alone.update(device.put(y[:7]))
        beside.update(device.put(y[7:]))
        alone.merge(beside)
        for ridge in (0.1, 0.0):
            alone.solve(ridge)


def refused(call: Call) -> str | None:
    """Why CuPy would not take a call; None where it would."""
    import array_api_compat.cupy
    import cupy

    where, _, name = call.path.rpartition(".")
    if where == "ndarray":
        if not hasattr(cupy.ndarray, name):
            return f"cupy.ndarray has no {name}"
        ufunc = of_operator(name)
        return None if ufunc is None else mismatched(ufunc, call)
    try:
        function = reduce(getattr, call.path.split("."), array_api_compat.cupy)
    except AttributeError as error:
        return str(error)
    if isinstance(function, type | float):
        return None
    if isinstance(function, cupy.ufunc):
        return mismatched(function, call)
    try:
        given = inspect.signature(function).bind(*call.kinds, **dict.fromkeys(call.keywords))
    except TypeError as error:
        return f"{call.path}: {error}"
    # What array_api_compat hands on unread must be a keyword of CuPy's own function.
    handed_on = [p.name for p in given.signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    for keyword in given.arguments.get(handed_on[0], {}) if handed_on else ():
        if keyword not in inspect.signature(reduce(getattr, call.path.split("."), cupy)).parameters:
            return f"{call.path}: CuPy knows no keyword {keyword!r}"
    return None


def mismatched(ufunc: Any, call: Call) -> str | None:
    """CuPy's ufuncs have no signature: their number of inputs, the keywords that all have, and their loops."""
    if len(call.kinds) != ufunc.nin:
        return f"{call.path} takes {ufunc.nin} arrays, not {len(call.kinds)}"
    if not call.keywords <= {"out", "dtype", "casting"}:
        return f"{call.path}: CuPy's ufuncs know no {sorted(call.keywords)}"
    loops = [loop for loop in (types.split("->")[0] for types in ufunc.types) if "E" not in loop]  # bfloat16
    for loop in loops:
        # A Python number takes the type of the array beside it.
        if all(len(have) > 1 or np.can_cast(have, want) for have, want in zip(call.kinds, loop, strict=True)):
            return None
    return f"{call.path}: CuPy has no loop for {call.kinds}, only {loops}"


def of_operator(name: str) -> Any:
    """The ufunc behind an operator; None for indexing, attributes and matmul."""
    import cupy

    words = {"sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide"}
    words |= {"mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}
    words |= {
        "eq": "equal",
        "ne": "not_equal",
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
    }
    words |= {"neg": "negative", "pos": "positive", "abs": "absolute"}
    bare = name.strip("_")
    if bare in ("add", "invert", *words) and bare != "matmul":
        return getattr(cupy, words.get(bare, bare))
    if bare[:1] in "ri" and bare[1:] in BINARY and bare[1:] != "matmul":
        return getattr(cupy, words.get(bare[1:], bare[1:]))
    assert bare not in (*BINARY, *COMPARED) or bare == "matmul"
    return None


@pytest.mark.slow
def test_the_recorded_fits_reach_every_call_of_the_source(log: Log) -> None:
    """Function and keywords of every call that is spelled out, but what only NumPy, CuPy or array-api-strict sees."""
    elsewhere: set[tuple[str, frozenset[str] | None]] = {("__name__", None), ("Device", frozenset())}
    # Told apart by namespace, as in no standard; CuPy has it under the same name.
    elsewhere.add(("ascontiguousarray", frozenset(["dtype"])))
    made = {(call.path, call.keywords) for call in log.calls}
    paths = {call.path for call in log.calls}
    missing = {
        (path, keywords)
        for path, keywords in asked_of_xp()
        if (path not in paths if keywords is None else (path, keywords) not in made)
    }
    assert not missing - elsewhere


def test_cupy_takes_every_recorded_call(log: Log) -> None:
    assert len(log.calls) > 100
    assert not [problem for call in sorted(log.calls, key=str) if (problem := refused(call))]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("linalg.multi_dot", (("d", "d"),)), "multi_dot"),
        (Call("linalg.eigh", ("d",), frozenset(["subset"])), "no keyword 'subset'"),
        (Call("sum", ("d",), frozenset(["where"])), "'where'"),
        (Call("geomspace", ("int", "int")), "geomspace"),
        (Call("maximum", ("d",)), "takes 2 arrays"),
        (Call("sqrt", ("d",), frozenset(["signature"])), "signature"),
        (Call("bitwise_and", ("d", "d")), "no loop"),
        (Call("ndarray.__and__", ("d", "?")), "no loop"),
        (Call("ndarray.newbyteorder"), "newbyteorder"),
        (Call("float128"), "float128"),
    ],
)
def test_what_cupy_lacks_is_noticed(call: Call, reason: str) -> None:
    assert reason in str(refused(call))


def test_cupy_takes_what_is_called_on_it_directly() -> None:
    import cupy
    import cupyx

    seen = set()
    for (package, *names), positional, keywords in calls_of_cupy():
        try:
            signature = inspect.signature(reduce(getattr, names, {"cupy": cupy, "cupyx": cupyx}[package]))
        except (AttributeError, ImportError):
            # cupyx.scipy.linalg cannot be imported without the libraries of CUDA.
            signature = signature_in_source(Path(cupyx.__file__).parent.joinpath(*names[:-1]), names[-1])
        signature.bind(*range(positional), **dict.fromkeys(keywords))
        seen.add(".".join([package, *names]))
    assert seen == {
        "cupy.cuda.is_available",
        "cupy.linalg.cholesky",
        "cupyx.errstate",
        "cupyx.scipy.linalg.solve_triangular",
    }
    assert callable(cupy.ndarray.get)


def test_a_signature_of_the_source_refuses_too() -> None:
    import cupyx

    package = Path(cupyx.__file__).parent / "scipy" / "linalg"
    with pytest.raises(TypeError):
        signature_in_source(package, "solve_triangular").bind(0, 1, upper=True)
    with pytest.raises(LookupError):
        signature_in_source(package, "cho_solve")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy's own check of a cuSOLVER routine whose status is 2, in place of the routine and the check behind it."""
    import cupy
    from cupy.linalg import _eigenvalue, _util

    check = _util._check_cusolver_dev_info_if_synchronization_allowed

    class Status(cupy.ndarray):  # type: ignore[misc]
        """A status that lies on no device."""

        def __ne__(self, other: object) -> Any:
            return np.array([other != 2])

        def __format__(self, form: str) -> str:
            return "2"

    nowhere = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(1 << 20, 4, None, 0), 0)
    status = Status((1,), np.int32, memptr=nowhere)
    for name, function, routine in (
        ("cholesky", cupy.linalg.cholesky, "dpotrf"),
        ("eigh", _eigenvalue._syevd, "xsyevd"),
    ):
        assert check.__name__ in inspect.getsource(function)
        monkeypatch.setattr(cupy.linalg, name, lambda a, routine=routine: check(routine, status))
    # By default nothing is said.
    assert cupy.linalg.cholesky(None) is None
    yield
    assert cupy.linalg.cholesky(None) is None


@pytest.mark.usefixtures("failing")
def test_cupy_raises_where_a_matrix_is_not_positive_definite() -> None:
    with pytest.raises(NotPositiveDefinite) as found:
        cupy_backend().cholesky(None)
    assert isinstance(found.value.__cause__, np.linalg.LinAlgError)


@pytest.mark.usefixtures("failing")
def test_cupy_raises_where_eigenvalues_are_not_found() -> None:
    with pytest.raises(mr.InvalidData, match="no eigenvalues that can be found: Error reported by xsyevd in cuSOLVER"):
        cupy_backend().eigh(None)


def cupy_backend() -> Backend:
    """On no device."""
    import array_api_compat.cupy

    return Backend(array_api_compat.cupy, None, "float64")


def test_a_recording_backend_computes_as_numpy_does() -> None:
    network = living_graph(1)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 24, 1).astype(np.float32)
    found, expected = (
        mr.fit(net, x, 0, ridge=0.1, backend=device).attribute(x) for device in (recording(Log()), get_backend("numpy"))
    )
    assert np.max(np.abs(found.source - expected.source)) <= 1e-9 * np.max(np.abs(expected.source))


def test_recorded_arrays_refuse_what_cupys_refuse() -> None:
    device = recording(Log())
    a = device.put(np.ones((2, 3)))
    for wrong in (
        lambda: np.asarray(a),
        lambda: a * np.float64(2),
        lambda: a + np.ones((2, 3)),
        lambda: device.xp.sum(np.ones(3)),
        lambda: a[a > 0],
        lambda: a.flatten(),
        lambda: list(a),
        lambda: operator.setitem(a, 0, np.ones(3)),
    ):
        with pytest.raises((TypeError, AttributeError)):
            wrong()
