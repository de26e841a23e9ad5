"""What counts as one consumer: slots of an Add, disjoint Slices, and copies that are no tensors of their own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles.consumers import consumers_of, disjoint, without_copies
from tests.oracles.mipin import OracleResult, mipin
from tests.oracles.spec import (
    LRN,
    Activation,
    Add,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    Op,
    Pad,
    Reshape,
    Slice,
    tensor_shapes,
)

SHAPES = ((9, 2, 5), (4, 2, 3), (4, 4, 3), (10, 3), (4, 4, 1), (4, 4, 1), (4, 5), (1, 5))
X, KERNEL, SIDE, HEAD, P, Q, SCALE, SHIFT = (np.random.default_rng(i).standard_normal(s) for i, s in enumerate(SHAPES))


def channels(source: str, output: str, begin: int, end: int) -> Slice:
    return Slice((source,), output, (begin, 0), (end, 5))


def network(*middle: Op) -> list[Op]:
    """x [2, 5] -> h [4, 5], with zeros; the middle makes m of it, [4, 5] or [5, 5] or [3, 5]; a Dense."""
    stem: list[Op] = [Conv(("x",), "c", KERNEL, None, (), (1, 1)), Activation(("c",), "h", "Relu"), *middle]
    width = int(np.prod(tensor_shapes(stem, (2, 5))["m"]))
    head = np.random.default_rng(1).standard_normal((width, 3))
    return [*stem, Reshape(("m",), "f", (width,)), Dense(("f",), "y", head)]


def explain(*middle: Op, at: str | None = None, ridge: float = 1e-3) -> OracleResult:
    return mipin(network(*middle), X, 0, at=at, ridge=ridge)


HALVES = (channels("h", "a", 0, 1), channels("h", "b", 1, 4))
JOINED = Concat(("a", "b"), "m")


def assert_shared_tensors_agree(left: OracleResult, right: OracleResult, tolerance: float = 1e-12) -> None:
    shared = left.source.keys() & right.source.keys()
    assert {"x", "c", "h", "y"} <= shared
    for name in shared:
        for signals in ("source", "attribution"):
            first, second = getattr(left, signals)[name], getattr(right, signals)[name]
            np.testing.assert_allclose(first, second, rtol=tolerance, atol=tolerance, err_msg=f"{signals} {name}")


def test_boxes() -> None:
    def box(*bounds: tuple[int, int]) -> Slice:
        return Slice(("x",), "y", tuple(b for b, _ in bounds), tuple(e for _, e in bounds))

    assert disjoint(box((0, 2)), box((2, 3)))
    assert not disjoint(box((0, 3)), box((2, 3)))
    assert disjoint(box((0, 3), (0, 1)), box((2, 3), (1, 4)))
    assert not disjoint(box((0, 3), (0, 2)), box((2, 3), (1, 4)))
    assert not disjoint(box((0, 1)), box((0, 1)))


def test_consumers_in_execution_order() -> None:
    ops: list[Op] = [
        channels("h", "a", 2, 4),
        Conv(("h",), "k", SIDE, None, (), (1, 1)),
        channels("h", "b", 0, 1),
        Add(("h", "k", "h"), "s"),
        channels("other", "c", 0, 4),
    ]
    found = [([part.output for part in c.parts], c.slot) for c in consumers_of(ops, "h")]
    assert found == [(["a", "b"], 0), (["k"], 0), (["s"], 0), (["s"], 2)]
    overlapping = [*ops, channels("h", "d", 0, 3)]
    alone = [([part.output for part in c.parts], c.slot) for c in consumers_of(overlapping, "h")]
    assert alone == [(["a"], 0), (["k"], 0), (["b"], 0), (["s"], 0), (["s"], 2), (["d"], 0)]


def test_slices_put_side_by_side_change_nothing() -> None:
    """Split and Concat are the identity, so h takes m's signal and everything below is as without them."""
    result = explain(*HALVES, JOINED)
    np.testing.assert_array_equal(result.source["h"], result.source["m"])
    assert "h" not in result.weights
    assert_shared_tensors_agree(result, explain(Reshape(("h",), "m", (4, 5))))


