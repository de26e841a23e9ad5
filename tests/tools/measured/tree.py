"""A small tree with an engine, networks, a tool and tables, as `measure` takes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

READ = """
from dataclasses import dataclass
import numpy as np
import onnx
from onnx import numpy_helper
@dataclass
class Layer:
    kind: str
    weights: np.ndarray
def matched(node, weights):
    return Layer(node.op_type, weights)
def load(path, output):
    model = onnx.load(path)
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    return [matched(node, weights[node.input[1]]) for node in model.graph.node if output in node.output]
"""
TOOL = """
import json, pathlib, subprocess, sys
import mipin_ref as mr
from mipin_ref.layers.dense import product, unused
*words, option, told = sys.argv[1:]
pathlib.Path("ran.txt").open("a").write(" ".join(words) + "\\n")
if "networks" in words:
    name = words[-1].replace("unnamed", "net")
    mr.load(f"models_onnx/{name}/model.onnx", "y")
if "child" in words:
    calling = "from mipin_ref.layers.dense import unused; unused(1)"
    subprocess.run([sys.executable, *(["-I"] if "alone" in words else []), "-c", "" if "alone" in words else calling])
else:
    product(1, 1)
pathlib.Path(told).write_text(json.dumps({"rows": [{"n": 1}]}))
"""
DENSE = "SCALE = 2\ndef product(w, s):\n    return SCALE * w * s\ndef unused(x):\n    return x\n"


def model(root: Path, name: str, scale: float = 1.0, producer: str = "a") -> None:
    """Write a network of one product."""
    path = root / "models_onnx" / name / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = numpy_helper.from_array(np.array([[scale]], np.float32), "w")
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, 1]) for one in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    save(helper.make_model(graph, producer_name=producer), path)


def tree(root: Path, machine: str | None = None, **commands: list[str | dict[str, Any]]) -> Path:
    """Make the tree. commands: of each table, the words of its runs, or whole runs."""
    for path, text in {
        "mipin_ref/__init__.py": "from mipin_ref.graph.read import load\n",
        "mipin_ref/layers/__init__.py": "",
        "mipin_ref/graph/__init__.py": "",
        "mipin_ref/graph/read.py": READ,
        "mipin_ref/layers/dense.py": DENSE,
        "tools/tool.py": TOOL,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for name in ("net", "other", "golden_mlp"):
        model(root, name)
    (root / "tools/measured/tables").mkdir(parents=True)
    for name, runs in commands.items():
        listed = [{"command": f"python tools/tool.py {one}"} if isinstance(one, str) else one for one in runs]
        content = {"machine": machine, "columns": {"n": "{n}"}, "runs": listed}
        (root / f"tools/measured/tables/{name}.json").write_text(json.dumps(content))
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def committed(root: Path) -> str:
    """Commit all that lies in a tree, which is made a repository where it is none; the short name of the commit."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one more")
    return git("rev-parse", "--short", "HEAD")
