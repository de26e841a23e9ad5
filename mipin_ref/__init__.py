"""MIP-IN attribution of exported ONNX classifiers: which parts of an input carry the information of its prediction.

What is public is imported where it is first used: `mipin --help` needs none of it, and a plain `load` no metrics.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mipin_ref.display import present_with

if TYPE_CHECKING:
    from mipin_ref import data, golden, metrics
    from mipin_ref.attribution import Attribution
    from mipin_ref.errors import (
        BackendUnavailable,
        CalibrationWarning,
        ClusterError,
        CorruptFile,
        InputRangeWarning,
        InvalidData,
        MipinError,
        OverflowWarning,
        PrecisionWarning,
        RidgeWarning,
        SharingWarning,
        UnsupportedModel,
    )
    from mipin_ref.explain.explain import explain
    from mipin_ref.explain.explanation import Explanation
    from mipin_ref.export.export import export
    from mipin_ref.graph.load import load
    from mipin_ref.graph.network import Network
    from mipin_ref.inverse.fit import fit
    from mipin_ref.inverse.inverse import Inverse
    from mipin_ref.inverse.load import load_inverse
    from mipin_ref.methods.patterns import Patterns, fit_patterns, load_patterns
    from mipin_ref.panel.attribute import attribute
    from mipin_ref.panel.explainer import explain_func
    from mipin_ref.panel.panel import Panel
    from mipin_ref.panel.registry import methods
    from mipin_ref.report.heatmap import heatmap
    from mipin_ref.report.overlay import overlay
    from mipin_ref.report.plot import plot
    from mipin_ref.report.saliency import saliency

    __version__: str

__all__ = [
    "Attribution",
    "BackendUnavailable",
    "CalibrationWarning",
    "ClusterError",
    "CorruptFile",
    "Explanation",
    "InputRangeWarning",
    "InvalidData",
    "Inverse",
    "MipinError",
    "Network",
    "OverflowWarning",
    "Panel",
    "Patterns",
    "PrecisionWarning",
    "RidgeWarning",
    "SharingWarning",
    "UnsupportedModel",
    "__version__",
    "attribute",
    "data",
    "explain",
    "explain_func",
    "export",
    "fit",
    "fit_patterns",
    "golden",
    "heatmap",
    "load",
    "load_inverse",
    "load_patterns",
    "methods",
    "metrics",
    "overlay",
    "plot",
    "saliency",
]

_ROOMS = {"data", "golden", "metrics"}
"""Public names that are modules."""
_PLACES = {
    "attribution": ("Attribution",),
    "errors": (
        *(
            "BackendUnavailable",
            "CalibrationWarning",
            "ClusterError",
            "CorruptFile",
            "InputRangeWarning",
            "InvalidData",
            "MipinError",
        ),
        *("OverflowWarning", "PrecisionWarning", "RidgeWarning", "SharingWarning", "UnsupportedModel"),
    ),
    "explain.explain": ("explain",),
    "export.export": ("export",),
    "explain.explanation": ("Explanation",),
    "graph.load": ("load",),
    "graph.network": ("Network",),
    "inverse.fit": ("fit",),
    "inverse.inverse": ("Inverse",),
    "inverse.load": ("load_inverse",),
    "panel.attribute": ("attribute",),
    "panel.explainer": ("explain_func",),
    "methods.patterns": ("Patterns", "fit_patterns", "load_patterns"),
    "panel.registry": ("methods",),
    "panel.panel": ("Panel",),
    "report.heatmap": ("heatmap",),
    "report.overlay": ("overlay",),
    "report.plot": ("plot",),
    "report.saliency": ("saliency",),
}
"""Module -> the public names that it defines."""
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, imported now (PEP 562)."""
    if name in _ROOMS:
        return import_module(f"mipin_ref.{name}")
    if name == "__version__":
        value = import_module("importlib.metadata").version("mipin_ref")
    elif name in _MODULE_OF:
        value = getattr(import_module(f"mipin_ref.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'mipin_ref' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _presented(shown: object) -> str | None:
    """The HTML that a notebook shows of a result; the pictures are imported when the first is asked for."""
    html: str | None = import_module("mipin_ref.report.notebook").html_or_none(shown)
    return html


present_with(_presented)


class _Package(ModuleType):
    """This package, whose functions `methods`, `explain`, `export` are named as rooms: importing these leaves both."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
