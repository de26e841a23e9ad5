"""Which entries of a tensor a selection takes, and the layer that takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.layers import Gather, Shape, Slice
from mipin_ref.layers.kind import Pick


def selection(
    name: str, source: str, output: str, shape: Shape, picks: Sequence[Pick], *, crops: bool = False
) -> Slice | Gather | None:
    """The layer that takes `picks` of a tensor; None where they are all of it in its order. A box is a Slice.

    crops: of a box, whether it is what a negative Pad keeps.
    """
    picks = tuple(_trimmed(pick, length) for pick, length in zip(picks, shape, strict=True))
    if all(pick is None for pick in picks):
        return None
    out_shape = picked_shape(shape, picks)
    if all(pick is None or np.all(np.diff(pick) == 1) for pick in picks):
        begin = tuple(0 if pick is None else int(pick[0]) for pick in picks)
        return Slice(
            name=name,
            inputs=(source,),
            output=output,
            in_shapes=(shape,),
            out_shape=out_shape,
            begin=begin,
            end=tuple(b + n for b, n in zip(begin, out_shape, strict=True)),
            crops=crops,
        )
    return Gather(name=name, inputs=(source,), output=output, in_shapes=(shape,), out_shape=out_shape, picks=picks)


def picked_shape(shape: Shape, picks: Sequence[Pick]) -> Shape:
    """The shape of what is taken of a sample."""
    return tuple(length if pick is None else len(pick) for pick, length in zip(picks, shape, strict=True))


def same_picks(one: Sequence[Pick], other: Sequence[Pick]) -> bool:
    """Whether two selections of one tensor take the same entries."""
    return all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


def one_after_another(first: Sequence[Pick], second: Sequence[Pick]) -> tuple[Pick, ...]:
    """The picks of one selection that is as good as two."""
    return tuple(b if a is None else a if b is None else a[b] for a, b in zip(first, second, strict=True))


def _trimmed(pick: Pick, length: int) -> Pick:
    return None if pick is None or (len(pick) == length and np.array_equal(pick, np.arange(length))) else pick
