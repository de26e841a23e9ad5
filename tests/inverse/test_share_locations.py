"""Option `share_locations`: where a Dense reads a flattened map, one weight per channel and output, by brute force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.plan import plan_for
from tests.backends import EPS, on_every_backend, relative_error
from tests.backends import backend as backend_of
from tests.export.running import assert_exact, outputs
from tests.export.running import expected as told_by
from tests.inverse.sharded import one_by_one
from tests.networks.flattened import NETWORKS, Flattened, plain, skipped
from tests.oracles.export import to_onnx
from tests.oracles.mipin import OracleResult, mipin

TOLERANCE = 4e6 * EPS
"""Of the largest value: the systems are conditioned below 1e6, as the ridge sees to."""

SHARING = sorted(name for name, made in NETWORKS.items() if made().together)


def samples(made: Flattened, count: int = 24) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, *made.shape)).astype(np.float32)


def both(made: Flattened, x: np.ndarray, backend: Any = "numpy", **options: Any) -> tuple[mr.Inverse, OracleResult]:
    """The engine's inverse of class 1, and what brute force finds on the same values of all tensors."""
    net = mr.load(to_onnx(made.ops, made.shape))
    values = Recorder(net, list(net.shapes))(x).values
    expected = mipin(made.ops, x, 1, values=values, together=made.together, **options)
    return mr.fit(net, x, 1, share_locations=True, backend=backend, **options), expected


def assert_agrees(inverse: mr.Inverse, expected: OracleResult, x: np.ndarray) -> None:
    for step in inverse.plan.steps:
        asked = replace(inverse.options, at=None if step.tensor == inverse.net.input else step.tensor)
        made = replace(inverse, plan=plan_for(inverse.net, asked, 1)).attribute(x)
        for name in ("source", "attribution"):
            error = relative_error(getattr(made, name), getattr(expected, name)[step.tensor])
            assert error < TOLERANCE, f"{name} at {step.tensor}: {error:.1e}"


def assert_same_weights(inverse: mr.Inverse, expected: OracleResult, together: dict[str, list[list[int]]]) -> None:
    for tensor, channels in together.items():
        weights, wanted = inverse.weights[tensor], expected.weights[tensor]
        first = [elements[0] for elements in channels]
        for block, one in zip(weights.blocks, wanted.blocks, strict=True):
            # Of the logits' layer brute force has a column an output, of which those beside the target's are zero.
            weight = one.weight[first]
            weight = weight if weight.shape == block.shape else weight[:, 1:2]
            assert block.shape == weight.shape
            assert relative_error(block, weight) < TOLERANCE
        assert weights.intercept is not None
        assert wanted.intercept is not None
        assert relative_error(weights.intercept, wanted.intercept[first]) < TOLERANCE


@on_every_backend
@pytest.mark.parametrize("made", NETWORKS)
def test_weights_and_signals_are_those_of_brute_force(made: str, name: str) -> None:
    one = NETWORKS[made]()
    x = samples(one)
    inverse, expected = both(one, x, backend_of(name), ridge=0.1)
    assert_agrees(inverse, expected, x)
    assert_same_weights(inverse, expected, one.together)
    rows = {tensor: len(x) * len(channels[0]) for tensor, channels in one.together.items()}
    assert {tensor: inverse.report[tensor].rows for tensor in rows} == rows


@on_every_backend
@pytest.mark.parametrize("made", ["plain", "two_dense", "skipped"])
def test_with_fewer_samples_than_regressors(made: str, name: str) -> None:
    """One Dense alone keeps the rows; beside a skip connection it does not, however few."""
    one = NETWORKS[made]()
    x = samples(one, 6)
    inverse, expected = both(one, x, backend_of(name), ridge=0.1)
    assert_agrees(inverse, expected, x)
    assert_same_weights(inverse, expected, one.together)


@pytest.mark.parametrize(
    "options", [{"local": False}, {"conv_bias": True}, {"ridge": 100.0}, {"input_mask": True}, {"ridge": 1e-2}]
)
@pytest.mark.parametrize("made", ["channels_last", "skipped"])
def test_with_other_options(made: str, options: dict[str, Any]) -> None:
    one = NETWORKS[made]()
    x = samples(one)
    inverse, expected = both(one, x, **{"ridge": 0.1, **options})
    assert_agrees(inverse, expected, x)


