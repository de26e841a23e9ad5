"""Whether the values of a network's input are ids, which rows of a table are looked up by, and which ids there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto

from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.embeddings import looked_up
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.graph.stem import Stem
from mipin_ref.layers import HostArray


def looks_up(net: Network | ForwardOnly) -> bool:
    """Whether the values of the input are ids of rows, in the part of the file that onnxruntime runs as it stands."""
    front = _front(net)
    return front is not None and looked_up(ModelProto.FromString(front.model), net.input)


def table_rows(net: Network | ForwardOnly) -> int | None:
    """How many rows the table has that the ids of the input pick from; None where they pick from none."""
    front = _front(net)
    return None if front is None else front.rows


def no_id(what: str, rows: int, given: Any) -> InvalidData:
    """The error for what stands for ids and is none of a table of so many rows."""
    return InvalidData(f"{what} must be an id of the table, from 0 to {rows - 1:,}, not {shown(given)}")


def check_stand_in(net: Network | ForwardOnly, values: HostArray, what: str, given: Any) -> None:
    """Raises InvalidData where what stands for values of the input is nothing that the network reads: where these are
    ids, no id of a row; where they are integers, none. what: its option; given: by the user, for the message.
    """
    rows = table_rows(net)
    if rows is not None:
        if not ((values == np.rint(values)) & (values >= 0) & (values < rows)).all():
            raise no_id(what, rows, given)
    elif net.reads is not None:
        lowest, highest = np.iinfo(net.reads).min, np.iinfo(net.reads).max
        if not ((values == np.rint(values)) & (values >= lowest) & (values <= highest)).all():
            raise InvalidData(f"{what} must be integers ({net.reads}), which the network reads, not {shown(given)}")


def _front(net: Network | ForwardOnly) -> Stem | None:
    return net.stem or net.file if isinstance(net, Network) else net.stem
