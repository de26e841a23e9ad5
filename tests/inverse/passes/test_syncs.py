"""Between the batches of a pass the host asks nothing of the device but the signals that it keeps."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend
from mipin_ref.data import as_samples
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.fitter import Fitter
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import make_plan
from mipin_ref.solve.conv_gram import ConvGram
from mipin_ref.solve.conv_problem import Form
from tests.backend.recording import Log, recording
from tests.inverse.test_against_oracle import living_chain
from tests.inverse.test_graphs import living_graph
from tests.networks import sample_inputs, to_onnx
from tests.solve.test_conv_gram import SAME, STRIDED, Parts, problem_of, random_sample

pytestmark = pytest.mark.usefixtures("stays_single")


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """The recording backend taken for a device; what a fit keeps of its signals is marked in the log."""
    found = Log()
    append = RowStore.append

    def marked(self: RowStore, key: Any, rows: Any) -> None:
        if isinstance(key[0], int):
            found.events.append("kept")
        append(self, key, rows)

    monkeypatch.setattr(RowStore, "append", marked)
    monkeypatch.setattr(Backend, "has_own_memory", property(lambda self: True))
    return found


def loaded(seed: int) -> tuple[mr.Network, np.ndarray]:
    network = living_graph(seed) if seed % 2 else living_chain(seed)
    x = sample_inputs(network.input_shape, 24, seed).astype(np.float32)
    return mr.load(to_onnx(network.ops, network.input_shape)), x


def passes(log: Log) -> list[list[list[str]]]:
    """The events of each batch of each pass; what comes behind the last batch is the solution of the sums."""
    found: list[list[list[str]]] = []
    batch: list[str] = []
    for event in log.events:
        if event == "pass":
            found.append([])
        elif event == "batch":
            found[-1].append(batch)
        if event in ("pass", "batch"):
            batch = []
        else:
            batch.append(event)
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(8))
def test_a_pass_waits_for_nothing_but_what_it_keeps(seed: int, dtype: str, log: Log) -> None:
    net, x = loaded(seed)
    options = Options(conv_bias=seed % 4 > 1, fit_on="target_class" if seed > 5 else "all", dtype=dtype)  # type: ignore[arg-type]
    plan = make_plan(net, at=None, local=True, input_mask=None, conv_bias=options.conv_bias)

    def start(text: str, total: int) -> Any:
        log.events.append("pass")
        return lambda count: log.events.append("batch")

    task = FitTask(net, plan, options, recording(log, dtype), as_samples(x), np.arange(24) % 3, 10**9, 7)
    Fitter(task).run([0, 2], start)
    found = passes(log)
    assert found
    assert all(len(batches) == 4 for batches in found)
    for batches in found:
        for events in batches:
            assert not [event for event in events if event.startswith("sync")]
            assert events.count("get") == events.count("kept")
    assert len(found) == 1 or any("get" in events for batches in found for events in batches)
    # The solutions do ask, so that what counts them is seen to count.
    assert any(event.startswith("sync") for event in log.events)


@pytest.mark.parametrize("form", get_args(Form))
def test_no_form_of_the_normal_equations_waits(form: Form, log: Log) -> None:
    """Whichever would be chosen for a network so small."""
    choices: list[Parts] = [[(STRIDED, 4, 2)], [(SAME, 4, 1)]]
    for parts in choices:
        for dtype in ("float64", "float32"):
            device = recording(log, dtype)
            signals, y = random_sample(parts, (6, 5), 4, 2, 6, 0)
            sums = ConvGram(device, problem_of(parts, (6, 5), 4, 2, 6, True), form)
            for _ in range(2):
                sums.update([device.put(s) for s in signals], device.put(y))
    assert not log.events


@pytest.mark.parametrize("seed", range(6))
def test_attributions_wait_for_their_results_alone(seed: int, log: Log) -> None:
    net, x = loaded(seed)
    inv = mr.fit(net, x, 0, backend=recording(log))
    tensors = [step.tensor for step in inv.plan.steps]
    log.events.clear()
    inv.attribute(x, at=tensors, batch_size=7)
    assert log.events == ["get"] * (4 * len(tensors))
