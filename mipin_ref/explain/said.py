"""The tokens of a sample as people read them, without those that only fill it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.beside import others_of
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.texts import role_of
from mipin_ref.layers import HostArray


@dataclass(frozen=True, eq=False)
class Said:
    """drawn: [T] which places hold tokens; tokens, joints: of these, see `Encoded`; no joints where ids were given."""

    drawn: npt.NDArray[np.bool_]
    tokens: Sequence[str]
    joints: Sequence[str] | None


def said_of(explainer: Explainer, x: HostArray, row: int, n: int) -> Said | None:
    """The tokens of sample n of a batch, which is `row` of all; None of what holds no ids."""
    if explainer.inputs.kind != "tokens":
        return None
    ids = [int(one) for one in x[n].ravel()]
    texts = explainer.texts
    if texts is not None and texts.encoded is not None:
        one = texts.encoded[explainer.rows[row]]
        return Said(np.arange(len(ids)) < len(one.ids), one.tokens, one.joints)
    names = () if texts is None else texts.names
    drawn = np.ones(len(ids), np.bool_)
    for name, value in others_of(x).items():
        if role_of(name) == "mask" and value[n].size == len(ids):
            drawn &= value[n].ravel() != 0
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
