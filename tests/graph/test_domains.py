"""An operator of another domain is not the one of ONNX that has its name."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from mipin_ref.graph.draft import Draft
from mipin_ref.graph.limits import Spent
from mipin_ref.graph.loops import Repeated, turns_written_out
from mipin_ref.graph.node import node_of
from mipin_ref.graph.presentable import FOREIGN
from mipin_ref.graph.stand_ins import stand_ins
from mipin_ref.graph.unrolled import stacks_joined
from tests.graph.sketch import Sketch
from tests.graph.test_loops import turning

OTHER = "mine"


@pytest.mark.parametrize(("domain", "plain"), [("", True), (FOREIGN, True), (OTHER, False)])
def test_what_is_as_long_as_its_input(domain: str, plain: bool) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain=domain)
    (made,) = stand_ins(node)
    assert (made.op_type == "Identity") == plain


@pytest.mark.parametrize(("domain", "joined"), [("", True), (OTHER, False)])
def test_rows_that_are_put_together(domain: str, joined: bool) -> None:
    sketch = Sketch(3, 4)
    picked = [sketch.node("Gather", "x", sketch.const(np.array(place)), axis=1) for place in (2, 0)]
    rows = [sketch.node("Unsqueeze", one, sketch.ints(1)) for one in picked]
    model = sketch.model(sketch.node("Concat", *rows, axis=1, domain=domain), check=False)
    assert ("Concat" not in {node.op_type for node in stacks_joined(model).graph.node}) == joined


@pytest.mark.parametrize(("domain", "left"), [("", 0), (OTHER, 2)])
def test_states_that_are_handed_on(domain: str, left: int) -> None:
    model = turning(2, helper.make_node("Identity", ["h"], ["s"], domain=domain)).model("last", check=False)
    draft = Draft(17, None, np.dtype(np.float32), Spent(0), frozenset(), {"c0": np.array(True), "c1": np.array(2)})
    written = turns_written_out(model, Repeated(node_of(model.graph.node[0]), draft), 1 << 20)
    assert [node.domain for node in written.graph.node].count(OTHER) == left
