"""What an inverse and patterns remember of their calibration data, and what they say of other inputs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref import store
from mipin_ref.data import Preprocessing, SharedFile, first, open_data
from mipin_ref.data.seen import Extent
from mipin_ref.inverse.passes.checkpoint import PASS
from mipin_ref.inverse.passes.recordings import Recordings
from tests.backends import backend, on_every_backend
from tests.inverse.passes.test_resume import passes
from tests.inverse.sharded import branching_network, one_by_one, samples
from tests.inverse.test_bad_input import X, small
from tests.stored import resealed

NORMAL = Preprocessing(mean=0.5, std=0.25)
STORED = np.random.default_rng(4).integers(0, 256, (20, 1, 6, 6), np.uint8)
Fit = Callable[..., Any]


def fit_inverse(net: mr.Network, x: Any, **options: Any) -> mr.Inverse:
    return mr.fit(net, x, 1, **options)


def fit_patterns(net: mr.Network, x: Any, **options: Any) -> mr.Patterns:
    return mr.fit_patterns(net, x, **options)


def explain(found: mr.Inverse | mr.Patterns, x: Any) -> mr.Attribution:
    if isinstance(found, mr.Inverse):
        return found.attribute(x)
    return mr.attribute(found.net, x, 1, "patternnet", patterns=found)


def again(found: mr.Inverse | mr.Patterns, path: Path) -> mr.Inverse | mr.Patterns:
    found.save(path)
    return mr.load_inverse(path, found.net) if isinstance(found, mr.Inverse) else mr.load_patterns(path, found.net)


each_fit = pytest.mark.parametrize("fit", [fit_inverse, fit_patterns])


def assert_seen(seen: mr.data.Seen | None, x: np.ndarray) -> None:
    """As a loop over all values has it; the mean to so many additions in float64."""
    assert seen is not None
    for channel in range(x.shape[1]):
        values = [float(v) for v in x[:, channel].ravel()]
        assert (seen.low[channel], seen.high[channel]) == (min(values), max(values))
        assert abs(seen.mean[channel] - sum(values) / len(values)) <= len(values) * np.finfo(float).eps * max(
            map(abs, values)
        )


def same_seen(a: mr.data.Seen | None, b: mr.data.Seen | None) -> bool:
    assert a is not None
    assert b is not None
    names = ("low", "high", "mean")
    return (a.axis, a.each) == (b.axis, b.each) and all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names
    )


@on_every_backend
@each_fit
@pytest.mark.parametrize("batch_size", [None, 7])
def test_range_and_mean_are_those_of_the_data(name: str, fit: Fit, batch_size: int | None, tmp_path: Path) -> None:
    x = samples(60)
    found = fit(branching_network(), x, backend=backend(name), batch_size=batch_size)
    assert_seen(found.seen, x)
    assert found.preprocessing is None
    assert found.calibration.source.given == "array"
    loaded = again(found, tmp_path / "saved")
    assert same_seen(loaded.seen, found.seen)
    assert loaded.calibration is not None
    assert loaded.calibration.source == found.calibration.source


@pytest.mark.parametrize("options", [{}, {"fit_on": "target_class"}], ids=str)
def test_shards_see_the_same(options: dict[str, Any]) -> None:
    net, x = branching_network(), samples(60)
    edges = [(0, 7), (7, 8), (8, 30), (30, 44), (44, 60)]
    found, run = one_by_one(net, x, [0, 2], backend("numpy"), edges, batch_size=4, **options)
    assert_seen(found[0].seen, x)
    assert found[0].seen is found[2].seen
    assert [order.looks for order, _, _ in run.tasks] == [True] + [False] * (len(run.tasks) - 1)
    for order, _, partials in run.tasks[1:]:
        assert not order.looks
        assert all(partial.extent is None for partial in partials)
    merged_by_hand, _ = one_by_one(net, x, [0, 2], backend("numpy"), edges, batch_size=4, **options)
    assert same_seen(merged_by_hand[0].seen, found[0].seen)


class Counting:
    """Data that count how often each sample is read."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype
        self.reads = np.zeros(len(x), int)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Any:
        self.reads[index] += 1
        return self.x[index]


