"""The rows of tables of scenes with several objects: methods at two ends, with what is fitted for them."""

from __future__ import annotations

from typing import Any

from paper.pairs_maps import CLASSLESS, LAST, PIXELS, WITHOUT
from paper.published import GRAD_CAM, METHODS, MIPIN
from paper.results import part_of

NETWORKS = ("pairs_vgg", "pairs_resnet", "pairs_se", "pairs_vit")
OTHERS = ("clutter_se", "clutter_resnet", "clutter_vgg")
"""Networks trained on scenes of one object, which know fewer of the objects of such scenes."""
CAMS = (GRAD_CAM, "grad-cam++", "hires-cam", "layer-cam", "eigen-cam", "score-cam")
TUNED = "mip-in, preset localise"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    MIPIN: (MIPIN, {}),
    TUNED: (MIPIN, {"preset": "localise"}),
    **{name: (name, {}) for name in METHODS if name not in (MIPIN, GRAD_CAM)},
    **{name: (name, {}) for name in CAMS},
}
"""Row -> method and options of its fit."""
MANY_PASSES = ("smoothgrad", "integrated-gradients", "score-cam")
"""Methods that take ten times as long as the others, or more: they explain fewer scenes, the first."""


def parts_of(name: str) -> dict[str, tuple[str, str]]:
    """The parts of a network by name: row and end; class activation maps and the sum have the last map alone."""
    return {
        part_of(name, f"{row}, {end}"): (row, end)
        for end in (LAST, PIXELS)
        for row in (*ROWS, *WITHOUT)
        if not (end == PIXELS and row in (*CAMS, CLASSLESS))
    }
