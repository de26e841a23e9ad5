"""The public function: one method, by its name, on one network."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any, cast

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend, get_backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.load import Model, as_network
from mipin_ref.graph.network import Network
from mipin_ref.graph.tokens import places_of_tokens
from mipin_ref.memory import checked_batch_size, memory_bytes
from mipin_ref.methods.method import Run
from mipin_ref.panel.as_captum import only_input, only_target
from mipin_ref.panel.fallback import open_any
from mipin_ref.panel.registry import METHODS, make_method


def attribute(
    net: Network | ForwardOnly | Model,
    x: Any,
    target: Any,
    method: str,
    *,
    at: str | None = None,
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    progress: bool = False,
    **options: Any,
) -> Attribution:
    """Attribute a class logit to x, or to an inner tensor, by any method.

    net: a Network, or what `load` takes, of which methods that need the forward pass alone ("rise", "occlusion",
    "kernel-shap") also explain what `load` refuses, see `open_any`; x: [N, *input_shape] floats: array, path, or
    anything with len() and slicing; as in captum a tuple of one batch is that batch, and the result is one Attribution
    all the same; target: a class, a tuple of indices into an output of more axes, or one of these a sample [N]; method:
    one of `methods()`; at: a tensor on the way to the logits, by default the input (class activation maps: the last
    feature map; attention rollouts: the first tensor of tokens), the output behind a Softmax that was removed meaning
    the logits; dtype: of signals and results, "float64" or "float32"; batch_size: samples that are swept at a time, by
    default as many as fit in `memory`; options: of the method, see its class.
    "mip-in" takes `inverse`, an Inverse or several by class, which is applied on its own backend in its own dtype down
    to its own tensor; or `calibration`, samples to fit one on, and the options of `fit`.
    Returns NumPy arrays of the tensor's shape. Results do not depend on the size of batches but for rounding.
    Raises InvalidData for what does not fit the network or the method, NaN and Inf, in the data or on the way; of a
    network that is not loaded yet what `load` raises.
    Warns with InputRangeWarning where x lies far outside the range of the data that something was fitted on.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> mr.attribute(net, x[:4], target=3, method="lrp-epsilon")
    Attribution('lrp-epsilon', target 3, 'input' float64[4, 1, 28, 28])
    >>> mr.attribute(net, x[:2], target=[0, 1], method="mip-in", at="/relu3/Relu_output_0", calibration=x)
    Attribution('mip-in', target int64[2], '/relu3/Relu_output_0' float64[2, 512], with source signal)
    """
    way = make_method(method, options)
    run = make_run(backend=backend, dtype=dtype, batch_size=batch_size, memory=memory, progress=progress)
    # Methods of the forward pass take either record.
    opened = cast(Network, open_any(net)) if way.forward_only else inverted(net, method)
    res = way.attribute(opened, only_input(opened, x), only_target(target), at, run)
    return replace(res, places=places_of_tokens(opened, res.tensor)) if isinstance(opened, Network) else res


def inverted(net: Network | ForwardOnly | Model, method: str) -> Network:
    """The Network that a method needs which goes back through layers. Raises what `load` does."""
    if not isinstance(net, ForwardOnly):
        return as_network(net)
    others = ", ".join(name for name, kind in METHODS.items() if kind.forward_only)
    raise UnsupportedModel(
        f"{method} needs the layers of the network, {net.reason}; {others} need its forward pass alone"
    )


def make_run(
    *,
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    progress: bool = False,
) -> Run:
    """How a method is run, checked: arguments as of `attribute`."""
    return Run(get_backend(backend, dtype), checked_batch_size(batch_size), memory_bytes(memory), progress)
