"""A file of code as the engine's are, with something of everything that can be called or be another."""

CODE = '''
"""A file."""
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from mipin_ref.solve.b import Kind as Other
NUMBER = 2
def doubled(x: int, y: int = 1) -> int:
    """Double."""
    if x < 0:
        raise ValueError("too small")
    made: int = NUMBER * x  # as it is
    def inner(z: int) -> int:
        return z
    return inner(made) * (lambda x: x)(y)
class Kind:
    """A kind."""
    size = 3
    twice = lambda x: x + x
    def __init__(self):
        self.by = lambda x: x
    @property
    def half(self):
        return self.size / 2
    def several(self):
        yield from (self.by(x) for x in range(3))
class Other(Kind):
    """Another."""
    size = 5
OUTSIDE = lambda x: x + 1
RULES = {Kind: 1, "other": 2}
'''
