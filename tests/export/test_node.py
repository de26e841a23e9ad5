"""Explainers in onnxruntime-node, and the JavaScript of the pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from tests.export.golden import fitted
from tests.export.node import install, run
from tests.export.running import assert_like, expected
from tests.export.test_golden_cases import LOOSE
from tests.golden.arrays import NAMES
from tests.pages.page import NODE, ROOT, TEXTS, blocks

pytestmark = pytest.mark.slow

RUN = """
const ort = require("onnxruntime-node");
const fs = require("fs");
async function main() {
  const found = {};
  for (const one of JSON.parse(fs.readFileSync("cases.json"))) {
    const session = await ort.InferenceSession.create(one.name + ".onnx", { logSeverityLevel: 3 });
    const bytes = fs.readFileSync(one.name + ".raw");
    const numbers = one.type === "int64" ? BigInt64Array : Float32Array;
    const data = new numbers(bytes.buffer, bytes.byteOffset, bytes.length / numbers.BYTES_PER_ELEMENT);
    const made = await session.run({ [one.input]: new ort.Tensor(one.type, data, one.shape) });
    found[one.name] = {};
    for (const name of session.outputNames)
      found[one.name][name] = { dims: made[name].dims, data: Array.from(made[name].data) };
  }
  fs.writeFileSync("found.json", JSON.stringify(found));
}
main();
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    install(folder)
    return folder


SMALL = [name for name in NAMES if not name.startswith("mnist")]


@pytest.mark.parametrize("part", range(3))
def test_golden_cases(part: int, installed: Path, tmp_path: Path) -> None:
    cases, wanted = [], {}
    for name in SMALL[part::3]:
        if name in LOOSE:
            continue
        inverse, samples = fitted(name)
        x = samples[:3]
        path = tmp_path / f"{name}.onnx"
        mr.export(inverse, path, check=samples)
        x.tofile(tmp_path / f"{name}.raw")
        read = onnx.load(path).graph.input[0].name
        cases.append({"name": name, "input": read, "type": x.dtype.name, "shape": x.shape})
        wanted[name] = expected(inverse, x)
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    run(RUN, tmp_path, installed)
    stored = json.loads((tmp_path / "found.json").read_text())
    for name, outputs in wanted.items():
        found = {key: np.array(one["data"]).reshape(one["dims"]) for key, one in stored[name].items()}
        assert_like(found, outputs)


def test_what_the_pages_show_runs_as_shown(installed: Path, tmp_path: Path) -> None:
    """On the file that the page's own commands write, and one picture as bytes."""
    (script,) = [block.text for text in TEXTS.values() for block in blocks(text) if block.language == NODE]
    folder = ROOT / "models_onnx" / "clutter_vgg"
    net = mr.load(folder / "model.onnx")
    with np.load(folder / "calibration.npz") as stored:
        x, x_test = stored["x"][:60], stored["x_test"][:1]
    unit = mr.data.Preprocessing(255.0)
    inverses = mr.fit(net, x, [3, 7], ridge=1.0, dtype="float32", preprocess=unit)
    mr.export(inverses, tmp_path / "explainer.onnx", preprocess="unit", check=x_test.astype(np.float32) / 255)
    x_test.transpose(0, 2, 3, 1).tofile(tmp_path / "pixels.raw")
    told = json.loads(run(script, tmp_path, installed))
    res = inverses[3].attribute(x_test.astype(np.float32) / 255)
    wanted = mr.saliency(res, size="input")
    assert told["dims"] == list(wanted.shape)
    assert told["brightest"] == int(wanted.argmax())
    assert abs(told["logit"] - res.output[0]) <= 1e-5 * abs(res.output[0])
