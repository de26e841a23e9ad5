"""`mipin explain` and `mipin compare` on photographs, whole processes, beside a script of captum's Grad-CAM.

The script does what `explain` does of it: reads the file and the photographs, takes the classes that they are taken
for, explains the last map, and writes a picture a photograph. It fits nothing and is told the preprocessing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.data import add_repeats
from benchmarks.tables import Sheet, Told
from benchmarks.timing import Process, in_child, measured

SUFFIXES = (".jpg", ".jpeg", ".png")
CLOCKED = ("seconds", "user", "system", "peak")
"""Of a process."""
COLUMNS = {
    "what": "{what}",
    "wall": "{seconds:seconds}",
    "processor: user": "{user:seconds}",
    "system": "{system:seconds}",
    "peak resident": "{peak:GB.2}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="an ONNX file")
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--preset", default="inception", help="the preprocessing, for captum's script")
    parser.add_argument("--compared", type=int, default=3, help="so many of the photographs are compared")
    parser.add_argument("--methods", default=None, help="of the comparison, by default its own")
    add_repeats(parser, 3)


def run(options: argparse.Namespace) -> Told:
    """Each contestant once a round, in turn: what else the machine does meets all of them alike."""
    with tempfile.TemporaryDirectory() as folder:
        contestants = _contestants(options, Path(folder))
        spent: dict[str, list[Process]] = {name: [] for name in contestants}
        loads = []
        for _ in range(options.repeats):
            for name, contestant in contestants.items():
                loads.append(os.getloadavg()[0])
                spent[name].append(contestant())
    print(
        f"{options.model.name}, {len(_photographs(options.images))} photographs; medians of {options.repeats}, load "
        f"{min(loads):.1f} to {max(loads):.1f} before each run\n"
    )
    sheet = Sheet(COLUMNS)
    for name, some in spent.items():
        sheet.add(what=name, **{key: statistics.median(getattr(one, key) for one in some) for key in CLOCKED})
    return {"rows": sheet.rows}


def _contestants(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], Process]]:
    model, photographs = str(options.model), _photographs(options.images)
    few, cache = folder / "few", folder / "cache"
    few.mkdir()
    for photograph in photographs[: options.compared]:
        shutil.copy(photograph, few)

    def command(*arguments: str) -> Process:
        return measured([sys.executable, "-m", "mipin_ref", *arguments], {"XDG_CACHE_HOME": str(cache)})

    def first() -> Process:
        shutil.rmtree(cache, ignore_errors=True)
        return explain()

    def explain() -> Process:
        return command("explain", model, str(options.images), "-o", str(folder / "explained"))

    def compare() -> Process:
        asked = [] if options.methods is None else ["--methods", options.methods]
        return command("compare", model, str(few), *asked, "-o", str(folder / "report.html"))

    def script() -> Process:
        asked = {"model": model, "images": str(options.images), "preset": options.preset}
        return in_child(grad_cam, **asked, out=str(folder / "captum"))

    return {
        "mipin explain, first run": first,
        "mipin explain, second run": explain,
        "captum's Grad-CAM in a script": script,
        f"mipin compare of {min(options.compared, len(photographs))}": compare,
    }


def _photographs(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def grad_cam(model: str, images: str, preset: str, out: str) -> int:
    """Overlays of the positive Grad-CAM at the last map, by captum on a torch twin of the network; how many."""
    import numpy as np
    import torch
    from captum.attr import LayerAttribution, LayerGradCam
    from PIL import Image

    import mipin_ref as mr
    from benchmarks.torch_twin import as_torch
    from mipin_ref.data import PRESETS, open_data
    from mipin_ref.graph.feature_maps import last_feature_map

    net = mr.load(model, check=False)
    module = as_torch(net)
    pixels = open_data(images, preprocessing=replace(PRESETS[preset], shape=net.input_shape))[:]
    x = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
    with torch.no_grad():
        targets = module(x).argmax(dim=1)
    explainer = LayerGradCam(module, module.step_of(last_feature_map(net)))
    maps = explainer.attribute(x, target=targets, relu_attributions=True)
    maps = LayerAttribution.interpolate(maps, tuple(x.shape[2:]), "bilinear").detach().numpy()[:, 0]
    Path(out).mkdir(exist_ok=True)
    for number, (image, one) in enumerate(zip(pixels, maps, strict=True)):
        picture = mr.overlay(np.moveaxis(image, 0, -1), one)
        Image.fromarray(picture).save(Path(out) / f"{number}.png")
    return len(maps)
