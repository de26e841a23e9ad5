"""A network as the model that the metrics of Quantus take."""

from __future__ import annotations

from typing import Any

from mipin_ref.errors import BackendUnavailable
from mipin_ref.graph.load import Model, as_network
from mipin_ref.graph.network import Network


def quantus_model(net: Network | Model) -> Any:
    """What Quantus's metrics take as `model=`: a torch module in evaluation mode that onnxruntime runs.

    net: a Network, or what `load` takes. Its output [N, classes] are the logits; with softmax=True, which most metrics
    of Quantus ask for, the probabilities of the file's head, sigmoid or softmax. Its children are the layers of `net`,
    numbered as in the table of `print(net)`, with the trained arrays as parameters: metrics that draw weights anew or
    shift them change those, and the module and `explain_func` then work on the changed network. Images may have their
    channels in front whatever the network takes. Nothing has a gradient: attributions come from `explain_func`.

    Raises BackendUnavailable where torch is missing, and what `load` raises.

    >>> import torch
    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> model = mr.metrics.quantus_model(net)
    >>> model(torch.tensor(x[:4])).shape
    torch.Size([4, 10])
    """
    network = as_network(net)
    try:
        from mipin_ref.metrics.quantus_module import NetworkModule
    except ImportError as error:
        raise BackendUnavailable(
            "Quantus takes a module of torch as its model, and torch is missing: pip install 'quantus[torch]'"
        ) from error
    return NetworkModule(network)
