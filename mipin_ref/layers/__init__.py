"""What a layer is: one class a kind, which answers all that is asked of it; no file and no network is known here."""

from mipin_ref.layers.activation import Activation
from mipin_ref.layers.affine import Affine
from mipin_ref.layers.attention import Attention
from mipin_ref.layers.averages import AveragePool, GlobalAveragePool
from mipin_ref.layers.conv import Conv, ConvTranspose
from mipin_ref.layers.dense import Dense
from mipin_ref.layers.extremum import Extremum
from mipin_ref.layers.gate import Gate
from mipin_ref.layers.gather import Gather, Where
from mipin_ref.layers.groups import Linear, Located, Outdone, Shared, Stateful, Switched, Unweighted, stateful, switched
from mipin_ref.layers.join import Add, Concat
from mipin_ref.layers.kind import HostArray, Layer, Recording, Shape, States, Switches, Wired, Writer, as_kind
from mipin_ref.layers.max_pool import MaxPool
from mipin_ref.layers.moves import Pad, Reshape, Slice, Transpose
from mipin_ref.layers.norm import Divisor, Norm
from mipin_ref.layers.recurrent import GRU, LSTM, Recurrent
from mipin_ref.layers.reduce import Reduce
from mipin_ref.layers.resize import Resize
from mipin_ref.layers.response_norm import ResponseNorm
from mipin_ref.layers.signs import Difference, Negative
from mipin_ref.layers.state import Scores, SoftmaxWeights
from mipin_ref.layers.token_dense import TokenDense

KINDS: tuple[type[Layer], ...] = (
    *(Dense, Conv, MaxPool, AveragePool, GlobalAveragePool, Affine, Activation, ResponseNorm, Add, Concat),
    *(Slice, Pad, Reshape, Transpose, Norm, Reduce, TokenDense),
    *(Gate, Extremum, Negative, Difference),
    *(ConvTranspose, Resize, Gather, Where),
    *(LSTM, GRU),
    *(Attention, SoftmaxWeights, Scores),
)
"""Every kind of layer."""

__all__ = [
    "GRU",
    "KINDS",
    "LSTM",
    "Activation",
    "Add",
    "Affine",
    "Attention",
    "AveragePool",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Difference",
    "Divisor",
    "Extremum",
    "Gate",
    "Gather",
    "GlobalAveragePool",
    "HostArray",
    "Layer",
    "Linear",
    "Located",
    "MaxPool",
    "Negative",
    "Norm",
    "Outdone",
    "Pad",
    "Recording",
    "Recurrent",
    "Reduce",
    "Reshape",
    "Resize",
    "ResponseNorm",
    "Scores",
    "Shape",
    "Shared",
    "Slice",
    "SoftmaxWeights",
    "Stateful",
    "States",
    "Switched",
    "Switches",
    "TokenDense",
    "Transpose",
    "Unweighted",
    "Where",
    "Wired",
    "Writer",
    "as_kind",
    "stateful",
    "switched",
]
