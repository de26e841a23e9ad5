"""The folder of results: parts are made once, kept whole, and made again where options differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from measured.arithmetic import digest, networks
from paper import results
from tests.tools.paper.reading import part_in


def counted(store: Any, options: dict[str, Any], calls: list[int]) -> Any:
    def make() -> dict[str, Any]:
        calls.append(len(calls))
        return {"call": len(calls)}

    return store.part("one", "a part", options, make)


def test_a_part_is_made_once_and_again_for_other_options(tmp_path: Path) -> None:
    store = results.Results(tmp_path / "out")
    calls: list[int] = []
    assert counted(store, {"n": 1, "pair": (3, 8)}, calls) == {"call": 1}
    assert counted(store, {"n": 1, "pair": (3, 8)}, calls) == {"call": 1}
    assert counted(results.Results(tmp_path / "out"), {"pair": [3, 8], "n": 1}, calls) == {"call": 1}
    assert counted(store, {"n": 2, "pair": (3, 8)}, calls) == {"call": 2}
    assert len(calls) == 2
    assert part_in(store, "one", "a part").options == {"n": 2, "pair": [3, 8]}


def test_a_part_of_another_arithmetic_is_made_again(tmp_path: Path) -> None:
    """Or of one that is not known: figures of the same options are no figures of the same engine."""
    store, calls = results.Results(tmp_path), list[int]()
    counted(store, {}, calls)
    path = tmp_path / "one--a_part.json"
    content = json.loads(path.read_text())
    root = Path(mr.__file__).parents[1]
    assert content["arithmetic"] == f"{digest(root)} {networks(root)}"
    for older in ({**content, "arithmetic": "0" * 16}, {k: v for k, v in content.items() if k != "arithmetic"}):
        path.write_text(json.dumps(older))
        assert part_in(store, "one", "a part").result == content["result"], "a report still shows it"
        calls.clear()
        counted(store, {}, calls)
        counted(store, {}, calls)
        assert calls == [0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_finished_outlasts_an_interruption(tmp_path: Path, error: type[BaseException]) -> None:
    store = results.Results(tmp_path)
    store.part("one", "first", {}, lambda: {"value": 1})

    def interrupted() -> dict[str, Any]:
        raise error

    with pytest.raises(error):
        store.part("one", "second", {}, interrupted)
    with pytest.raises(error):
        store.part("one", "first", {"other": 1}, interrupted)
    assert part_in(store, "one", "first").result == {"value": 1}
    assert store.read("one", "second") is None
    assert [path.name for path in tmp_path.iterdir()] == ["one--first.json"]


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    store = results.Results(tmp_path)
    made = store.part(
        "one",
        "a/b c",
        {},
        lambda: {"x": np.float32(0.5), "y": np.arange(2), "z": float("nan"), 3: (1, 2), "p": tmp_path},  # type: ignore[dict-item]
    )
    assert made == {"x": 0.5, "y": [0, 1], "z": None, "3": [1, 2], "p": tmp_path.name}
    assert part_in(store, "one", "a/b c").result == made
    json.loads((tmp_path / "one--a_b_c.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    with pytest.raises(TypeError, match="cannot hold set"):
        store.part("one", "two", {}, lambda: {"x": {1}})


@pytest.mark.parametrize("text", ["", "[]", '{"options": {}}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "one--first.json").write_text(text)
    with pytest.raises(ValueError, match=r"one--first\.json is no result of an experiment"):
        results.Results(tmp_path).read("one", "first")


def test_parts_that_are_there_come_by_name_and_of_a_network(tmp_path: Path) -> None:
    store = results.Results(tmp_path)
    for network in ("", "net"):
        store.part("one", results.part_of(network, "first"), {"network": network}, lambda: {"value": 1})
    assert list(store.parts("one", ["none", "first"])) == ["first"]
    (part,) = store.parts("one", ["first"], "net").values()
    assert part.options == {"network": "net"}
    assert (tmp_path / "one--net--first.json").is_file()


def test_a_refusal_is_a_result_and_a_fault_is_not() -> None:
    def refused() -> dict[str, Any]:
        raise mr.UnsupportedModel("has no map")

    assert results.or_failed(refused)() == {"failed": "has no map"}
    assert results.or_failed(lambda: {"value": 1})() == {"value": 1}
    with pytest.raises(ZeroDivisionError):
        results.or_failed(lambda: {"value": 1 / 0})()
