"""The tokens of a sample as people read them, without those that only fill it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.beside import others_of
from mipin_ref.errors import InvalidData
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.texts import Texts, counts_tokens, role_of
from mipin_ref.layers import HostArray


@dataclass(frozen=True, eq=False)
class Said:
    """drawn: [T] which places hold tokens; tokens, joints: of these, see `Encoded`; no joints where ids were given."""

    drawn: npt.NDArray[np.bool_]
    tokens: Sequence[str]
    joints: Sequence[str] | None


def said_of(explainer: Explainer, x: HostArray, row: int, n: int) -> Said | None:
    """The tokens of sample n of a batch, which is `row` of all; None of what holds no ids."""
    return said_in(explainer.texts, x, n, explainer.rows[row]) if explainer.inputs.kind == "tokens" else None


def check_masks(x: HostArray, first: int = 0) -> None:
    """Raises InvalidData where a mask hides all tokens of one of the samples x of ids; first: the number of the first
    of them.
    """
    for name, value in others_of(x).items():
        hidden = (value.reshape(len(x), -1) == 0).all(axis=1)
        if role_of(name) == "mask" and hidden.any():
            raise InvalidData(
                f"text {first + int(hidden.argmax())}: its mask {name!r} hides all of its tokens, and there is nothing "
                "to explain"
            )


def said_in(texts: Texts | None, x: HostArray, n: int, number: int) -> Said:
    """The tokens of sample n of a batch of ids, which is `number` of all that are stored."""
    ids = [int(one) for one in x[n].ravel()]
    if texts is not None and texts.encoded is not None:
        one = texts.encoded[number]
        return Said(np.arange(len(ids)) < len(one.ids), one.tokens, one.joints)
    names = () if texts is None else texts.names
    drawn = np.ones(len(ids), np.bool_)
    for name, value in others_of(x).items():
        if role_of(name) == "mask" and value[n].size == len(ids):
            drawn &= value[n].ravel() != 0
        elif value.ndim == 1 and counts_tokens(name):
            drawn &= np.arange(len(ids)) < value[n]
    told = [names[one] if 0 <= one < len(names) else str(one) for one in ids]
    return Said(drawn, [token for token, shown in zip(told, drawn, strict=True) if shown], None)


def stored_tokens(explainer: Explainer, x: HostArray, start: int) -> dict[str, HostArray]:
    """What `attribution.npz` holds of samples from row `start` on beside scores: ids [n, T], and tokens [n, T], empty
    where a place only fills up; nothing of what holds no ids.
    """
    rows = []
    for n in range(len(x)):
        said = said_of(explainer, x, start + n, n)
        if said is None:
            return {}
        tokens = iter(said.tokens)
        rows.append([next(tokens) if shown else "" for shown in said.drawn.tolist()])
    return {"ids": np.asarray(x).reshape(len(x), -1), "tokens": np.array(rows, dtype=np.str_)}