def test_it_costs_no_reading_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def reads() -> list[int]:
        x = Counting(samples(60))
        mr.fit(branching_network(), x, [0, 2], batch_size=20)
        return x.reads.tolist()

    looking = reads()
    real = Recordings.passes
    monkeypatch.setattr(Extent, "of", lambda x, axis: pytest.fail("looked"))
    with pytest.raises(pytest.fail.Exception, match="looked"):
        reads()

    def without(self: Any, *given: Any, look: bool) -> Any:
        if look:
            self.extent = Extent(1, *(np.zeros(2),) * 3)
        return real(self, *given, look=False)

    monkeypatch.setattr(Recordings, "passes", without)
    assert reads() == looking


def test_a_resumed_fit_has_seen_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    given: dict[str, Any] = {"batch_size": 7, "checkpoint": tmp_path}
    expected = mr.fit(net, X, [0, 2], batch_size=7)
    mr.fit(net, X, [0, 2], **given)
    files = passes(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Extent, "of", lambda x, axis: pytest.fail("looked"))
        assert same_seen(mr.fit(net, X, [0, 2], **given)[2].seen, expected[2].seen)
        files[-1].unlink()
        assert same_seen(mr.fit(net, X, [0, 2], **given)[2].seen, expected[2].seen)
    files[0].unlink()
    assert same_seen(mr.fit(net, X, [0, 2], **given)[2].seen, expected[2].seen)

    def forget(header: dict[str, Any], tensors: dict[str, Any]) -> None:
        header["seen"] = None

    resealed(files[0], PASS, forget)
    with pytest.raises(mr.CorruptFile, match="does not tell what the network was shown"):
        mr.fit(net, X, [0, 2], **given)


@each_fit
def test_preprocessing_is_applied_and_travels(fit: Fit, tmp_path: Path) -> None:
    net, path = small(), tmp_path / "x.npy"
    np.save(path, STORED)
    x = (STORED.astype(np.float32) / 255 - np.float32(0.5)) / np.float32(0.25)
    plain, from_file = fit(net, x), fit(net, path, preprocess=NORMAL)
    from_view = fit(net, open_data(path, preprocessing=Preprocessing(mean=0.5, std=0.25, shape=(1, 6, 6))))
    from_part = fit(net, first(open_data(path, preprocessing=NORMAL), 20))
    from_shared = fit(net, SharedFile(path, preprocessing=NORMAL))
    from_array = fit(net, STORED.astype(np.float32), preprocess=Preprocessing(scale=255, mean=(0.5,), std=0.25))
    expected = explain(plain, x)
    for found in (from_file, from_view, from_part, from_shared, from_array):
        assert_seen(found.seen, x)
        loaded = again(found, tmp_path / "saved")
        assert loaded.preprocessing == found.preprocessing
        assert found.preprocessing.does_as(Preprocessing(scale=255, mean=0.5, std=0.25))
        for one in (found, loaded):
            # What comes as an array is the network's input; what is stored is treated as the calibration data were.
            assert np.array_equal(explain(one, x).attribution, expected.attribution)
            assert np.array_equal(explain(one, path).attribution, expected.attribution)
    assert [f.calibration.source.given for f in (plain, from_file, from_view, from_part, from_shared, from_array)] == [
        "array", "file", "file", "file", "file", "array",
    ]  # fmt: skip
    as_stored = fit(net, path)
    assert as_stored.preprocessing == Preprocessing()
    with pytest.raises(mr.InvalidData, match=r"another preprocessing .*minus mean 0.5.* than what was fitted"):
        explain(as_stored, open_data(path, preprocessing=NORMAL))
    with pytest.raises(mr.InvalidData, match="preprocessed already"):
        fit(net, open_data(path, preprocessing=NORMAL), preprocess=NORMAL)
    for wrong in ("imagenet", (0.5, 0.25), 3):
        with pytest.raises(mr.InvalidData, match="preprocess must be None or a Preprocessing"):
            fit(net, path, preprocess=wrong)
    with pytest.raises(mr.InvalidData, match="preprocess is for samples of shape"):
        fit(net, path, preprocess=Preprocessing(shape=(36,)))


