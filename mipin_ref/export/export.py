"""`mr.export`: a fitted inverse as an ONNX file that explains by itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.beside import like
from mipin_ref.data.calibration import samples_like
from mipin_ref.data.presets import preprocessing_of
from mipin_ref.data.seen import Seen
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData
from mipin_ref.explain.class_names import class_names_of
from mipin_ref.export.agreement import Agreement, Checks, insist
from mipin_ref.export.asked import Asked, asked
from mipin_ref.export.explainer import Explainer
from mipin_ref.export.page import PageOf
from mipin_ref.export.pixels import Pixels
from mipin_ref.export.precision import HALF, SINGLE, precision_of
from mipin_ref.export.weight import check_weight
from mipin_ref.files import check_writable, written_whole
from mipin_ref.graph.forward import check_batch, check_finite
from mipin_ref.graph.merged import front_of
from mipin_ref.graph.plausible import plausible
from mipin_ref.reading import path_of

FORMAT = "mipin-explainer 1"
CHECKED = 16
"""Samples that are compared, at most, and that are drawn where none are given."""


@dataclass(frozen=True, eq=False)
class Exported(OneLine):
    """path: of the file; bytes: its size; opset: of its operators; inputs, outputs: their shapes by name; exact,
    optimised: agreement with this package without and with onnxruntime's optimisations; page: of the page beside it;
    foreign: operators of other domains than ONNX's own, which the model has in front of its layers.
    """

    path: Path
    bytes: int
    opset: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    exact: Agreement
    optimised: Agreement
    page: Path | None = None
    foreign: tuple[str, ...] = ()


def export(
    inverse: Any,
    path: str | PathLike[str],
    *,
    at: str | None = None,
    targets: Any = None,
    preprocess: Any = None,
    half: bool = False,
    precision: str | None = None,
    check: Any = None,
    class_names: Any = None,
    html: str | PathLike[str] | None = None,
) -> Exported:
    """Write the explainer of an inverse as one ONNX file of standard operators, which needs this package no more.

    inverse: one, or several of one network, as `fit` gives them: the file then has a second input, `target`; at: the
    tensor that it explains, on the inverses' way; targets: those of the inverses that it takes, a list; preprocess: the
    file takes raw pixels (uint8, [N, H, W, C], of the network's size), and does this to them: a preset's name, a
    Preprocessing or (mean, std); half: weights of the inverses are stored in half precision, those of the network as
    they are, so that logits and masks stay the same; precision: "int8" stores those of inverses in eight bits and the
    network's in fourteen significant ones, for small pages; check: samples on which it is compared with this package
    before it is written, as `attribute` takes them, by default some drawn from the range of the calibration data;
    class_names: of all logits, as for `explain`, to be kept in the file; html: where a page is written too, one file
    that explains pictures in a browser, from disk, with some of `check` to begin with.
    Outputs: `logits` [N, C], `logit` [N] of the target, `source`, `attribution`, `contribution` of the explained
    tensor, and `map` [N, H, W] where that is an image, as `saliency` makes it at the input's size. A target that the
    file does not have gives values that are no numbers (NaN).
    Raises InvalidData for inverses that do not belong together, UnsupportedModel for a network with layers whose way
    back cannot be written, where the file would not agree with this package, and for a page of what is no picture;
    nothing is written then.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> three = mr.fit(net, x, target=3, at="auto")
    >>> made = mr.export(three, "explainer.onnx", check=x[:4])
    >>> made.inputs["input"], made.outputs["contribution"], made.outputs["map"]
    (('N', 1, 28, 28), ('N', 64, 11, 11), ('N', 28, 28))
    """
    target_path = path_of(path)
    check_writable(target_path)
    page_path = None if html is None else _page_path(html, target_path)
    wanted = asked(inverse, at, targets)
    names = _checked_names(class_names, wanted)
    stored = precision_of(half, precision)
    pixels = _pixels(wanted, preprocess)
    page = None if page_path is None else PageOf(wanted, pixels, names)
    check_weight(wanted, half=stored != SINGLE)
    x = _samples(wanted, check)
    explainer = Explainer(wanted, pixels, precision=stored)
    draft = explainer.document.finished({}, "")
    checks = Checks.of(wanted, pixels, x, explainer)
    exact, optimised = (checks.agreement(draft, optimised=optimised) for optimised in (False, True))
    insist(exact, stored)
    said = _said(wanted, pixels, names, exact, optimised, stored)
    model = explainer.document.finished(said, _description(wanted))
    shown = None if check is None else x
    text = None if page is None else page.made(model, explainer.input, exact, optimised, shown, stored)
    with written_whole(target_path) as file:
        file.write(model)
    if text is not None and page_path is not None:
        with written_whole(page_path) as file:
            file.write(text.encode())
    inputs, outputs = explainer.document.inputs, explainer.document.outputs
    opset, foreign = explainer.document.opset, explainer.foreign
    return Exported(target_path, len(model), opset, inputs, outputs, exact, optimised, page_path, foreign)


def _page_path(html: str | PathLike[str], beside: Path) -> Path:
    path = path_of(html)
    check_writable(path)
    if path.resolve() == beside.resolve():
        raise InvalidData(f"export: the explainer and its page cannot both be written to {str(path)!r}; name two files")
    return path


def _pixels(wanted: Asked, preprocess: Any) -> Pixels | None:
    chosen = preprocessing_of(preprocess)
    if chosen is None:
        return None
    known = wanted.preprocessing
    if known is not None and known.changes_values and not known.does_as(chosen):
        raise InvalidData(
            f"export: the inverses were fitted on data of another preprocessing ({known.describe()}) than option "
            f"'preprocess' asks for ({chosen.describe()})"
        )
    if wanted.net.reads is not None:
        raise InvalidData("export: the network reads integers, not pixels; leave option 'preprocess' out")
    return Pixels.of(wanted.net, chosen)


def _samples(wanted: Asked, check: Any) -> Any:
    """Up to CHECKED samples [n, *input_shape]."""
    first = wanted.inverses[0]
    if check is None:
        return _drawn(first.seen, wanted)
    data = samples_like(first.calibration, check, whole=wanted.net.whole, inputs=wanted.net.inputs)
    if not len(data):
        raise InvalidData("export: option 'check' holds no sample")
    x = data[: min(len(data), CHECKED)]
    check_batch(wanted.net, x)
    check_finite(x, "option 'check': the data")
    return x


def _drawn(seen: Seen, wanted: Asked) -> Any:
    """Samples within the range of every channel of the calibration data, from a fixed seed; integers where the network
    reads such.
    """
    shape = wanted.net.input_shape
    rng = np.random.default_rng(0)
    low, high = (_spread(one, seen, shape) for one in (seen.low, seen.high))
    share = rng.random((CHECKED, *shape))
    drawn = low + share * (high - low)
    x = drawn.astype(wanted.net.dtype) if wanted.net.reads is None else np.rint(drawn).astype(wanted.net.reads)
    front = front_of(wanted.net)
    return x if front is None else like(x, plausible(front.bound, CHECKED, seed=0))


def _spread(values: Any, seen: Seen, shape: tuple[int, ...]) -> Any:
    """A number a channel as an array that broadcasts to a sample."""
    if seen.axis is None:
        return np.repeat(values, seen.each).reshape(shape)
    placed = [1] * len(shape)
    placed[seen.axis - 1] = len(values)
    return values.reshape(placed)


def _checked_names(names: Any, wanted: Asked) -> list[str] | None:
    """A name a logit: those given, else what the model tells; None where there are none."""
    found = class_names_of(wanted.net, names)
    return [found.of(index) for index in range(wanted.net.classes)] if found.known else None


def _said(
    wanted: Asked,
    pixels: Pixels | None,
    names: list[str] | None,
    exact: Agreement,
    optimised: Agreement,
    precision: str,
) -> dict[str, str]:
    """The metadata: plain text and JSON."""
    net, first = wanted.net, wanted.inverses[0]
    preprocessing = first.preprocessing if pixels is None else pixels.preprocessing
    told: dict[str, Any] = {
        "targets": list(wanted.targets),
        "told_targets": [first.net.target(one) for one in wanted.targets],
        "options": asdict(first.options),
        "samples": [one.samples for one in wanted.inverses],
        "class_names": names,
        "preprocessing": None if preprocessing is None else preprocessing.as_record(),
        "pixels": pixels is not None,
        "half": precision == HALF,
        "precision": precision,
        "common": None if first.report.common is None else asdict(first.report.common),
        "agreement": {"exact": exact.as_record(), "optimised": optimised.as_record()},
    }
    plain = {
        "format": FORMAT,
        "version": version("mipin_ref"),
        "model_sha256": first.net.sha256,
        "output": net.output,
        "head": net.head or "",
        "tensor": wanted.tensor,
    }
    return {f"mipin.{name}": value for name, value in plain.items()} | {
        f"mipin.{name}": json.dumps(value) for name, value in told.items()
    }


def _description(wanted: Asked) -> str:
    several = len(wanted.inverses) > 1
    return (
        f"MIP-IN explainer of output {wanted.net.output!r} at tensor {wanted.tensor!r}: logits, logit, source, "
        "attribution, contribution, map" + ("; input target is an index into the logits" if several else "")
    )
