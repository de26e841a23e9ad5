"""The cases of the conformance kit: tiny networks, samples and options, and whether they come out again elsewhere.

`tools/make_golden.py` is the command. A case is a function with `@case` in one of the modules imported here; js/
holds a second implementation of them, in plain JavaScript.
"""

from golden import (
    activations,
    attention,
    convolutions,
    digits,
    gates,
    geometry,
    joins,
    norms,
    options,
    pools,
    recurrent,
    solutions,
)

__all__ = [
    "activations",
    "attention",
    "convolutions",
    "digits",
    "gates",
    "geometry",
    "joins",
    "norms",
    "options",
    "pools",
    "recurrent",
    "solutions",
]
