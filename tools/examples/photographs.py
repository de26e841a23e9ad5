# %% [markdown]
# # Explaining photographs
#
# A classifier, a folder of pictures, and one call. Where there are no photographs of your own, the pictures that come
# with the package are written to a folder first.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import mipin_ref as mr

work = Path(tempfile.mkdtemp())
model = Path("../shared/models/efficientnet_lite0_imagenet.onnx")
photographs = Path("../shared/data/imagenet20")
preprocess = None
class_names = None

if not (model.is_file() and photographs.is_dir()):
    embedded = mr.data.builtin("clutter_resnet")
    model, photographs, preprocess = embedded.model, work / "photographs", "unit"
    class_names = embedded.card.get("class_names")
    photographs.mkdir()
    with np.load(embedded.calibration) as data:
        for number, pixels in enumerate(data["x_test"][:8]):
            Image.fromarray(np.moveaxis(pixels, 0, -1)).save(photographs / f"photograph-{number:02}.png")

# %% [markdown]
# ## One call
#
# Each picture is explained for the class that the network takes it for, at the last map of the network. What had to be
# guessed or made is said in lines on stderr.

# %%
explanation = mr.explain(
    model, photographs, preprocess=preprocess, class_names=class_names, cache=False, progress=False, ridge=10.0
)
explanation

# %%
[(file, name, round(float(share), 2)) for file, name, share in zip(
    explanation.files, explanation.names, explanation.probabilities, strict=True
)]  # fmt: skip

# %% [markdown]
# ## Step by step
#
# The same with the pieces: a network, its layers, an Attribution.

# %%
net = mr.load(model)
net

# %%
result = mr.attribute(net, explanation.x[:4], explanation.targets[:4], "grad-cam")
result

# %%
maps = mr.saliency(result, size="input")
first = np.moveaxis(explanation.x[0], 0, -1)
Image.fromarray(mr.overlay(first, maps[0])).save(work / "overlay.png")
mr.plot(result)

# %% [markdown]
# ## Keep it
#
# Overlays, a page that opens in a browser, and the arrays.

# %%
written = explanation.save(work / "explained")
sorted(path.name for path in written)[:3]
