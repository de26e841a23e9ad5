"""No bit of a saved file can change without being told, and the same that is found again has the same digest."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import mipin_ref as mr
from mipin_ref import store
from mipin_ref.errors import CorruptFile
from mipin_ref.inverse.passes.checkpoint import PASS
from mipin_ref.seal import OPEN, has_seal, is_whole, sealed
from tests.golden.arrays import copied
from tests.inverse.passes.test_resume import passes
from tests.inverse.test_bad_input import X, small
from tests.stored import digest_by_hand, flips, resealed, seal_by_hand

FLIPS = 3000


def saved_inverse(folder: Path) -> tuple[Path, Callable[[], object]]:
    net = small()
    mr.fit(net, X, 1, conv_bias=True).save(folder / "one.mipin")
    return folder / "one.mipin", lambda: mr.load_inverse(folder / "one.mipin", net)


def saved_patterns(folder: Path) -> tuple[Path, Callable[[], object]]:
    net = small()
    mr.fit_patterns(net, X).save(folder / "net.patterns")
    return folder / "net.patterns", lambda: mr.load_patterns(folder / "net.patterns", net)


def finished_pass(folder: Path) -> tuple[Path, Callable[[], object]]:
    mr.fit(small(), X, [0, 2], checkpoint=folder, fit_on="target_class")
    path = passes(folder)[0]
    return path, lambda: store.read(path, PASS)


def golden_arrays(folder: Path) -> tuple[Path, Callable[[], object]]:
    case = copied("golden_mlp", folder)
    return case / "arrays.safetensors", lambda: mr.golden.read_case(case)


def golden_manifest(folder: Path) -> tuple[Path, Callable[[], object]]:
    case = copied("golden_mlp", folder)
    return case / "manifest.json", lambda: mr.golden.read_case(case)


@pytest.mark.slow
@pytest.mark.parametrize("make", [saved_inverse, saved_patterns, finished_pass, golden_arrays, golden_manifest])
def test_every_flipped_bit_is_found(make: Callable[[Path], tuple[Path, Callable[[], object]]], tmp_path: Path) -> None:
    path, load = make(tmp_path)
    load()
    tried = 0
    for _ in flips(path, FLIPS):
        with pytest.raises(CorruptFile, match=path.name):
            load()
        tried += 1
    assert tried == FLIPS
    load()


@pytest.mark.slow
def test_every_bit_of_a_header_is_found(tmp_path: Path) -> None:
    """One after the other: length, padding, names, offsets, both checksums and what stands beside them."""
    path = tmp_path / "a.patterns"
    store.write(path, {"é": ["value", 1e-5]}, {"a": np.arange(3.0)}, store.PATTERNS, beside={"seconds": [0.25]})
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CorruptFile):
            store.read(path, store.PATTERNS)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CorruptFile):
        store.read(path, store.PATTERNS)
    path.write_bytes(whole)
    header, tensors = store.read(path, store.PATTERNS)
    assert (header["é"], header["beside"]) == (["value", 1e-5], {"seconds": [0.25]})
    assert np.array_equal(tensors["a"], np.arange(3.0))


@pytest.mark.parametrize("make", [saved_inverse, saved_patterns, finished_pass])
def test_both_checksums_are_those_that_the_description_gives(
    make: Callable[[Path], tuple[Path, Callable[[], object]]], tmp_path: Path
) -> None:
    path, _ = make(tmp_path)
    content = path.read_bytes()
    assert seal_by_hand(content) == content
    (length,) = struct.unpack("<Q", content[:8])
    ((name, text),) = json.loads(content[8 : 8 + length])["__metadata__"].items()
    assert json.loads(text)["digest"] == digest_by_hand(content, name)


def header_of(path: Path) -> dict[str, Any]:
    header, _ = store.read(path)
    return header


def test_the_same_fit_has_the_same_digest_however_long_it_took(tmp_path: Path) -> None:
    net = small()
    for name in ("a", "b"):
        mr.fit(net, X, 1).save(tmp_path / name)
    mr.fit(net, X, 1, ridge=2e-3).save(tmp_path / "c")
    a, b, c = (header_of(tmp_path / name) for name in "abc")
    assert a["digest"] == b["digest"] != c["digest"]
    assert a["beside"] != b["beside"]
    assert {name: a[name] for name in a.keys() - {"seal", "beside"}} == {
        name: b[name] for name in b.keys() - {"seal", "beside"}
    }
    assert "seconds" not in json.dumps(a["report"])
    again = mr.load_inverse(tmp_path / "a", net)
    assert [row.seconds for row in again.report] == a["beside"]["seconds"]


@pytest.mark.parametrize(("kind", "old"), [(store.INVERSE, 2), (store.PATTERNS, 1), (PASS, 1)])
def test_a_file_of_an_earlier_version_is_told(kind: store.Kind, old: int, tmp_path: Path) -> None:
    """Those had no checksum; what stood in them is not looked at."""
    path = tmp_path / "old"
    header = {"format": kind.format, "version": old, "packages": store.packages()}
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(2)}, {kind.format: json.dumps(header)}))
    with pytest.raises(CorruptFile, match=f"format version {old}; this package reads {kind.version}: make"):
        store.read(path, kind)


def test_a_file_whose_checksums_were_taken_out_is_refused(tmp_path: Path) -> None:
    path, load = saved_inverse(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"seal", b"sea1", 1))
    with pytest.raises(CorruptFile, match="holds no checksum"):
        load()
    path.write_bytes(content)
    resealed(path, store.INVERSE, lambda header, tensors: None)
    load()
    header, tensors = store.read(path)
    header["digest"] = OPEN
    path.write_bytes(seal_by_hand(safetensors.numpy.save(tensors, {"mipin-inverse": json.dumps(header)})))
    with pytest.raises(CorruptFile, match="another checksum"):
        load()


def test_arrays_of_another_case_are_refused(tmp_path: Path) -> None:
    one, other = copied("golden_mlp", tmp_path), copied("golden_cnn", tmp_path)
    shutil.copy(other / "arrays.safetensors", one / "arrays.safetensors")
    with pytest.raises(CorruptFile, match="is not the arrays of this case"):
        mr.golden.read_case(one)


def test_a_text_is_sealed_once() -> None:
    text = json.dumps({"seal": OPEN, "other": {"seal": OPEN}}).encode()
    whole = sealed(text)
    assert is_whole(whole)
    assert whole.count(OPEN.encode()) == 1
    assert has_seal(whole)
    assert not is_whole(whole.replace(OPEN.encode(), b"1" * 64))
    for none in (b"", b"{}", b'{"seal": ""}'):
        assert not has_seal(none)
        assert not is_whole(none)
    for none in (b"", b"{}", whole):
        with pytest.raises(ValueError, match="no open seal"):
            sealed(none)
