"""Attention against brute force: S and A at every tensor that the file has, and exports of both torch exporters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends import NAMES
from tests.inverse.test_norms import agrees
from tests.networks.attention import NETWORKS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_signals_are_those_of_brute_force(made: str, name: str) -> None:
    agrees(NETWORKS[made](), name)


@pytest.mark.parametrize("options", [{"conv_bias": True}, {"local": False}, {"ridge": 10.0}])
@pytest.mark.parametrize("made", ["vision_transformer", "one_head", "windows"])
def test_other_options(made: str, options: dict[str, Any]) -> None:
    agrees(NETWORKS[made](), "numpy", **options)
