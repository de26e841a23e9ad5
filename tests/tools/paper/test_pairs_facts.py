"""Phrases on who leads: against rows whose order is plain."""

from __future__ import annotations

from typing import Any

from paper import pairs_facts
from paper.pairs_rows import TUNED


def row(method: str, value: float | None, reach: float = 0.01) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - reach, value + reach)
    return {"method": method, "last_box": value, "last_box_low": ends[0], "last_box_high": ends[1]}


FIRST = [row("oracle", 0.9), row("grad-cam", 0.8001), row("lrp-epsilon", 0.7999), row("mip-in", 0.7)]
FIRST += [row(TUNED, 0.785), row("deeplift", None), row("gradient", 0.6)]
SECOND = [row(name, 0.5) for name in ("mip-in", "grad-cam", "gradient", "deeplift", "hires-cam")]
THIRD = [row("grad-cam", None), row("mip-in", None)]


def test_who_leads_is_told_by_network() -> None:
    told = pairs_facts.told({"a": FIRST, "b": SECOND, "c": THIRD}, ["last_box"])
    assert told["last_box_lead"] == (
        "`a` grad-cam, lrp-epsilon (0.800); `b` mip-in, grad-cam, gradient and 2 others (0.500)"
    )
    # Its interval ends at .795, and the best other one's begins at .790.
    assert told["last_box_level_preset"] == "`a`"
    assert told["last_box_level_default"] == "`b`"
    # Figures: .8, .785, .7, .6.
    assert told["last_box_rank_preset"] == "`a` 2 of 4"
    assert told["last_box_rank_default"] == "`a` 3 of 4, `b` 1 of 1"


def test_where_no_network_is_level_it_says_none() -> None:
    rows = [row("grad-cam", 0.8), row(TUNED, 0.77), row("mip-in", 0.81)]
    told = pairs_facts.told({"a": rows}, ["last_box"])
    assert told["last_box_level_preset"] == "none"
    assert told["last_box_level_default"] == "`a`"
    assert told["last_box_lead"] == "`a` mip-in (0.810)"
