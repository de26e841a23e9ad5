"""Measurements of whole commands.

python tools/bench.py footprint --mnist mnist.npz     time and peak memory of `mipin fit` on 50,000 digits
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "models_onnx"


def footprint(options: argparse.Namespace) -> None:
    """One `mipin fit` a process: wall seconds and the kernel's count of its peak resident memory."""
    print("| network | classes | samples | dtype | memory= | wall | peak resident |\n|---|---|---|---|---|---|---|")
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, "-m", "mipin_ref", "fit", str(ROOT / network / "model.onnx"), str(options.mnist)),
                *("--target", options.target, "-o", f"{folder}/{{target}}.mipin"),
                *("--limit", str(options.samples), "--memory", options.memory, "--dtype", options.dtype),
            ]
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            if status:
                raise SystemExit(f"{' '.join(command)} failed")
        print(
            f"| {network} | {options.target} | {options.samples:,} | {options.dtype} | {options.memory} "
            f"| {seconds:.0f} s | {usage.ru_maxrss / 1e6:.2f} GB |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="measurements of whole commands")
    commands = parser.add_subparsers(dest="command", required=True)
    foot = commands.add_parser("footprint", help="time and peak memory of a fit")
    foot.add_argument("--mnist", type=Path, required=True, help="Keras's mnist.npz")
    foot.add_argument("--networks", nargs="+", default=["mnist_mlp", "mnist_cnn"])
    foot.add_argument("--target", default="all")
    foot.add_argument("--samples", type=int, default=50_000)
    foot.add_argument("--memory", default="1GB")
    foot.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    footprint(parser.parse_args())


if __name__ == "__main__":
    main()
