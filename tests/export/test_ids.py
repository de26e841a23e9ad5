"""Explainers of networks that read ids: what they make of ids in onnxruntime, and that a page is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.explain.reader import texts_folder
from tests.export.running import assert_exact, assert_like, expected, outputs
from tests.metrics.test_fills_of_ids import IDS, ROWS, TOKENS, reading

SIZES = [f"--input-shape={name}:1x9" for name in ("input_ids", "attention_mask", "token_type_ids")]
CALIBRATION = np.random.default_rng(3).integers(0, ROWS, (50, TOKENS))


@pytest.mark.parametrize("check", [None, CALIBRATION[:7]], ids=["drawn", "given"])
@pytest.mark.parametrize("kind", ["table", "floats"])
def test_an_explainer_reads_ids(kind: str, check: np.ndarray | None, tmp_path: Path) -> None:
    held = np.float32 if kind == "floats" else np.int64
    inverse = mr.fit(mr.load(reading(kind)), CALIBRATION.astype(held), 1)
    made = mr.export(inverse, tmp_path / "e.onnx", check=None if check is None else check.astype(held))
    assert made.exact.error < 1e-4
    runtime = ort.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    names = [one.name for one in runtime.get_outputs()]
    told = dict(zip(names, runtime.run(names, {"x": IDS.astype(held)}), strict=True))
    res = inverse.attribute(IDS.astype(held))
    for name, wanted in (("contribution", res.contribution), ("source", res.source), ("logit", res.output)):
        # In single precision.
        np.testing.assert_allclose(told[name], wanted, atol=1e-5 * np.abs(wanted).max(), err_msg=name)


def test_a_page_of_ids_is_refused_with_what_there_is_instead(tmp_path: Path) -> None:
    inverse = mr.fit(mr.load(reading("table")), CALIBRATION, 1, preprocess=mr.data.Preprocessing(scale=1))
    with pytest.raises(mr.InvalidData) as caught:
        mr.export(inverse, tmp_path / "e.onnx", html=tmp_path / "page.html")
    assert str(caught.value) == (
        "export: a page reads pictures, and input 'x' holds ids of tokens: leave option 'html' out; explaining texts "
        "with their tokenizer writes pages of coloured tokens"
    )
    assert not [*tmp_path.iterdir()]


def test_an_explainer_of_texts_reads_what_their_tokenizer_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids, mask and types under the file's names, in integers as there; a page is refused."""
    monkeypatch.chdir(tmp_path)
    texts_folder(tmp_path)
    ids = np.random.default_rng(4).integers(4, 13, (40, 9))
    mask = np.ones_like(ids)
    mask[::2, 6:] = 0
    texts = {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids}
    np.savez("ids.npz", allow_pickle=False, **texts)
    asked = ["net.onnx", *SIZES, "--input", "input_ids"]
    assert main(["fit", *asked[:1], "ids.npz", *asked[1:], "--target", "0", "-o", "net.mipin"]) == 0
    capsys.readouterr()
    assert main(["export", *asked, "--inverse", "net.mipin", "-o", "e.onnx", "--html", "page.html"]) == 2
    assert "input 'input_ids' holds ids of tokens: leave option 'html' out" in capsys.readouterr().err
    assert main(["export", *asked, "--inverse", "net.mipin", "-o", "e.onnx", "--check", "ids.npz"]) == 0
    assert main(["export", *asked, "--inverse", "net.mipin", "-o", "drawn.onnx"]) == 0
    net = mr.load("net.onnx", input_shape=dict.fromkeys(texts, (9,)), input="input_ids")
    inverse = mr.load_inverse("net.mipin", net)
    some = {name: value[:6] for name, value in texts.items()}
    wanted = expected(inverse, some)
    assert (some["attention_mask"] == 0).any()
    for path in ("e.onnx", "drawn.onnx"):
        assert_exact(outputs(Path(path), some), wanted)
        assert_like(outputs(Path(path), some, optimised=True), wanted)
