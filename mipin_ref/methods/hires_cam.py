"""HiResCAM."""

from __future__ import annotations

from mipin_ref.methods.cam import ActivationMap


class HiResCAM(ActivationMap):
    """∂y_c / ∂X, location by location (Draelos and Carin, HiResCAM, 2020, Eq. 3): input times gradient at the last
    feature map, summed over channels.
    """

    name = "hires-cam"
    multiplier = True
    follows_logit = False
