"""What people see of an explanation: samples as they know them, maps, words; and the arrays that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.data import Preprocessing
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.inputs import Inputs, Kind
from mipin_ref.explain.said import said_of
from mipin_ref.layers import HostArray
from mipin_ref.report.explained import ShownClass, ShownSample, Told
from mipin_ref.report.picture import to_picture
from mipin_ref.report.saliency import resize_maps, saliency

RANKS = 5
"""Classes of a sample that a page shows, at most."""


@dataclass(frozen=True)
class Maps:
    """Which maps are stored: `kind` and `positive` as in `saliency`; size: (H, W), None for the tensor's own."""

    kind: Literal["contribution", "attribution"] = "contribution"
    positive: bool = False
    size: tuple[int, int] | None = None

    def of(self, res: Attribution) -> HostArray:
        """[N, H, W]."""
        return saliency(res, self.kind, self.positive, self.size)


def maps_of(explainer: Explainer, res: Attribution) -> HostArray:
    """Signed contributions of a result, turned as maps are: of images [n, H, W] at the image's size; of signals and
    tokens [n, T]; of table rows [n, F]; of any other tensor [n, values].
    """
    inputs = explainer.inputs
    values: HostArray = res.oriented.contribution
    axis = res.channel_axis
    if inputs.kind == "image":
        assert inputs.picture is not None
        if res.places is not None or values.ndim == (3 if axis is None else 4):
            return saliency(res, "contribution", False, inputs.picture)
        if values.ndim == 2 and values.shape[1] == prod(inputs.stored_sample):
            return _of_flat(values, inputs)
        return values.reshape(len(values), -1)
    if inputs.kind == "tokens" and values.ndim > 3 and values.shape[1] == inputs.length:
        # Several axes of features, as LSTM have of both directions.
        return _of_tokens(values)
    if inputs.kind == "table" or values.ndim == 2:
        return values.reshape(len(values), -1)
    return _over_time(values, inputs, axis)


def _of_tokens(values: HostArray) -> HostArray:
    """The sums over all features [n, T] of tensors [n, T, ...]."""
    return np.asarray(values.reshape(*values.shape[:2], -1).sum(axis=2))


def _of_flat(values: HostArray, inputs: Inputs) -> HostArray:
    """A flat input's values as the image that it is stored as."""
    stored = values.reshape(len(values), *inputs.stored_sample)
    geometry = image_geometry(inputs.stored_sample)
    assert geometry is not None
    if len(inputs.stored_sample) == 2:
        return stored
    return np.asarray(stored.sum(axis=1 if inputs.stored_sample[0] == geometry[0] else -1))


def _over_time(values: HostArray, inputs: Inputs, axis: int | None) -> HostArray:
    """[n, T]: summed over channels, as long as the input is."""
    summed = values.sum(axis=axis or inputs.channels or 1) if values.ndim == 3 else values.reshape(len(values), -1)
    if summed.shape[1] != inputs.length:
        return resize_maps(np.ascontiguousarray(summed[:, None]), (1, inputs.length))[:, 0]
    return np.asarray(summed)


def shown_kind(explainer: Explainer, maps: HostArray) -> Kind:
    """As what samples are shown: as they are, or, where the explained tensor has no places in them, as its values."""
    inputs = explainer.inputs
    if maps.ndim == (3 if inputs.kind == "image" else 2) and (
        inputs.kind != "table" or maps.shape[1] == prod(inputs.shape)
    ):
        return inputs.kind
    return "table"


def values_of(explainer: Explainer, x: HostArray, start: int, stop: int) -> HostArray:
    """Samples as people see them: images [n, H, W, C] uint8, signals [n, channels, T], the others as they are."""
    inputs = explainer.inputs
    if inputs.kind == "image":
        return _pictures(explainer, x, start, stop)
    if inputs.kind == "signal":
        values = x.reshape(len(x), *inputs.shape)
        return np.moveaxis(values, inputs.channels, 1) if inputs.channels else values
    return x.reshape(len(x), -1)


def _pictures(explainer: Explainer, x: HostArray, start: int, stop: int) -> HostArray:
    inputs = explainer.inputs
    if not inputs.pixels:
        return np.stack([to_picture(one, one) for one in _last(x.astype(np.float64), inputs)])
    known = explainer.data.source.preprocessing
    stored = inputs.open(Preprocessing(1.0, exif=known is None or known.exif))
    rows = np.asarray(explainer.rows[start:stop], np.int64)
    return np.rint(_last(stored[rows], inputs)).clip(0, 255).astype(np.uint8)


def _last(values: HostArray, inputs: Inputs) -> HostArray:
    """Images [n, H, W, C] of a network's input."""
    geometry = image_geometry(inputs.shape)
    layout = inputs.shape if geometry is not None else inputs.stored_sample
    channels = (geometry or image_geometry(layout) or (1, 0, 0))[0]
    values = values.reshape(len(values), *layout)
    if len(layout) == 2:
        return values[..., None]
    return np.moveaxis(values, 1, -1) if layout[0] == channels and (layout[-1] != channels) else values