def test_the_order_of_the_slices_does_not_matter() -> None:
    assert_shared_tensors_agree(explain(*HALVES, JOINED), explain(*HALVES[::-1], JOINED))


def test_where_no_slice_reaches_there_is_no_signal() -> None:
    result = explain(channels("h", "a", 0, 1), channels("h", "b", 3, 4), JOINED)
    assert "h" not in result.weights
    np.testing.assert_array_equal(result.source["h"][:, 1:3], 0)
    np.testing.assert_array_equal(result.source["h"][:, [0, 3]], result.source["m"])
    assert np.any(result.source["m"])


def test_disjoint_slices_beside_another_consumer_are_one_branch() -> None:
    """m = h + split-and-joined h has the weights of h + h."""
    result = explain(*HALVES, Concat(("a", "b"), "j"), Add(("j", "h"), "m"))
    fit = result.weights["h"]
    assert [(block.consumer, block.slot, block.weight.shape) for block in fit.blocks] == [
        ("a", 0, (4,)),
        ("m", 1, (4,)),
    ]
    twice = explain(Add(("h", "h"), "m"))
    for block, other in zip(fit.blocks, twice.weights["h"].blocks, strict=True):
        np.testing.assert_allclose(block.weight, other.weight, rtol=1e-9)
    assert_shared_tensors_agree(result, twice, 1e-9)


def test_the_branch_stands_where_its_first_slice_does() -> None:
    side = Conv(("h",), "k", SIDE, None, (), (1, 1))
    parts = (Concat(("a", "b"), "j"), Add(("j", "k"), "m"))
    early = explain(HALVES[1], side, HALVES[0], *parts)
    late = explain(side, *HALVES, *parts)
    assert [block.consumer for block in early.weights["h"].blocks] == ["b", "k"]
    assert [block.consumer for block in late.weights["h"].blocks] == ["k", "a"]
    for block, same in zip(early.weights["h"].blocks, late.weights["h"].blocks[::-1], strict=True):
        np.testing.assert_allclose(block.weight, same.weight, atol=1e-9)


def test_overlapping_slices_are_consumers_of_their_own() -> None:
    result = explain(channels("h", "a", 0, 2), channels("h", "b", 1, 4), JOINED)
    first, second = result.weights["h"].blocks
    assert (first.consumer, second.consumer) == ("a", "b")
    # Where one of them alone reaches, the other's weight has nothing to do.
    np.testing.assert_array_equal(first.weight[2:], 0)
    np.testing.assert_array_equal(second.weight[:1], 0)
    assert np.all(first.weight[:2] != 0)
    assert np.all(second.weight[1:] != 0)


def test_only_slices_that_lead_to_the_target_count() -> None:
    """An overlapping one that leads nowhere leaves the others one consumer; one alone is zero outside its box."""
    dead = (channels("h", "d", 0, 2), Activation(("d",), "dead", "Relu"))
    assert_shared_tensors_agree(explain(*HALVES, *dead, JOINED), explain(*HALVES, JOINED))
    alone = explain(channels("h", "a", 0, 2), channels("h", "m", 1, 4))
    assert "h" not in alone.weights
    assert "a" not in alone.source
    np.testing.assert_array_equal(alone.source["h"][:, 0], 0)
    np.testing.assert_array_equal(alone.source["h"][:, 1:], alone.source["m"])


def test_only_slices_between_the_explained_tensor_and_the_target_count() -> None:
    inner = explain(*HALVES, JOINED, at="b")
    assert set(inner.source) == {"b", "m", "f", "y"}
    np.testing.assert_array_equal(inner.source["b"], inner.source["m"][:, 1:])


@pytest.mark.parametrize("cut", [Slice(("x",), "a", (0,), (2,)), Pad(("x",), "a", (0,), (1,))])
def test_the_input_sliced_or_padded_is_masked_and_the_input_is_not(cut: Op) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((9, 4)) * (rng.random((9, 4)) < 0.5)
    width = tensor_shapes([cut], (4,))["a"][0]
    ops: list[Op] = [cut, Dense(("a",), "p", HEAD[:width]), Dense(("x",), "q", HEAD[:4]), Add(("p", "q"), "y")]
    result = mipin(ops, x, 0)
    silent = result.values["a"] == 0
    assert np.any(result.prediction["a"][silent] != 0)
    np.testing.assert_array_equal(result.source["a"][silent], 0)
    np.testing.assert_array_equal(result.attribution["a"][silent], 0)
    assert np.all(result.source["x"][x == 0] != 0)


