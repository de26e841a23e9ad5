"""The runtime that pages hold, in headless Chromium, explains as this package does: golden cases, its networks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from selenium import webdriver

import mipin_ref as mr
from mipin_ref.export.page.render import TEMPLATES, element
from mipin_ref.export.page.runtime import CODE, WASM
from tests.chromium import assert_silent, opened, running
from tests.export.golden import fitted
from tests.export.page.visitor import bar, made, visit, wait_for
from tests.export.running import assert_like, expected
from tests.export.test_golden_cases import LOOSE
from tests.golden.arrays import NAMES
from tests.graph.quantising import NETWORKS, dynamic, samples, static
from tests.graph.test_inputs import joined, states

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SMALL = [name for name in NAMES if not name.startswith("mnist") and name not in LOOSE]
PARTS = 4
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><title>runtime</title>
{code}
{wasm}
<script>{script}
const started = startRuntime();
const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
async function run(model, input, data, shape, type) {{
  const runtime = await started;
  const session = await runtime.InferenceSession.create(bytes(model), {{ executionProviders: ["wasm"] }});
  const values = new (type === "int64" ? BigInt64Array : Float32Array)(bytes(data).buffer);
  const made = await session.run({{ [input]: new runtime.Tensor(type, values, shape) }});
  await session.release();
  return Object.fromEntries(Object.entries(made).map(([name, one]) => [name, [Array.from(one.data), one.dims]]));
}}
</script>"""
RUN = """const done = arguments[5];
    run(...[0, 1, 2, 3, 4].map(k => arguments[k])).then(made => done({made}), error => done({error: String(error)}))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with running(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(15)
        yield driver


@pytest.fixture(scope="module")
def harness(chromium: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the runtime alone."""
    page = tmp_path_factory.mktemp("harness") / "runtime.html"
    script = (TEMPLATES / "runtime.js").read_text("utf-8")
    page.write_text(
        HARNESS.format(code=element("runtime", CODE.gzipped()), wasm=element("wasm", WASM.gzipped()), script=script)
    )
    return page.as_uri()


def ran(driver: webdriver.Chrome, path: Path, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
    """What the runtime in the page makes of x."""
    model = path.read_bytes()
    name = onnx.load_from_string(model).graph.input[0].name
    data = b64encode(np.ascontiguousarray(x).tobytes()).decode()
    told: dict[str, Any] = driver.execute_async_script(
        RUN, b64encode(model).decode(), name, data, list(x.shape), x.dtype.name
    )
    assert "made" in told, told
    return {name: np.array(values, float).reshape(shape) for name, (values, shape) in told["made"].items()}


@pytest.mark.parametrize("part", range(PARTS))
def test_golden_cases(part: int, chromium: webdriver.Chrome, harness: str, tmp_path: Path) -> None:
    opened(chromium, harness)
    for case in SMALL[part::PARTS]:
        inverse, samples = fitted(case)
        x = samples[:3]
        mr.export(inverse, tmp_path / "explainer.onnx", check=samples)
        assert_like(ran(chromium, tmp_path / "explainer.onnx", x), expected(inverse, x))
    assert_silent(chromium, harness, unpacks=True)


def test_files_of_which_a_part_is_run_as_it_is(chromium: webdriver.Chrome, harness: str, tmp_path: Path) -> None:
    """Eight-bit ones, and one with a state that is repeated for every sample; what their first nodes make is exact."""
    opened(chromium, harness)
    state = {"state": states(2, 1, 4)}
    eight = [static(NETWORKS["chain"](), tmp_path, "pairs"), dynamic(NETWORKS["residual"](), tmp_path)]
    for net, model in [*((mr.load(one), one) for one in eight), (mr.load(one := joined(2, "N", 4), given=state), one)]:
        x = samples(model, 9)
        inverse = mr.fit(net, x, 1)
        mr.export(inverse, tmp_path / "explainer.onnx")
        assert_like(ran(chromium, tmp_path / "explainer.onnx", x[:1]), expected(inverse, x[:1]))
    assert_silent(chromium, harness, unpacks=True)


@pytest.mark.parametrize(
    ("name", "at", "targets"),
    [
        ("mnist_cnn", "auto", [0]),
        ("clutter_vgg", None, [0, 1]),
        ("clutter_resnet", None, [0, 1]),
        ("clutter_se", "auto", [0, 1]),
    ],
)
def test_networks_of_the_package(
    name: str, at: str | None, targets: list[int], chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    """Down to the pixels or to the last map, one class or two: the page computes what `attribute` gives."""
    builtin = mr.data.builtin(name)
    with np.load(builtin.calibration) as stored:
        x, x_test = stored["x"][:60], stored["x_test"][:2].astype(np.float32) / np.float32(255)
    unit = mr.data.PRESETS["unit"]
    inverses = mr.fit(builtin.model, x, targets, ridge=1.0, dtype="float32", preprocess=unit, at=at)
    page = tmp_path / "page.html"
    mr.export(inverses, tmp_path / "explainer.onnx", preprocess=unit, check=x_test, html=page)
    visit(chromium, page)
    for target in targets:
        bar(chromium, f"class {target}").click()
        wait_for(chromium, f"class {target}")
        one = made(chromium)
        assert one.target == target
        wanted = expected(inverses[target], x_test[:1])
        found = {key: one.outputs[key].reshape(value.shape) for key, value in wanted.items()}
        assert_like(found, wanted)
    assert not bar(chromium, "class 2").is_enabled()
    assert_silent(chromium, page.as_uri(), unpacks=True)