def told_of_run(explainer: Explainer, model: str) -> Told:
    """The words at the head of the page."""
    net = explainer.net
    facts = [
        ("output", f"{net.output}, {net.classes:,} targets"),
        ("classes named by", explainer.names.origin or "their numbers"),
        ("score", net.probability or "the logit"),
        *explainer.facts,
        ("model SHA-256", net.sha256[:16]),
    ]
    return Told(model, explainer.method, explainer.tensor, explainer.lines, facts)


def shown_samples(
    explainer: Explainer,
    x: HostArray,
    results: Sequence[Attribution],
    maps: Sequence[HostArray],
    start: int,
) -> list[ShownSample]:
    """The samples from row `start` on, with the maps [n, ...] of each class."""
    kind = shown_kind(explainer, maps[0])
    # A row of values may be the input's, or those of a tensor inside, which there may be as many of.
    own = kind == explainer.inputs.kind and (kind != "table" or results[0].tensor == explainer.net.input)
    values = values_of(explainer, x, start, start + len(x)) if own else results[0].value.reshape(len(x), -1)
    samples = []
    for n in range(len(x)):
        row = start + n
        said = said_of(explainer, x, row, n)
        drawn = slice(None) if said is None or kind != "tokens" else said.drawn
        classes = [
            ShownClass(
                explainer.names.of(int(explainer.targets[row, rank])),
                explainer.target(row, rank),
                explainer.score(row, rank),
                float(res.output[n]),
                maps[rank][n][drawn],
                _source(explainer, res, x, n) if own else None,
            )
            for rank, res in enumerate(results[:RANKS])
        ]
        told = {} if said is None else {"tokens": said.tokens, "joints": said.joints}
        samples.append(ShownSample(explainer.files[row], values[n], classes, count=explainer.stored, **told))
    return samples


def _source(explainer: Explainer, res: Attribution, x: HostArray, n: int) -> HostArray | None:
    """The source signal as the sample is seen, on its range; None inside the network and of methods without one."""
    if res.signal is None or res.tensor != explainer.net.input:
        return None
    signal: HostArray = res.signal[n : n + 1]
    inputs = explainer.inputs
    if inputs.kind == "image":
        pair = _last(np.concatenate([signal, x[n : n + 1]]).astype(np.float64), inputs)
        return to_picture(pair[0], pair[1])
    if inputs.kind == "signal":
        return np.asarray(np.moveaxis(signal, inputs.channels, 1)[0] if inputs.channels else signal[0])
    return np.asarray(signal.reshape(-1))


def stored_arrays(explainer: Explainer, results: Sequence[Attribution], start: int) -> dict[str, HostArray]:
    """What `attribution.npz` holds of samples from row `start` on: of one class each [n, ...], of several [n, k, ...].

    A source signal and a completeness gap of methods that have them; `target` as an index into the logits.
    """
    stop = start + len(results[0])
    fields = ["attribution", "contribution", "output"]
    fields += ["source"] if results[0].signal is not None else []
    fields += ["delta"] if results[0].delta is not None else []
    arrays: dict[str, HostArray] = {"value": results[0].value}
    arrays |= {name: _joined([getattr(res, name) for res in results]) for name in fields}
    targets = explainer.targets[start:stop, : len(results)]
    arrays["target"] = targets[:, 0] if targets.shape[1] == 1 else targets
    arrays["logits"] = explainer.scores[start:stop]
    if results[0].value.ndim > 2 and explainer.inputs.kind == "tokens":
        # A token's score is the sum of A ⊙ X over its features (method, section 10).
        arrays["score"] = _joined([_of_tokens(res.oriented.contribution) for res in results])
    if explainer.shares is not None:
        shares = np.take_along_axis(explainer.shares[start:stop], targets, axis=1)
        arrays["probability"] = shares[:, 0] if targets.shape[1] == 1 else shares
    return arrays


def joined_maps(maps: Sequence[HostArray]) -> HostArray:
    """Maps of one class [n, ...], of several [n, k, ...]."""
    return _joined(list(maps))


def _joined(parts: Sequence[Any]) -> HostArray:
    return np.asarray(parts[0]) if len(parts) == 1 else np.stack(parts, axis=1)


def header_of(explainer: Explainer, maps: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the header of the arrays says besides: plain JSON."""
    target: Any = sorted({*explainer.targets[:, 0].tolist()})
    one = explainer.net.target(target[0]) if len(target) == 1 and explainer.stored == 1 else "of each sample"
    header: dict[str, Any] = {"target": one, "model_sha256": explainer.net.sha256, **explainer.header}
    known = explainer.data.source.preprocessing
    if known is not None:
        header["preprocessing"] = known.as_record()
    if maps is not None:
        header["map"] = dict(maps)
    return header