def test_a_sum_passes_its_signal_to_every_term() -> None:
    result = explain(Conv(("h",), "p", P), Conv(("h",), "q", Q), Add(("p", "q", "h"), "m"))
    for name in ("p", "q"):
        np.testing.assert_array_equal(result.prediction[name], result.source["m"])
    blocks = result.weights["h"].blocks
    assert [(block.consumer, block.slot) for block in blocks] == [("p", 0), ("q", 0), ("m", 2)]


@pytest.mark.parametrize("times", [2, 3])
def test_a_tensor_added_to_itself_shares_its_reconstruction(times: int) -> None:
    result = explain(Add(("h",) * times, "m"), ridge=0.0)
    weights = [block.weight for block in result.weights["h"].blocks]
    signal, value = result.source["m"], result.values["h"]
    slope = np.sum(signal * value, axis=(0, 2)) / np.sum(signal**2, axis=(0, 2))
    assert [block.slot for block in result.weights["h"].blocks] == list(range(times))
    for weight in weights:
        np.testing.assert_allclose(weight, slope / times, rtol=1e-9)


def test_a_pad_drops_its_border() -> None:
    result = explain(Pad(("h",), "m", (0, 1), (1, 0), 0.5))
    assert result.source["m"].shape == (9, 5, 6)
    np.testing.assert_array_equal(result.prediction["h"], result.source["m"][:, :4, 1:])
    assert np.any(result.source["m"][:, 4])
    zeros = explain(Pad(("h",), "m", (0, 1), (1, 0)))
    np.testing.assert_array_equal(zeros.source["m"][:, 4], 0)


def test_response_normalisation_and_affines() -> None:
    normal = explain(LRN(("h",), "m", 3))
    np.testing.assert_array_equal(normal.prediction["h"], normal.source["m"])
    fit = explain(ChannelAffine(("h",), "m", SCALE, SHIFT)).weights["h"]
    assert fit.intercept is not None
    assert (fit.blocks[0].weight.shape, fit.intercept.shape) == ((4,), (4,))


@pytest.mark.parametrize("kind", ["Identity", "Dropout"])
def test_copies_are_the_tensor_itself(kind: str) -> None:
    """A branch that begins with a copy is a branch of the tensor."""
    copied = explain(
        Activation(("h",), "copy", kind), Conv(("copy",), "k", SIDE, None, (), (1, 1)), Add(("k", "h"), "m")
    )
    direct = explain(Conv(("h",), "k", SIDE, None, (), (1, 1)), Add(("k", "h"), "m"))
    assert [block.consumer for block in copied.weights["h"].blocks] == ["k", "m"]
    assert_shared_tensors_agree(copied, direct)
    for signals in ("source", "attribution", "prediction", "attribution_prediction"):
        np.testing.assert_array_equal(getattr(copied, signals)["copy"], getattr(copied, signals)["h"])
    assert "copy" not in copied.weights


def test_copies_of_the_input_of_the_target_and_of_copies() -> None:
    plain: list[Op] = [Reshape(("x",), "f", (10,)), Dense(("f",), "y", HEAD)]
    ops: list[Op] = [
        Activation(("x",), "x1", "Identity"),
        Activation(("x1",), "x2", "Dropout"),
        Reshape(("x2",), "f", (10,)),
        Dense(("f",), "y", HEAD),
        Activation(("y",), "out", "Identity"),
        Activation(("y",), "lost", "Relu"),
        Activation(("out",), "last", "Identity"),
    ]
    assert without_copies(ops)[1] == {"x1": "x", "x2": "x", "out": "y", "last": "y"}
    left, right = mipin(ops, X, 1), mipin(plain, X, 1)
    for name in right.source:
        np.testing.assert_array_equal(left.source[name], right.source[name])
    np.testing.assert_array_equal(left.source["last"], right.source["y"])
    assert "lost" not in left.source
    np.testing.assert_array_equal(mipin(ops, X, 1, at="x2").source["x"], right.source["x"])
