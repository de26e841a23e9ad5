"""Methods as the functions that Quantus takes for `explain_func`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.load import Model
from mipin_ref.graph.network import Network
from mipin_ref.graph.turned import behind, channels_behind, in_front
from mipin_ref.layers import HostArray
from mipin_ref.options import checked_choice
from mipin_ref.panel.attribute import inverted, make_run
from mipin_ref.panel.fallback import open_any
from mipin_ref.panel.registry import make_method, method_named
from mipin_ref.reading import reason

ARGUMENTS = frozenset(signature(make_run).parameters)
Explain = Callable[..., HostArray]


def explain_func(
    net: Network | ForwardOnly | Model,
    method: str,
    *,
    kind: Literal["contribution", "attribution"] = "contribution",
    **given: Any,
) -> Explain:
    """A function (model, inputs [N, *input_shape], targets [N], **ignored) -> [N, *input_shape], as Quantus calls it.

    kind: which field of the Attribution is handed out, turned as maps are (`Attribution.oriented`); given: further
    arguments of `attribute`, options of the method among them. What is explained is `net`, whatever model is handed on,
    but for that of `mr.metrics.quantus_model`: where a metric has changed its weights, the changed network is, and what
    a method is fitted with is fitted anew for it. Inputs may have their channels in front whatever the network takes,
    and attributions then have them there too.
    What is fitted for the method ("mip-in" with `calibration`) is fitted once, for each class when it first occurs.
    Raises InvalidData as `attribute` does, at once for an unknown kind, method or option, or an inner tensor.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> explain = mr.explain_func(net, "integrated-gradients", steps=8)
    >>> explain(None, x[:4], [0, 1, 2, 3]).shape
    (4, 1, 28, 28)
    """
    checked_choice("kind", kind, ("contribution", "attribution"))
    network: Any = open_any(net) if method_named(method).forward_only else inverted(net, method)
    if network.tensor(given.pop("at", network.input)) != network.input:
        raise InvalidData("Quantus compares attributions with inputs: explain the input")
    options = {name: given.pop(name) for name in list(given) if name not in ARGUMENTS}
    way, run = make_method(method, options), make_run(**given)

    def explain(model: Any, inputs: Any, targets: Any, **ignored: Any) -> HostArray:
        try:
            x, wanted = np.asarray(inputs), np.asarray(targets)
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(f"inputs and targets must be arrays ({reason(error)})") from error
        asked, turned = _handed_on(model, network), channels_behind(network, x)
        result = way.attribute(asked, behind(x) if turned else x, wanted, asked.input, run)
        values = np.asarray(getattr(result.oriented, kind))
        return in_front(values) if turned else values

    return explain


def _handed_on(model: Any, network: Network) -> Network:
    """The network that a model of `quantus_model` stands for now; any other model stands for `network`.

    Raises InvalidData for such a model of another network.
    """
    original = getattr(model, "original", None)
    if not isinstance(original, Network):
        return network
    if (original.sha256, original.output) != (network.sha256, network.output):
        raise InvalidData("the model and the function that explains it are of two networks; make both of one")
    now = model.network
    return network if now is original else now
