"""The paper's numbers (its Tables 1 and 2 and Appendix B), by the names that methods have here."""

from __future__ import annotations

MIPIN = "mip-in"
GRAD_CAM = "grad-cam"
METHODS = (
    MIPIN,
    "gradient",
    "input-x-gradient",
    "smoothgrad",
    "integrated-gradients",
    "deconvnet",
    "guided-backprop",
    "lrp-epsilon",
    "lrp-alpha-beta",
    "deep-taylor",
    "excitation-backprop",
    "deeplift",
    "patternnet",
    "pattern-attribution",
    GRAD_CAM,
)
WITHOUT_ROWS = (
    "grad-cam++",
    "hires-cam",
    "layer-cam",
    "eigen-cam",
    "score-cam",
    "rise",
    "occlusion",
    "kernel-shap",
    "attention-rollout",
    "gradient-attention-rollout",
)
"""Methods of the package that these tables leave out: the paper measures none of them, the first four differ from
Grad-CAM in how its one map is weighted, the last two look at attention, which its networks have not, and the others
take hundreds of forward passes a sample.
"""

TITLES = {MIPIN: "mip-in, pixels"}
"""Rows whose name alone does not say what they are."""

APC = {"mnist_mlp": (0.1010, 0.026), "mnist_cnn": (0.165, 0.023), "rgb32_cnn": (0.211, 0.106)}
"""Table 1: APC and positive APC; the paper's third network saw CIFAR-10, ours sees composed images of that shape."""

BOX_ACCURACY: dict[str, tuple[float | None, float | None]] = {
    "gradient": (0.345, 0.368),
    "smoothgrad": (0.518, 0.541),
    "lrp-epsilon": (0.307, 0.292),
    "deep-taylor": (0.427, 0.441),
    "deconvnet": (0.226, 0.263),
    "guided-backprop": (0.398, 0.456),
    "pattern-attribution": (0.499, None),
    "grad-cam": (0.486, 0.512),
    MIPIN: (0.648, 0.662),
}
"""Table 2, VGG19 and ResNet50: MIP-IN at the last feature map, the others but Grad-CAM at the pixels."""

MARGINS = (0.13, 0.121)
"""How far MIP-IN is above the best other method of Table 2, as the text states it."""

SENSITIVITY = {
    MIPIN: 5.53,
    "gradient": 7.18,
    "smoothgrad": 6.45,
    "lrp-epsilon": 6.88,
    "deconvnet": 6.42,
    "guided-backprop": 2.01,
    "deep-taylor": 3.62,
    "pattern-attribution": 0.91,
}
"""Appendix B: mean L2 distance between the maps of two classes, three-layer CNN on MNIST."""
