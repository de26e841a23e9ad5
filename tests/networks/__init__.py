"""Small random networks as ONNX files: what the tests draw, and onnxruntime's values of all their tensors."""

from tests.networks.builder import MAX_ELEMENTS as MAX_ELEMENTS
from tests.networks.builder import Draw as Draw
from tests.networks.builder import Network as Network
from tests.networks.builder import float32 as float32
from tests.networks.builder import random_window as random_window
from tests.networks.builder import sample_inputs as sample_inputs
from tests.networks.builder import seeded as seeded
from tests.networks.chains import chains as chains
from tests.networks.chains import random_chain as random_chain
from tests.networks.graphs import graphs as graphs
from tests.networks.graphs import random_graph as random_graph
from tests.oracles.export import onnx_values as onnx_values
from tests.oracles.export import to_onnx as to_onnx
