"""What cannot be measured, whatever the methods."""

from __future__ import annotations

from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.explain.predict import Net
from mipin_ref.explain.targets import is_classifier
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.text import one_line


def check_measurable(metric: str, net: Net, *, needs_layers: bool) -> None:
    """Raises UnsupportedModel where a metric needs the layers of a file that has none, and InvalidData where the output
    is no classifier's: samples are measured for a class each.
    """
    if needs_layers and isinstance(net, ForwardOnly):
        told = f"{metric} needs the layers of the network, {net.reason}"
        raise UnsupportedModel(one_line(f"{told}; deletion and sensitivity need its forward pass alone"))
    if not is_classifier(net):
        sizes = "×".join(map(str, net.target_shape))
        raise InvalidData(
            f"{metric} is measured of classes, and output {net.output!r} [N, {sizes}] is not one score a class; name "
            "another with --output, or explain one of its entries with mipin explain --target"
        )
