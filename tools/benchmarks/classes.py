"""All classes that share an inverse from some tensor down, against one class fitted alone: time, file, maps.

Times are of the processor, all threads together, so that they hold on a machine that others use too; the wall's stand
beside them. Maps are the positive part of the channel sum of A ⊙ X; compared are the classes of `--compared`, of which
none is fitted alone for the shared fit, on samples that take no part in the fits.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from benchmarks.data import Floats, model_path
from benchmarks.tables import Told, markdown
from measured.cells import Value
from paper.photographs import Photograph, calibration, mosaics, photographs, prepared

NETWORK = "clutter_vgg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help=f"ONNX file of a classifier of photographs (default: {NETWORK})")
    parser.add_argument("--photographs", type=Path, help="its folder of *_<label>.jpg")
    parser.add_argument("--at", help="explain this tensor instead of the input")
    parser.add_argument("--common", default="auto", help="from where down classes share (default: auto)")
    parser.add_argument("--samples", type=int, default=24, help="to fit on (default: 24)")
    parser.add_argument("--classes", type=int, help="how many, the first of the network (default: all)")
    parser.add_argument("--compared", type=int, nargs="+", default=[0, 1], help="classes fitted alone too")
    parser.add_argument(
        "--mosaics", type=int, default=0, help="2×2 mosaics of photographs for each class of one (default: 0)"
    )
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--dtype", default="float32")


def run(options: argparse.Namespace) -> Told:
    net, x, new, images = samples_of(options)
    classes = net.classes if options.classes is None else options.classes
    asked = sorted({*range(classes), *options.compared})
    given: dict[str, Any] = {"at": options.at, "memory": options.memory, "dtype": options.dtype}
    first, *others = options.compared
    alone = {first: clocked(lambda: mr.fit(net, x, first, **given))}
    shared = clocked(lambda: mr.fit(net, x, asked, common=options.common, **given))
    with tempfile.TemporaryDirectory() as folder:
        sizes = [_size(one.value, Path(folder) / "one.mipin") for one in (alone[first], shared)]
    rows = [
        [name, f"{one.processor:.1f} s", f"{one.wall:.1f} s", f"{size / 1e6:.1f} MB"]
        for name, one, size in zip(("one class", f"{len(asked):,} classes"), (alone[first], shared), sizes, strict=True)
    ]
    ratio = shared.processor / alone[first].processor
    rows.append(["ratio", f"{ratio:.2f}", f"{shared.wall / alone[first].wall:.2f}", f"{sizes[1] / sizes[0]:.2f}"])
    print(markdown(["fit", "processor", "wall", "file"], rows), end="\n\n")
    # What a class has alone may be fitted only now.
    own = {target: clocked(lambda t=target: shared.value[t]) for target in options.compared}  # type: ignore[misc]
    common = own[first].value.report.common
    print(common, end="\n\n")
    alone |= {target: clocked(lambda t=target: mr.fit(net, x, t, **given)) for target in others}  # type: ignore[misc]
    maps = {target: correlation(one.value, own[target].value, new) for target, one in alone.items()}
    told = [[str(t), f"{found:.4f}", f"{own[t].processor:.2f} s"] for t, found in maps.items()]
    print(markdown(["class", "median correlation of maps", "processor, asked for"], told))
    median = float(np.median(list(maps.values())))
    print(f"\nmedian of {len(maps)} classes: {median:.4f}; load {os.getloadavg()[0]:.1f}")
    figures: dict[str, Value] = {
        "at": options.at or "the pixels",
        "one": alone[first].processor,
        "all": shared.processor,
        "classes": len(asked),
        "ratio": ratio,
        "file_one": sizes[0],
        "file_all": sizes[1],
        "maps": median,
        "lowest": min(maps.values()),
        "asked_for": own[first].processor,
        "tensor": common and common.tensor,
        "agreement": common and common.agreement,
        **dict.fromkeys(("mosaics", "pointed_alone", "pointed_shared", "pointed_apart")),
    }
    if options.mosaics:
        fits = ({t: one.value for t, one in alone.items()}, {t: one.value for t, one in own.items()})
        one, other = (pointing(of, images, options.mosaics) for of in fits)
        print(f"grid pointing game of {len(one)} mosaics, alone and shared: {one.mean():.4f}, {other.mean():.4f}")
        figures |= {"mosaics": len(one), "pointed_alone": float(one.mean()), "pointed_shared": float(other.mean())}
        figures["pointed_apart"] = float(np.abs(other - one).max())
    return {"rows": [figures]}


class Clocked:
    """What a call gave, with its seconds of the processor and of the wall."""

    def __init__(self, value: Any, processor: float, wall: float) -> None:
        self.value, self.processor, self.wall = value, processor, wall


def clocked(work: Callable[[], Any]) -> Clocked:
    """A call, timed."""
    wall, processor = time.perf_counter(), time.process_time()
    value = work()
    return Clocked(value, time.process_time() - processor, time.perf_counter() - wall)


def correlation(alone: mr.Inverse, shared: mr.Inverse, x: Floats) -> float:
    """The median over samples of the correlation of two inverses' maps."""
    one, other = (mr.saliency(inverse.attribute(x)).reshape(len(x), -1) for inverse in (alone, shared))
    return float(np.median([related(a, b) for a, b in zip(one, other, strict=True)]))


def related(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Pearson's correlation of two samples' values; 1 where both are constant, as empty maps are, 0 where one is."""
    constant = [np.ptp(values) == 0 for values in (one, other)]
    return float(all(constant)) if any(constant) else float(np.corrcoef(one, other)[0, 1])


def pointing(inverses: Mapping[int, mr.Inverse], images: Sequence[Photograph], count: int) -> NDArray[np.float64]:
    """Scores of the grid pointing game, of `count` mosaics for each class that a photograph is of, class by class.

    Raises SystemExit where there is no photograph of any of the classes.
    """
    targets = sorted(inverses.keys() & {one.label for one in images})
    if not targets:
        raise SystemExit("--mosaics needs photographs of classes that --compared names")
    side = inverses[targets[0]].net.input_shape[-1]
    x, labels = mosaics(images, count * len(targets), 0, side, targets=targets)
    scores: list[float] = []
    for number, target in enumerate(targets):
        rows = slice(number, None, len(targets))
        cells = np.argmax(labels[rows] == target, axis=1)
        maps = mr.saliency(inverses[target].attribute(x[rows]))
        scores.extend(mr.metrics.grid_pointing_game(maps, cells).scores)
    return np.array(scores)


def _size(inverse: Any, path: Path) -> int:
    inverse.save(path)
    return path.stat().st_size


def samples_of(options: argparse.Namespace) -> tuple[mr.Network, Floats, Floats, list[Photograph]]:
    """The network, samples to fit on, others, and the photographs that these are, if they are any."""
    if options.model is None:
        net = mr.load(model_path(NETWORK))
        with np.load(model_path(NETWORK).with_name("calibration.npz")) as data:
            x, new = (data[name].astype(np.float32) / 255 for name in ("x", "x_test"))
        return net, x[: options.samples], new[:20], []
    if options.photographs is None:
        raise SystemExit("--model needs --photographs")
    net, images = mr.load(options.model), photographs(options.photographs)
    side = net.input_shape[-1]
    x, _ = calibration(images, options.samples, 0, side)
    return net, x, np.stack([prepared(one.pixels, side) for one in images]), images
