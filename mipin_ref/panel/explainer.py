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
    arguments of `attribute`, options of the method among them. The model that Quantus hands on is not looked at: what
    is explained is `net`. So metrics that change the model, such as a randomisation of its weights, do not fit.
    What is fitted for the method ("mip-in" with `calibration`) is fitted once, for each class when it first occurs.
    Raises InvalidData as `attribute` does, at once for an unknown kind, method or option, or an inner tensor.
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
        result = way.attribute(network, x, wanted, network.input, run)
        return np.asarray(getattr(result.oriented, kind))

    return explain
