"""Pictures of attributions."""

from mipin_ref.report.heatmap import heatmap
from mipin_ref.report.overlay import overlay, overlay_page
from mipin_ref.report.page import compose_page
from mipin_ref.report.picture import explanation_page, save_png
from mipin_ref.report.saliency import saliency

__all__ = ["compose_page", "explanation_page", "heatmap", "overlay", "overlay_page", "saliency", "save_png"]
