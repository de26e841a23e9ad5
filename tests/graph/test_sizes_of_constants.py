"""How much a constant asks for that onnxruntime or NumPy computes: no less than it is, and nothing given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper

from mipin_ref.graph.computed import SIZES, computed
from mipin_ref.graph.draft import Refused
from mipin_ref.graph.fold import _result_size, fold
from mipin_ref.graph.limits import Spent
from mipin_ref.graph.node import node_of

ONES = np.ones((3, 1), np.float32)
CASES: dict[str, tuple[NodeProto, list[Any]]] = {
    "ratios kept": (
        helper.make_node("Resize", ["x", "", "", "s"], ["y"], keep_aspect_ratio_policy="not_smaller", mode="nearest"),
        [ONES, None, None, np.array([1, 1000])],
    ),
    "repeated in a product": (
        helper.make_node("Einsum", ["x", "s"], ["y"], equation="ij,ij->ij"),
        [ONES, np.ones((1, 7), np.float32)],
    ),
    "padded on one side": (helper.make_node("Pad", ["x", "s"], ["y"]), [ONES, np.array([0, 5, 0, 200])]),
}


@pytest.mark.parametrize("case", CASES)
def test_no_less_is_counted_than_is_made(case: str) -> None:
    proto, known = CASES[case]
    node = node_of(proto)
    assert SIZES[node.op](node, known) >= computed(node, known, 19)[0].size


def test_a_pad_counts_each_axis_by_itself() -> None:
    node = node_of(CASES["padded on one side"][0])
    assert SIZES["Pad"](node, CASES["padded on one side"][1]) == 3 * 206


@pytest.mark.parametrize("options", [{"transA": 1}, {"transA": 1, "transB": 1}, {"transB": 1}, {}], ids=str)
def test_a_product_of_turned_matrices(options: dict[str, Any]) -> None:
    a, b = np.ones((1, 50) if "transA" in options else (50, 1)), np.ones((70, 1) if "transB" in options else (1, 70))
    assert _result_size(node_of(helper.make_node("Gemm", ["a", "b"], ["y"], **options)), [a, b]) == 50 * 70


def test_a_length_below_zero_gives_nothing_back() -> None:
    spent = Spent(1000)
    node = node_of(helper.make_node("Tile", ["x", "s"], ["y"]))
    with pytest.raises(Refused):
        fold(node, [np.ones(10, np.float32), np.array([-(10**12)])], 17, spent)
    assert spent.products >= 0
