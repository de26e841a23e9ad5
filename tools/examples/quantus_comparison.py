# %% [markdown]
# # Comparing methods with Quantus
#
# Quantus measures attributions of models of torch. Any ONNX classifier will do: `quantus_model` is such a model.

# %%
import warnings

import numpy as np
import pandas as pd

import mipin_ref as mr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

digits = mr.data.builtin("mnist_mlp")
net = mr.load(digits.model)
with np.load(digits.calibration) as data:
    x = data["x"][:300].astype(np.float32) / 255
    x_test, y_test = data["x_test"][:4].astype(np.float32) / 255, data["y_test"][:4].astype(int)
net

# %% [markdown]
# ## The methods
#
# Each is a function that Quantus calls; MIP-IN is fitted once, for the classes that occur.

# %%
methods = {
    "mip-in": mr.explain_func(net, "mip-in", calibration=x, ridge=1.0),
    "input-x-gradient": mr.explain_func(net, "input-x-gradient"),
    "lrp-epsilon": mr.explain_func(net, "lrp-epsilon"),
}

# %% [markdown]
# ## The metrics

# %%
quiet = {"disable_warnings": True, "display_progressbar": False}
metrics = {
    "faithfulness correlation": quantus.FaithfulnessCorrelation(nr_runs=5, subset_size=100, **quiet),
    "max sensitivity": quantus.MaxSensitivity(nr_samples=2, **quiet),
    "sparseness": quantus.Sparseness(**quiet),
}
model = mr.metrics.quantus_model(net)
rows = []
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for method, explain in methods.items():
        np.random.seed(0)  # noqa: NPY002 - Quantus draws from it
        batch = {"model": model, "x_batch": x_test, "y_batch": y_test, "a_batch": None, "device": "cpu"}
        scores = {name: np.mean(metric(**batch, explain_func=explain)) for name, metric in metrics.items()}
        rows.append({"method": method, **scores})
scores = pd.DataFrame(rows).set_index("method")
scores

# %% [markdown]
# ## Measures of this package
#
# Records are tables too.

# %%
result = mr.attribute(net, x_test, y_test, "lrp-epsilon")
curve = mr.metrics.deletion(net, x_test, mr.saliency(result, positive=False), y_test, steps=10)
pd.DataFrame(curve).groupby("fraction").score.mean().round(3)
