# %% [markdown]
# # A classifier of scikit-learn on a table
#
# Trained, exported by skl2onnx, and explained: which columns speak for the class of a row.

# %%
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import mipin_ref as mr

wine = load_wine()
table = StandardScaler().fit_transform(wine.data).astype(np.float32)
x, x_test, y, y_test = train_test_split(table, wine.target, random_state=0, stratify=wine.target)
classifier = MLPClassifier((32,), max_iter=500, random_state=0).fit(x, y)
print(f"{classifier.score(x_test, y_test):.0%} of the test rows are right")

# %% [markdown]
# The file has two outputs, the label and the probabilities: the second is explained.

# %%
model = to_onnx(classifier, x[:1], options={"zipmap": False})
net = mr.load(model, output="probabilities")
net

# %% [markdown]
# ## MIP-IN
#
# Fitted on the training rows, one inverse for each class.

# %%
inverses = mr.fit(net, x, target="all", ridge=1.0)
inverses[0]

# %%
rows, predicted = x_test[:4], net.predict(x_test[:4])[0].argmax(axis=1)
result = mr.attribute(net, rows, predicted, "mip-in", inverse=inverses)
result

# %%
for name, value in sorted(zip(wine.feature_names, result.contribution[0], strict=True), key=lambda one: -abs(one[1]))[
    :5
]:
    print(f"{name:30} {value:+.3f}")

# %% [markdown]
# ## Beside it, exact Shapley values' estimate
#
# Kernel SHAP asks for the forward pass alone; its values add up to the difference that the row makes to the logit.

# %%
shap = mr.attribute(net, rows, predicted, "kernel-shap", baseline=x.mean(axis=0))
agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(result.contribution, shap.contribution, strict=True)]
np.round(agreement, 2).tolist()

# %%
mr.plot(shap, names=[f"row {number}: {wine.target_names[c]}" for number, c in enumerate(predicted)])
