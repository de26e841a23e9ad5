"""Raw pixels to what a network takes: what `Preprocessing` does, as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data import Preprocessing
from mipin_ref.data.preprocessing import UINT8_SCALE, image_geometry
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData
from mipin_ref.graph.document import Document
from mipin_ref.graph.network import Network


@dataclass(frozen=True, eq=False)
class Pixels(OneLine):
    """Bytes [n, H, W, C] of an image of the network's size, as image libraries hold them, C being 1 or 3; of a network
    whose input is no image [n, *input_shape].

    perm: the axes of the pixels, batch included, as the network has them; sample: of the network.
    """

    preprocessing: Preprocessing
    shape: tuple[int, ...]
    perm: tuple[int, ...]
    sample: tuple[int, ...]

    @classmethod
    def of(cls, net: Network, preprocessing: Preprocessing) -> Pixels:
        """Raises InvalidData where mean or std do not fit the channels, or the order BGR is asked for without three."""
        sample = net.input_shape
        geometry = image_geometry(sample)
        if geometry is None:
            made = cls(preprocessing, sample, tuple(range(len(sample) + 1)), sample)
        else:
            channels, height, width = geometry
            first = len(sample) == 3 and sample[0] == channels
            perm = (0, 3, 1, 2) if first else (0, 1, 2, 3)
            made = cls(preprocessing, (height, width, channels), perm, sample)
        for role in ("mean", "std"):
            made.placed(role)
        if preprocessing.bgr and (geometry is None or geometry[0] != 3):
            raise InvalidData(
                f"export: the network's input {list(sample)} has no three channels to put in the order BGR"
            )
        return made

    def placed(self, role: str) -> npt.NDArray[np.float32] | None:
        """Mean or std as it broadcasts to pixels [n, *shape]; None where there is none."""
        value = getattr(self.preprocessing, role)
        if value is None:
            return None
        numbers = np.atleast_1d(np.asarray(value, np.float32))
        if len(numbers) in (1, self.shape[-1]):
            return numbers
        if self.shape == self.sample and len(numbers) == self.shape[0]:
            return numbers.reshape(-1, *(1,) * (len(self.shape) - 1))
        raise InvalidData(f"export: {len(numbers)} values of {role} do not fit pixels of shape {list(self.shape)}")

    def write(self, document: Document, pixels: str, output: str) -> None:
        """Write the nodes from pixels to the network's input, in the order in which this package computes."""
        made = document.append("Cast", [pixels], document.fresh("pixels/numbers"), to=document.element)
        if self.preprocessing.bgr:
            turned = document.constant("pixels/order", np.array([2, 1, 0], np.int64))
            made = document.append("Gather", [made, turned], document.fresh("pixels/bgr"), axis=3)
        scale = UINT8_SCALE if self.preprocessing.scale is None else self.preprocessing.scale
        steps = [
            ("Div", "scale", np.asarray(scale)),
            ("Sub", "mean", self.placed("mean")),
            ("Div", "std", self.placed("std")),
        ]
        for operator, role, number in steps:
            if number is not None:
                weight = document.weight(f"pixels/{role}", number)
                made = document.append(operator, [made, weight], document.fresh(f"pixels/{role} done"))
        if self.perm != tuple(range(len(self.perm))):
            made = document.append("Transpose", [made], document.fresh("pixels/turned"), perm=self.perm)
        shape = document.constant("pixels/shape", np.array([-1, *self.sample], np.int64))
        document.append("Reshape", [made, shape], output)

    def of_inputs(self, x: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The bytes [n, *shape] whose inputs are nearest to x [n, *input_shape]."""
        axes = np.argsort(self.perm)
        stored = np.asarray(x, np.float64).reshape(-1, *(self.shape[i - 1] for i in self.perm[1:])).transpose(axes)
        for role, turn in (("std", np.multiply), ("mean", np.add)):
            if (number := self.placed(role)) is not None:
                stored = turn(stored, number)
        scale = UINT8_SCALE if self.preprocessing.scale is None else self.preprocessing.scale
        if self.preprocessing.bgr:
            stored = stored[..., ::-1]
        return np.clip(np.round(stored * scale), 0, 255).astype(np.uint8)

    def to_inputs(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What this package makes of bytes [n, *shape]: the network's inputs [n, *input_shape]."""
        values = pixels.astype(np.float32)
        if self.preprocessing.bgr:
            values = np.ascontiguousarray(values[..., ::-1])
        values /= UINT8_SCALE if self.preprocessing.scale is None else self.preprocessing.scale
        for role, turn in (("mean", np.subtract), ("std", np.divide)):
            if (number := self.placed(role)) is not None:
                values = turn(values, number)
        return np.ascontiguousarray(values.transpose(self.perm).reshape(-1, *self.sample))