def test_the_sum_of_a_skip_connection_tells_its_channels_whichever_comes_first() -> None:
    one = skipped(swapped=True)
    inverse, expected = both(one, samples(one), ridge=0.1)
    assert_same_weights(inverse, expected, one.together)


@pytest.mark.parametrize("made", sorted({*NETWORKS} - {*SHARING}))
def test_where_no_dense_reads_a_flattened_map_it_changes_nothing(made: str) -> None:
    one = NETWORKS[made]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one)
    with_it, without = mr.fit(net, x, 1, share_locations=True), mr.fit(net, x, 1)
    np.testing.assert_array_equal(with_it.attribute(x).source, without.attribute(x).source)
    np.testing.assert_array_equal(with_it.attribute(x).attribution, without.attribute(x).attribution)


@pytest.mark.parametrize("count", [24, 5])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_batches_and_what_the_report_tells_of_errors(batch_size: int, count: int) -> None:
    """R² of all elements of all samples, computed from what comes back before the mask."""
    one = plain()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one, count)
    inverse = mr.fit(net, x, 1, ridge=0.1, share_locations=True, batch_size=batch_size)
    values = Recorder(net, list(net.shapes))(x).values
    expected = mipin(one.ops, x, 1, values=values, together=one.together, ridge=0.1)
    assert_agrees(inverse, expected, x)
    wanted, given = values["flat"].astype(np.float64), expected.prediction["flat"]
    channels = np.array(one.together["flat"])
    about = wanted[:, channels] - wanted[:, channels].mean(axis=(0, 2), keepdims=True)
    told = 1 - np.sum((wanted - given) ** 2) / np.sum(about**2)
    assert inverse.report["flat"].r2 == pytest.approx(told, abs=TOLERANCE)


@pytest.mark.parametrize("made", ["channels_last", "two_dense", "skipped", "last_layer"])
def test_saved_inverses_hold_a_weight_a_channel(made: str, tmp_path: Path) -> None:
    one = NETWORKS[made]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one)
    inverse = mr.fit(net, x, 1, share_locations=True)
    inverse.save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", net)
    assert again.options.share_locations
    for tensor, channels in one.together.items():
        assert [len(block) for block in again.weights[tensor].blocks] == [len(channels)] * len(
            inverse.weights[tensor].blocks
        )
    np.testing.assert_array_equal(again.attribute(x).attribution, inverse.attribute(x).attribution)


@pytest.mark.parametrize("made", ["channels_last", "two_dense", "skipped", "last_layer"])
def test_single_precision_comes_back_by_a_session_too(made: str) -> None:
    """Which writes the way back as ONNX. 1e-3 is what the option dtype promises."""
    one = NETWORKS[made]()
    x = samples(one)
    inverse, expected = both(one, x, ridge=1.0)
    result = mr.fit(inverse.net, x, 1, share_locations=True, ridge=1.0, dtype="float32").attribute(x)
    assert relative_error(result.source, expected.source["x"]) < 1e-3
    assert relative_error(result.attribution, expected.attribution["x"]) < 1e-3


@pytest.mark.parametrize("made", ["channels_last", "two_dense", "skipped", "last_layer"])
def test_an_explainer_tells_the_same(made: str, tmp_path: Path) -> None:
    """Of two targets, whose weights stand side by side in the file."""
    one = NETWORKS[made]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one)
    inverses = mr.fit(net, x, [0, 2], ridge=1.0, share_locations=True)
    path = tmp_path / "explainer.onnx"
    mr.export(inverses[2], path, check=x)
    assert_exact(outputs(path, {"x": x}), told_by(inverses[2], x))
    mr.export(inverses, tmp_path / "both.onnx", check=x)


