"""What this package writes and reads again: inverses, patterns, checkpoints, golden candidates and cases."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import mipin_ref as mr
from fuzzing.kind import Files, Kind, WrongNumber, write
from fuzzing.mutate import mutated, tree_mutated
from mipin_ref import golden, store
from mipin_ref.golden.case import write_manifest
from mipin_ref.inverse.passes.checkpoint import PASS
from training.files import MODELS

MODEL = MODELS / "golden_cnn" / "model.onnx"
CASE = MODELS / "golden_mlp" / "golden"


class Stored(Kind):
    """A file of `store`: its bytes are mutated, or its header or tensors, which are then written as honest ones are."""

    kind: store.Kind
    file: str
    content: bytes

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.file
            self.save(path)
            self.content = path.read_bytes()
            header, self.tensors = store.read(path, self.kind)
            self.beside = header["beside"]
            self.header = {name: value for name, value in header.items() if name not in ("seal", "digest", "beside")}

    def save(self, path: Path) -> None:
        """Write an honest file."""
        raise NotImplementedError

    def make(self, random: Random) -> Files:
        what = random.random()
        if what < 0.5:
            return {self.file: mutated(random, self.content, [])}
        header, tensors = self.header, dict(self.tensors)
        if what < 0.8:
            header = tree_mutated(random, header)
            if not isinstance(header, dict):
                header = {"x": header}
        else:
            _change_tensor(random, tensors)
        with tempfile.TemporaryDirectory(dir=_fast()) as folder:
            path = Path(folder) / "made"
            beside = tree_mutated(random, self.beside) if random.random() < 0.1 else self.beside
            try:
                store.write(path, header, tensors, self.kind, beside=beside)
            except (TypeError, ValueError):  # what was mutated is not what can be written
                return {self.file: mutated(random, self.content, [])}
            return {self.file: path.read_bytes()}


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _change_tensor(random: Random, tensors: dict[str, Any]) -> None:
    name = random.choice(list(tensors))
    tensor = np.array(tensors[name])
    what = random.randrange(6)
    if what == 0:
        del tensors[name]
    elif what == 1:
        tensors[name] = tensor.astype(random.choice((np.float32, np.int64, np.uint8, np.bool_, np.float16)))
    elif what == 2:
        tensors[name] = tensor.reshape(random.choice(((-1,), (1, *tensor.shape), tensor.shape[::-1])))
    elif what == 3:
        tensor.reshape(-1)[random.randrange(tensor.size)] = (
            random.choice((0, 1, 255)) if tensor.dtype.kind in "iu" else np.nan
        )
        tensors[name] = tensor
    elif what == 4:
        tensors[random.choice(("", "x", "0.7", "\x1b[2J"))] = tensors.pop(name)
    else:
        tensors[name] = tensor[:0]


def _net() -> mr.Network:
    return mr.load(MODEL)


def _data(net: mr.Network) -> Any:
    return np.random.default_rng(3).random((6, *net.input_shape), np.float32)


class Inverses(Stored):
    name = "inverse"
    batch = 600
    kind, file = store.INVERSE, "a.mipin"

    def save(self, path: Path) -> None:
        self.net = _net()
        self.x = _data(self.net)
        mr.fit(self.net, self.x, 0).save(path)

    def ask(self, folder: Path) -> None:
        inverse = mr.load_inverse(folder / self.file, self.net)
        str(inverse.report)
        inverse.attribute(self.x[:1])


class PatternFiles(Stored):
    name = "patterns"
    batch = 600
    kind, file = store.PATTERNS, "a.patterns"

    def save(self, path: Path) -> None:
        self.net = _net()
        self.x = _data(self.net)
        mr.fit_patterns(self.net, self.x).save(path)

    def ask(self, folder: Path) -> None:
        patterns = mr.load_patterns(folder / self.file, self.net)
        mr.attribute(self.net, self.x[:1], 0, "patternnet", patterns=patterns)


class Checkpoints(Stored):
    """The folder of a finished fit, one of whose files is damaged. What the fit then finds must be what it found."""

    name = "checkpoint"
    batch = 100
    kind = PASS

    def __init__(self) -> None:
        self.net = mr.load(MODELS / "golden_mlp" / "model.onnx")
        self.x = _data(self.net)
        with tempfile.TemporaryDirectory() as folder:
            self.right = mr.fit(self.net, self.x, 0, checkpoint=folder)
            self.files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in Path(folder).rglob("*")
                if path.is_file()
            }
        self.file = sorted(name for name in self.files if name.endswith(".safetensors"))[0]
        super().__init__()

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.files[self.file])

    def make(self, random: Random) -> Files:
        if random.random() < 0.2:
            other = random.choice(sorted(self.files))
            return {**self.files, other: mutated(random, self.files[other], list(self.files.values()))}
        return {**self.files, **super().make(random)}

    def ask(self, folder: Path) -> None:
        inverse = mr.fit(self.net, self.x, 0, checkpoint=folder)
        for tensor, weights in self.right.weights.items():
            if not all(map(np.array_equal, weights.blocks, inverse.weights[tensor].blocks)):
                raise WrongNumber(f"the weights of {tensor} are not those of the fit")


class Candidates(Kind):
    """Arrays of another implementation, as .npz and as .safetensors."""

    name = "candidate"
    batch = 400

    def __init__(self) -> None:
        self.case = golden.read_case(CASE)
        self.arrays = {tensor.name: self.case.golden(tensor) for tensor in self.case.tensors}
        buffer = io.BytesIO()
        np.savez(buffer, **self.arrays)  # type: ignore[arg-type]
        packed = io.BytesIO()
        np.savez_compressed(packed, **self.arrays)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "c.safetensors"
            store.write(path, {}, self.arrays, store.Kind("x", 1, "x"))
            self.seeds = [
                ("c.npz", buffer.getvalue()),
                ("c.npz", packed.getvalue()),
                ("c.safetensors", path.read_bytes()),
            ]

    def make(self, random: Random) -> Files:
        name, content = random.choice(self.seeds)
        return {name: mutated(random, content, [other for _, other in self.seeds])}

    def ask(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            str(golden.verify(self.case, path))


class Cases(Kind):
    """Golden cases, of which the manifest or the arrays are mutated."""

    name = "case"
    batch = 200

    def __init__(self) -> None:
        case = golden.read_case(CASE)
        self.candidate = {tensor.name: case.golden(tensor) for tensor in case.tensors}
        self.off = {name: array + 1 if array.dtype.kind == "f" else array for name, array in self.candidate.items()}
        self.manifest = json.loads((CASE / "manifest.json").read_bytes())
        self.files = {name: (CASE / name).read_bytes() for name in ("manifest.json", "arrays.safetensors")}
        self.files["model.onnx"] = (CASE.parent / "model.onnx").read_bytes()
        self.manifest["model"]["file"] = "model.onnx"
        self.files["manifest.json"] = self._sealed(self.manifest)

    def make(self, random: Random) -> Files:
        if random.random() < 0.7:
            return {**self.files, "manifest.json": self._sealed(tree_mutated(random, self.manifest))}
        chosen = random.choice(sorted(self.files))
        return {**self.files, chosen: mutated(random, self.files[chosen], list(self.files.values()))}

    def _sealed(self, manifest: Any) -> bytes:
        """A manifest that says what it says with the right checksums."""
        if not isinstance(manifest, dict):
            return json.dumps(manifest).encode()
        with tempfile.TemporaryDirectory(dir=_fast()) as folder:
            write(Path(folder), self.files)
            try:
                write_manifest(Path(folder), manifest)
            except ValueError:  # half a character, or a number that JSON has not
                return json.dumps(manifest).encode()
            return (Path(folder) / "manifest.json").read_bytes()

    def ask(self, folder: Path) -> None:
        str(golden.verify(folder, self.candidate))
        str(golden.verify(folder, self.off))


KINDS: tuple[type[Kind], ...] = (Inverses, PatternFiles, Checkpoints, Candidates, Cases)

__all__ = ["CASE", "KINDS"]
