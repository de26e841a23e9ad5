"""What a person meets in the first minute, with files that nobody here made: messages say what to do next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli import main
from tests.graph.sketch import Sketch

MNIST = mr.data.builtin("mnist_cnn")


@pytest.fixture
def net() -> mr.Network:
    return mr.load(MNIST.model)


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 1, 28, 28), np.float32)


@pytest.mark.parametrize("name", ["relu2", "Relu_2", "relu_2"])
def test_a_tensor_is_proposed_by_what_is_remembered_of_its_name(net: mr.Network, name: str) -> None:
    with pytest.raises(mr.InvalidData, match=r"did you mean '/relu2/Relu_output_0'\?$"):
        net.tensor(name)


def test_a_tensor_that_nothing_resembles_is_answered_with_one_that_is_there(net: mr.Network) -> None:
    with pytest.raises(mr.InvalidData, match=r"; 9 outputs of layers are, such as '/dense2/Gemm_output_0', or 'input'"):
        net.tensor("§")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([3], " in sample 3: leave out, or fill in"),
        ([1, 2, 3, 4, 5, 6, 7], " in samples 1, 2, 3, 4, 5 and 2 more: leave out"),
    ],
)
def test_samples_with_nan_are_numbered(net: mr.Network, rows: list[int], told: str) -> None:
    x = digits(8)
    x[rows, 0, 14, 14] = np.nan
    with pytest.raises(mr.InvalidData, match=f"samples 0..7, hold NaN or Inf{told}"):
        net.predict(x)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (["a.npz"], "key"),
        (["x.npy", "--calibration", "a.npz"], "calibration_key"),
        (["a.npz", "--key", "wave", "--calibration", "a.npz"], "calibration_key"),
    ],
)
def test_an_archive_without_the_usual_keys_says_how_one_is_named(
    given: list[str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", wave=digits(30), labels=np.arange(30))
    np.save("x.npy", digits(2))
    assert main(["explain", str(mr.data.builtin("mnist_cnn").model), *given, "-o", "out"]) == 2
    assert capsys.readouterr().err.strip().endswith(f"it holds 'labels', 'wave'; name one, option {option!r}")


def test_where_no_option_names_an_array_none_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wave=digits(3), labels=np.arange(3))
    for key, wanted in ((None, "no array 'x' or 'x_train'"), ("z", "no array 'z'")):
        with pytest.raises(mr.InvalidData, match=rf"{wanted}; it holds 'labels', 'wave'$"):
            mr.data.open_data(tmp_path / "a.npz", key=key)


@pytest.mark.parametrize(
    ("name", "told"),
    [("rows.csv", r"\.npy of numbers \[rows, columns\]"), ("a.wav", r"\.npy of floats"), ("a.webp", "to PNG$")],
)
def test_files_of_other_formats_are_told_what_to_make_of_them(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(b"age,income\n1,2\n")
    with pytest.raises(mr.InvalidData, match=f"unknown format; known are .*; .*{told}"):
        mr.data.open_data(tmp_path / name)


def test_a_deep_image_is_told_how_it_is_stored_with_its_scale(tmp_path: Path) -> None:
    Image.fromarray(np.full((28, 28), 40_000, np.uint16)).save(tmp_path / "scan.png")
    shape = mr.data.Preprocessing(shape=(1, 28, 28))
    with pytest.raises(mr.InvalidData, match=r"as a \.npy \[N, channels, .*option 'scale'$"):
        mr.data.open_data(tmp_path / "scan.png", preprocessing=shape)[:1]


def test_one_number_has_one_target_which_the_message_explains() -> None:
    sketch = Sketch(4)
    net = mr.load(sketch.model(sketch.dense("x", 4, 1)))
    with pytest.raises(mr.InvalidData, match="is one number, which has the one target 0; of a probability, what"):
        net.check_target(1)


def test_files_that_a_shell_wrote_out_are_answered_with_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for n in range(9):
        Path(f"{n}.png").touch()
    with pytest.raises(SystemExit):
        main(["explain", "net.onnx", *(f"{n}.png" for n in range(9))])
    told = "unrecognized arguments: 1.png 2.png 3.png and 5 more: one file or folder is read; give the folder"
    assert told in capsys.readouterr().err


def text_network() -> ModelProto:
    """Ids and their mask in, both integers; which of both is explained is left open."""
    sketch = Sketch(5, dtype=TensorProto.INT64)
    sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", 5]))
    rows = sketch.node("Mul", "x", "mask")
    return sketch.model(sketch.node("Cast", rows, to=TensorProto.FLOAT))


def test_ids_and_their_mask_are_told_of_a_tokenizer() -> None:
    with pytest.raises(mr.UnsupportedModel, match="is explained with its tokenizer, option 'tokenizer'"):
        mr.load(text_network())


def test_a_number_for_an_input_of_any_length_is_told_the_shape_to_give() -> None:
    model = text_network()
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "T"
    with pytest.raises(mr.InvalidData, match=r"'mask' has shape \[\]; .*: give an array of that shape, as numpy\.ones"):
        mr.load(model, given={"mask": 1})


def test_a_single_sigmoid_is_called_the_class_whose_probability_it_is(tmp_path: Path) -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("Sigmoid", sketch.dense("x", 4, 1)))
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    made = mr.explain(model, x, cache=False, progress=False)
    assert set(made.names) == {"class 1 (target 0)"}
    np.testing.assert_allclose(made.probabilities, mr.load(model).predict(x)[0][:, 0], rtol=1e-6)  # 8 eps of float32
    with pytest.raises(mr.InvalidData, match=r"names 2 classes; the network has 1: .* give that one's name alone"):
        mr.explain(model, x, class_names=["benign", "malignant"], cache=False, progress=False)


def test_inspect_of_a_table_asks_for_data_not_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sketch = Sketch(4)
    path = tmp_path / "table.onnx"
    onnx.save(sketch.model(sketch.dense("x", 4, 3)), path)
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: mipin explain {path} DATA"