@pytest.mark.parametrize("count", [24, 6])
@pytest.mark.parametrize("made", ["channels_last", "skipped"])
def test_shards_are_summed_to_the_same(made: str, count: int) -> None:
    one = NETWORKS[made]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one, count)
    edges = [(0, 2), (2, count // 2), (count // 2, count)]
    options: dict[str, Any] = {"ridge": 0.1, "share_locations": True}
    parts, _ = one_by_one(net, x, [1], backend_of("numpy"), edges, **options)
    whole = mr.fit(net, x, 1, **options).attribute(x)
    assert relative_error(parts[1].attribute(x).source, whole.source) < TOLERANCE
    assert relative_error(parts[1].attribute(x).attribution, whole.attribution) < TOLERANCE


def test_a_checkpoint_is_of_the_option(tmp_path: Path) -> None:
    """A fit with it finds nothing of one without, and itself bit for bit."""
    one = NETWORKS["channels_last"]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one)
    without = mr.fit(net, x, 1, checkpoint=tmp_path)
    first = mr.fit(net, x, 1, checkpoint=tmp_path, share_locations=True)
    assert len([*tmp_path.iterdir()]) == 2
    again = mr.fit(net, x, 1, checkpoint=tmp_path, share_locations=True)
    np.testing.assert_array_equal(first.attribute(x).attribution, again.attribute(x).attribution)
    assert first.weights["flat"].blocks[0].shape != without.weights["flat"].blocks[0].shape


def test_several_targets_and_a_common_part_share_alike() -> None:
    """Of x the sums of each channel alone are taken once for all targets."""
    one = NETWORKS["channels_last"]()
    net, x = mr.load(to_onnx(one.ops, one.shape)), samples(one)
    family = mr.fit(net, x, "all", share_locations=True)
    for target in range(3):
        alone = mr.fit(net, x, target, share_locations=True).attribute(x)
        assert relative_error(family[target].attribute(x).source, alone.source) < TOLERANCE
    common = mr.fit(net, x, "all", share_locations=True, common="flat")
    assert common[1].weights["flat"].blocks[0].shape == (4, 7)


@pytest.fixture
def x_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Samples in a folder with the network: ten for each regressor of its Dense, as `explain` asks for."""
    one = NETWORKS["channels_last"]()
    monkeypatch.chdir(tmp_path)
    onnx.save(to_onnx(one.ops, one.shape), "net.onnx")
    x = samples(one, 80)
    np.save("x.npy", x)
    return x


@pytest.mark.slow
def test_explain_takes_it(x_of_a_file: np.ndarray) -> None:
    x = x_of_a_file
    quiet: dict[str, Any] = {"target": 1, "at": "map", "calibration": x, "cache": False, "progress": False}
    made = mr.explain("net.onnx", x, share_locations=True, **quiet).result
    expected, other = (mr.fit("net.onnx", x, 1, at="map", share_locations=shared) for shared in (True, False))
    assert relative_error(made.attribution, expected.attribute(x).attribution) < 1e-3
    assert relative_error(made.attribution, other.attribute(x).attribution) > 0.05


@pytest.mark.slow
def test_the_command_line_takes_it(x_of_a_file: np.ndarray) -> None:
    words = ["explain", "net.onnx", "x.npy", "--target", "1", "--at", "map", "--calibration", "x.npy", "-o", "out"]
    assert main([*words, "--option", "share_locations=true"]) == 0
    expected = mr.fit("net.onnx", x_of_a_file, 1, at="map", share_locations=True).attribute(x_of_a_file)
    with np.load("out/attribution.npz") as written:
        assert relative_error(written["attribution"], expected.attribution) < 1e-3
    fit = ["fit", "net.onnx", "x.npy", "--target", "1", "--at", "map", "-o", "one.mipin", "--share-locations"]
    assert main(fit) == 0
    again = mr.load_inverse("one.mipin", mr.load("net.onnx")).attribute(x_of_a_file)
    np.testing.assert_array_equal(again.attribution, expected.attribution)


@pytest.mark.parametrize("count", [40, 8])
@pytest.mark.parametrize("made", ["plain", "two_dense", "skipped"])
def test_ridges_picked_on_samples_held_out(made: str, count: int) -> None:
    """All errors of a location count, also what the means over locations leave: it is the same for every ridge."""
    one = NETWORKS[made]()
    x = samples(one, count)
    inverse, expected = both(one, x, ridge="held-out")
    assert {row.tensor: row.ridge for row in inverse.report} == {
        row.tensor: expected.weights[row.tensor].ridge for row in inverse.report
    }
    assert_agrees(inverse, expected, x)
