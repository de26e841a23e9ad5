"""The runtime that pages hold: onnxruntime-web as it lies beside this package, checked by its digest."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from mipin_ref.errors import CorruptFile

FOLDER = Path(__file__).parents[1] / "runtime"
VERSION = "1.30.0"


@dataclass(frozen=True)
class Packed:
    """A file of onnxruntime-web, gzipped; digest: SHA-256 of what is packed, in hexadecimal."""

    name: str
    digest: str

    def gzipped(self) -> bytes:
        """The file as it lies there. Raises CorruptFile where it is missing or not what it was."""
        path = FOLDER / self.name
        try:
            packed = path.read_bytes()
            digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptFile(
                f"{path}: the runtime of pages cannot be read ({error}); install mipin_ref anew"
            ) from error
        if digest != self.digest:
            raise CorruptFile(f"{path}: is not the runtime of pages that belongs here; install mipin_ref anew")
        return packed


CODE = Packed("ort.wasm.bundle.min.mjs.gz", "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90")
WASM = Packed("ort-wasm-simd-threaded.wasm.gz", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2")
