"""What a fit is asked to do: its options, each stated once, checked once, and written into every saved inverse.

Whatever takes them reads them here: `fit` and `mr.golden.make` in Python (a test compares their signatures), the
command line, the identity of a checkpoint, saved inverses and golden manifests, and `--option mip-in.NAME=VALUE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import checked_choice, checked_flag, checked_number

if TYPE_CHECKING:  # the command line reads this file before it imports anything heavy
    from mipin_ref.backend import Dtype

FitOn = Literal["all", "target_class"]
NormBack = Literal["affine", "sigma"]
Ridge = float | Literal["held-out"]

HELD_OUT: Literal["held-out"] = "held-out"
"""The ridge that is picked for every tensor."""


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its name, type and default.

    check: gives the value, or InvalidData that names the option; told: what it means, in a few words; choices: of a
    value that is one of some; off: how the command line calls False, where that is what one asks for; of_a_method:
    whether it is one of MIP-IN as a method, beside those that every method has, such as dtype.
    """

    check: Callable[[str, Any], Any]
    told: str
    choices: tuple[str, ...] = ()
    off: str | None = None
    of_a_method: bool = True


def _ridge(name: str, value: Any) -> Ridge:
    if isinstance(value, str) and value == HELD_OUT:
        return HELD_OUT
    try:
        return checked_number(name, value, 0.0)
    except InvalidData as error:
        raise InvalidData(f"{name} must be a number >= 0, not {shown(value)}, or {HELD_OUT!r}") from error


def _mask(name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidData(f"{name} must be None, True or False, not {shown(value)}")
    return value


def _as(option: Option) -> dict[str, Option]:
    return {"option": option}


def _one_of(told: str, *choices: str, of_a_method: bool = False) -> Option:
    return Option(lambda name, value: checked_choice(name, value, choices), told, choices, of_a_method=of_a_method)


_RIDGE = Option(_ridge, "λ, absolute, on sums; or held-out, of each tensor the best on a fifth of the samples")

_NORM = _one_of("what normalisations take back: S, or S times the divisor", "affine", "sigma", of_a_method=True)

_LOCAL = Option(checked_flag, "no masks: class-level source signal", off="global")

_TENSOR = Option(
    lambda _, value: value,
    "explain this inner tensor instead of the input, or 'auto', the last map or as far down as inverses exist",
    of_a_method=False,
)


_COMMON = Option(lambda _, value: value, "from this tensor down fit one inverse for all classes, or 'auto'")

_SHARE = Option(checked_flag, "one weight per channel and output where a Dense reads a flattened map")


@dataclass(frozen=True)
class Options:
    """ridge: λ of every block, absolute, on sums, or "held-out": of each tensor the one of 1e-3 .. 1e6 that is best on
    a fifth of the samples (method, section 2); conv_bias: an intercept in convolutional inverses; at: the explained
    tensor, None for the input; input_mask: mask it too, None for "if it is an inner tensor"; local: forward ReLU masks
    (Eq. 9) while fitting and applying; fit_on: which calibration samples count; norm: whether the inverse of a
    normalisation starts from S ("affine") or from what it divided by times S ("sigma"; method, section 10); common: the
    tensor from which down one inverse serves all targets (method, section 4), None for none; share_locations: one
    weight per channel and output where a Dense reads a flattened map, in place of one per element (method, section 2);
    rows of that fit, which λ is set against, are samples × locations. Of a Dense that reads features, and where none
    reads a flattened map, it changes nothing; dtype: of signals and products.
    """

    ridge: Ridge = field(default=1e-3, metadata=_as(_RIDGE))
    conv_bias: bool = field(default=False, metadata=_as(Option(checked_flag, "an intercept in convolutional inverses")))
    at: str | None = field(default=None, metadata=_as(_TENSOR))
    input_mask: bool | None = field(default=None, metadata=_as(Option(_mask, "mask the explained tensor")))
    local: bool = field(default=True, metadata=_as(_LOCAL))
    fit_on: FitOn = field(default="all", metadata=_as(_one_of("which samples count", "all", "target_class")))
    norm: NormBack = field(default="affine", metadata=_as(_NORM))
    common: str | None = field(default=None, metadata=_as(_COMMON))
    share_locations: bool = field(default=False, metadata=_as(_SHARE))
    dtype: Dtype = field(default="float64", metadata=_as(_one_of("of signals and products", "float64", "float32")))

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.check(name, getattr(self, name)))
        if self.ridge == 0 and self.dtype == "float32":
            # Rounding of single-precision products fills the directions that a minimum-norm solution must leave out.
            raise InvalidData("a ridge of 0, the minimum-norm solution, needs dtype 'float64'")


OPTIONS: dict[str, Option] = {one.name: one.metadata["option"] for one in fields(Options)}
"""What is known of each, by name."""

DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Options)}

METHOD_OPTIONS = tuple(name for name, option in OPTIONS.items() if option.of_a_method)
"""Those of MIP-IN as a method among others."""

PRESETS: dict[str, dict[str, Any]] = {"localise": {"ridge": 10.0, "share_locations": True}}
"""Options that go by one name, see the page of the method: `localise` is for maps that are to point at an object."""


def ridge_text(ridge: Ridge) -> str:
    """The ridge as pages and commands write it."""
    return ridge if isinstance(ridge, str) else f"{ridge:g}"


def with_preset(preset: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset, by name, None for none; those given besides hold in place of its own.

    Raises InvalidData for a preset that there is not.
    """
    if preset is None:
        return {**given}
    if not isinstance(preset, str) or preset not in PRESETS:
        raise InvalidData(f"there is no preset {shown(preset)} of options; there is {', '.join(map(repr, PRESETS))}")
    return {**PRESETS[preset], **given}


TYPES: dict[str, str] = {one.name: str(one.type) for one in fields(Options)}
"""As they are written above."""