def test_the_record_says_all_that_was_done(tmp_path: Path) -> None:
    given = Preprocessing(2, (0.5, 1, 2), (1, 2, 3), (3, 6, 8))
    record = json.loads(json.dumps(given.as_record()))
    assert record == {
        "scale": 2.0,
        "mean": [0.5, 1.0, 2.0],
        "std": [1.0, 2.0, 3.0],
        "shape": [3, 6, 8],
        "exif": True,
        "images": {
            "channels": "RGB",
            "layout": "CHW",
            "resize": "shorter side, bilinear, antialiased",
            "crop": "centre",
            "size": [6, 8],
        },
    }
    assert Preprocessing.of_record(record) == given
    assert not Preprocessing.of_record(record | {"exif": False}).exif
    assert Preprocessing(shape=(6, 8, 3)).as_record()["images"]["layout"] == "HWC"
    assert Preprocessing(shape=(6, 8)).as_record()["images"]["layout"] == "HW"
    with pytest.raises(mr.InvalidData, match="in a way that this version does not have"):
        Preprocessing.of_record(record | {"images": record["images"] | {"crop": "none"}})


@each_fit
@pytest.mark.parametrize(
    "change",
    [
        lambda h, t: h.pop("calibration"),
        lambda h, t: h["calibration"].pop("given"),
        lambda h, t: h["calibration"].update(given="elsewhere"),
        lambda h, t: h["calibration"].pop("preprocessing"),
        lambda h, t: h["calibration"].update(preprocessing={"gamma": 2}),
        lambda h, t: h["calibration"].update(preprocessing={"std": -1}),
        lambda h, t: h["calibration"].update(preprocessing={"scale": "x"}),
        lambda h, t: h["calibration"].update(preprocessing=[1]),
        lambda h, t: h["calibration"].update(axis="x"),
        lambda h, t: h["calibration"].update(axis=[]),
        lambda h, t: h["calibration"].update(axis=2),
        lambda h, t: h["calibration"].update(each=None),
        lambda h, t: h["calibration"].update(each=7),
        lambda h, t: t.pop("seen.low"),
        lambda h, t: t["seen.low"].fill(np.nan),
        lambda h, t: t["seen.high"].fill(np.inf),
        lambda h, t: t["seen.high"].fill(-9),
        lambda h, t: t.update({"seen.mean": np.zeros(0)}),
        lambda h, t: t.update({f"seen.{name}": np.zeros(2) for name in ("low", "high", "mean")}),
    ],
)
def test_a_damaged_record_is_refused(fit: Fit, change: Any, tmp_path: Path) -> None:
    net, path = small(), tmp_path / "saved"
    found = fit(net, X)
    again(found, path)
    kind = store.INVERSE if isinstance(found, mr.Inverse) else store.PATTERNS
    resealed(path, kind, change)
    with pytest.raises(mr.CorruptFile, match="incomplete or damaged"):
        mr.load_inverse(path, net) if isinstance(found, mr.Inverse) else mr.load_patterns(path, net)


@each_fit
@pytest.mark.parametrize("saved", [False, True])
def test_inputs_far_outside_warn_once_a_call(fit: Fit, saved: bool, tmp_path: Path) -> None:
    x = (STORED / np.float32(255)).astype(np.float32)
    found = fit(small(), x)
    found = again(found, tmp_path / "saved") if saved else found
    expected = "the inverse was fitted" if isinstance(found, mr.Inverse) else "the patterns were fitted"
    message = rf"far from the data that {expected} on: it runs from 0 to 255; calibration data ran from 0 to 1, mean"
    with pytest.warns(mr.InputRangeWarning, match=message) as told:
        explain(found, STORED.astype(np.float32))
    assert len(told) == 1
    with pytest.warns(mr.InputRangeWarning, match="no value is above"):
        explain(found, x / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(found, x[::-1] * 1.2)


def test_several_batches_and_tensors_warn_once() -> None:
    x = (STORED / np.float32(255)).astype(np.float32)
    inv = mr.fit(small(), x, 1)
    far = np.concatenate([x, STORED.astype(np.float32)])
    with pytest.warns(mr.InputRangeWarning) as told:
        inv.attribute(far, at=["input", "relu"], batch_size=3)
    assert len(told) == 1
    assert told[0].filename == __file__
