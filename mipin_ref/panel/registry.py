"""Every method by its name, and the one place that lists them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mipin_ref.errors import InvalidData, shown
from mipin_ref.methods.deep_taylor import DeepTaylor
from mipin_ref.methods.deeplift import DeepLIFT
from mipin_ref.methods.eigen_cam import EigenCAM
from mipin_ref.methods.excitation import ExcitationBackprop
from mipin_ref.methods.gradcam import GradCAM
from mipin_ref.methods.gradcam_plus_plus import GradCAMPlusPlus
from mipin_ref.methods.gradient import Gradient, InputTimesGradient
from mipin_ref.methods.hires_cam import HiResCAM
from mipin_ref.methods.integrated import IntegratedGradients
from mipin_ref.methods.kernel_shap import KernelShap
from mipin_ref.methods.layer_cam import LayerCAM
from mipin_ref.methods.lrp import LrpAlphaBeta, LrpEpsilon
from mipin_ref.methods.method import Method
from mipin_ref.methods.occlusion import Occlusion
from mipin_ref.methods.pattern import PatternAttribution, PatternNet
from mipin_ref.methods.rectified import DeconvNet, GuidedBackprop
from mipin_ref.methods.rise import Rise
from mipin_ref.methods.rollout import AttentionRollout, GradientAttentionRollout
from mipin_ref.methods.score_cam import ScoreCAM
from mipin_ref.methods.smoothgrad import SmoothGrad
from mipin_ref.panel.mip_in import MipIn

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        MipIn,
        Gradient,
        InputTimesGradient,
        SmoothGrad,
        IntegratedGradients,
        DeconvNet,
        GuidedBackprop,
        DeepLIFT,
        GradCAM,
        GradCAMPlusPlus,
        HiResCAM,
        LayerCAM,
        ScoreCAM,
        EigenCAM,
        AttentionRollout,
        GradientAttentionRollout,
        LrpEpsilon,
        LrpAlphaBeta,
        DeepTaylor,
        ExcitationBackprop,
        PatternNet,
        PatternAttribution,
        Rise,
        Occlusion,
        KernelShap,
    )
}


def methods() -> list[str]:
    """The names that `attribute` takes.

    >>> import mipin_ref as mr
    >>> mr.methods()[:3]
    ['mip-in', 'gradient', 'input-x-gradient']
    """
    return list(METHODS)


def method_named(name: object) -> type[Method]:
    """The facts of a method. Raises InvalidData for an unknown name, with the nearest ones."""
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    near = _nearest(name if isinstance(name, str) else "", METHODS)
    raise InvalidData(
        f"there is no method {shown(name)}; "
        + (f"did you mean {', '.join(map(repr, near))}?" if near else f"there are {', '.join(METHODS)}")
    )


def fit_is_asked(names: Iterable[str]) -> list[str]:
    """Those of the methods whose fit takes options of a user's."""
    return [name for name in names if (fitting := METHODS[name].fitting) is not None and fitting.options]


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """A method with its options.

    Raises InvalidData for an unknown name, with the nearest ones, and for options that are not the method's.
    """
    kind = method_named(name)
    return kind(kind.checked(options))


def _nearest(name: str, known: Collection[str]) -> list[str]:
    """The known names that are like a name as it stands, or else whatever its case and what stands between words."""
    plain: dict[str, str] = {}
    for one in known:
        # Names that differ in signs alone, such as grad-cam++: the first is the plain one.
        plain.setdefault(_plain(one), one)
    near = get_close_matches(name, known, n=3)
    return near or [plain[one] for one in get_close_matches(_plain(name), plain, n=3)]


def _plain(name: str) -> str:
    return "".join(one for one in name.lower() if one.isalnum())
