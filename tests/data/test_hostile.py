"""Damaged files of every format: the readers answer with data or with an error of this package, nothing else."""

from __future__ import annotations

import contextlib
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mipin_ref.data import open_data, open_labels
from mipin_ref.errors import MipinError
from tests.data.formats import cifar_bytes, idx_bytes, npy_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 12, 12), dtype=np.uint8)


def archive(save: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, x=PIXELS, y=np.arange(2))
    return buffer.getvalue()


def image(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[0]).convert("P" if form == "PNG" else "RGB").save(buffer, format=form)
    return buffer.getvalue()


WHOLE = {
    "x.npy": npy_bytes(PIXELS),
    "stored.npz": archive(np.savez),
    "packed.npz": archive(np.savez_compressed),
    "x.idx": idx_bytes(PIXELS),
    "x.idx.gz": gzip.compress(idx_bytes(PIXELS)),
    "batch.bin": cifar_bytes(np.zeros((2, 3, 32, 32), np.uint8), [1, 2]),
    "x.png": image("PNG"),
    "x.jpg": image("JPEG"),
}


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[name])
    # The headers are where damage does most harm.
    near = st.integers(0, min(len(content), 200) - 1)
    for place, value in data.draw(
        st.lists(st.tuples(near | st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    kept = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(bytes(content[:kept]))
        for door in (open_data, open_labels):
            with contextlib.suppress(MipinError):
                door(path)[:]
