"""MIP-IN attribution of exported ONNX classifiers: which parts of an input carry the information of its prediction."""

from mipin_ref import golden, metrics
from mipin_ref.attribution import Attribution
from mipin_ref.errors import (
    BackendUnavailable,
    ClusterError,
    CorruptFile,
    InvalidData,
    MipinError,
    PrecisionWarning,
    UnsupportedModel,
)
from mipin_ref.graph.load import load
from mipin_ref.graph.network import Network
from mipin_ref.inverse.fit import fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.load import load_inverse
from mipin_ref.methods.attribute import attribute
from mipin_ref.methods.explainer import explain_func
from mipin_ref.methods.patterns import Patterns, fit_patterns, load_patterns
from mipin_ref.methods.registry import methods
from mipin_ref.panel import Panel
from mipin_ref.report.heatmap import heatmap
from mipin_ref.report.saliency import saliency

__all__ = [
    "Attribution",
    "BackendUnavailable",
    "ClusterError",
    "CorruptFile",
    "InvalidData",
    "Inverse",
    "MipinError",
    "Network",
    "Panel",
    "Patterns",
    "PrecisionWarning",
    "UnsupportedModel",
    "attribute",
    "explain_func",
    "fit",
    "fit_patterns",
    "golden",
    "heatmap",
    "load",
    "load_inverse",
    "load_patterns",
    "methods",
    "metrics",
    "saliency",
]
