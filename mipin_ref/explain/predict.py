"""What a network says of samples, with layers or without."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.forward import logits
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray

Net = Network | ForwardOnly
"""What is explained."""
TINY = 1e-30


def predicted(net: Net, x: HostArray, batch_size: int, *, quick: bool = False) -> tuple[HostArray, HostArray | None]:
    """Scores [n, classes] of samples, logits where they are known, and probabilities, None where there are none.

    quick: rounded otherwise than all that is recorded, see `Recorder`.

    Raises InvalidData where samples do not fit, or NaN or Inf come up.
    """
    if isinstance(net, ForwardOnly):
        output, known = net.predict(x, batch_size=batch_size)
        return output if known is None else known, output if net.probability is not None else None
    scores = logits(net, x, batch_size=batch_size, quick=quick)
    return scores, None if net.probability is None else net.probabilities(scores)


def logits_like(net: Net, scores: HostArray) -> HostArray:
    """Scores [n, classes] as logits: the logarithms of probabilities where the file tells no logits."""
    values = np.asarray(scores, np.float64)
    probable = isinstance(net, ForwardOnly) and net.head is None and net.probability is not None
    return np.log(np.maximum(values, TINY)) if probable else values
