"""Preprocessings that networks are commonly trained with, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mipin_ref.data.preprocessing import Preprocessing
from mipin_ref.errors import InvalidData, shown

PRESETS: Mapping[str, Preprocessing] = {
    "unit": Preprocessing(255.0),
    "imagenet": Preprocessing(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": Preprocessing(255.0, 0.5, 0.5),
    "caffe": Preprocessing(1.0, (103.939, 116.779, 123.68), bgr=True),
    "raw": Preprocessing(1.0),
}
"""Of pixels 0..255: to 0..1; as torchvision's networks take them; to -1..1; in the order BGR less the means of ImageNet
as in Caffe; as they are."""


def preprocessing_named(text: str) -> Preprocessing:
    """A preset by its name; or "mean,std" of pixels divided by 255, where each is one number or one a channel.

    Two numbers are a mean and a std, six are three means and three stds. Raises InvalidData for any other text.
    """
    if text in PRESETS:
        return PRESETS[text]
    numbers = [_number(part) for part in text.split(",")]
    if any(one is None for one in numbers) or len(numbers) % 2 or len(numbers) > 64:
        near = get_close_matches(text, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidData(
            f"preprocessing is one of {', '.join(PRESETS)}, or mean,std as 0.5,0.25 or "
            f"0.485,0.456,0.406,0.229,0.224,0.225, not {shown(text)}{hint}"
        )
    half = len(numbers) // 2
    return Preprocessing(255.0, _one_or_all(numbers[:half]), _one_or_all(numbers[half:]))


def preprocessing_of(given: Any) -> Preprocessing | None:
    """What a user gives for a preprocessing: None, a name (see `preprocessing_named`), a Preprocessing, (mean, std).

    Raises InvalidData for anything else.
    """
    if given is None or isinstance(given, Preprocessing):
        return given
    if isinstance(given, str):
        return preprocessing_named(given)
    if isinstance(given, Sequence) and len(given) == 2:
        return Preprocessing(255.0, given[0], given[1])
    raise InvalidData(
        f"preprocess is one of {', '.join(PRESETS)}, a pair (mean, std) of pixels divided by 255, or a Preprocessing, "
        f"not {shown(given)}"
    )


def preset_of(preprocessing: Preprocessing) -> str | None:
    """The name of the preset that does the same to pixels; None where there is none."""
    return next((name for name, one in PRESETS.items() if one.does_as(preprocessing)), None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _one_or_all(numbers: Sequence[Any]) -> Any:
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
