"""What measures declare of their arguments, and the options of `mipin evaluate` that come of it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mipin_ref import metrics
from mipin_ref.cli.arguments import index
from mipin_ref.cli.dispatch import _parser
from mipin_ref.cli.evaluate.argument import Choice, Switch, Value, default_of, option_of
from mipin_ref.cli.evaluate.arguments import MeasureParser
from mipin_ref.cli.evaluate.deletion import CURVES, USUAL
from mipin_ref.cli.evaluate.measure import MEASURES, Measure, Row, measure_of
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.errors import InvalidData

PAGE = (Path(metrics.__file__).parent / "README.md").read_text(encoding="utf-8")
NEEDED = {"box": {"boxes": "b.npy"}}


def parsed(metric: str, *options: str) -> Namespace:
    needed = [word for name, value in NEEDED.get(metric, {}).items() for word in (option_of(name), value)]
    return _parser().parse_args(["evaluate", metric, "net.onnx", "x.npy", *needed, *options])


@pytest.mark.parametrize("metric", MEASURES)
def test_the_options_of_a_metric_are_those_that_its_measure_declares(metric: str) -> None:
    arguments = measure_of(metric).arguments
    common = MeasureParser(metric=metric)
    shared = {action.dest for action in common._actions}
    common.take_arguments()
    common.take_arguments()
    own = [action.dest for action in common._actions if action.dest not in shared]
    assert own == [argument.name for argument in arguments]
    options = parsed(metric)
    for argument in arguments:
        assert getattr(options, argument.name) == NEEDED.get(metric, {}).get(argument.name, argument.default)
        argument.check(options)


@pytest.mark.parametrize("metric", MEASURES)
def test_every_metric_is_on_the_page_of_metrics(metric: str) -> None:
    assert f"| `mipin evaluate {metric} MODEL DATA " in PAGE
    assert MEASURES[metric][1]


def test_every_function_is_on_the_page_of_metrics() -> None:
    helpers = ("tiled", "arranged_mosaics", "quantus_model")
    functions = [name for name in metrics.__all__ if name.islower() and name not in helpers]
    assert len(functions) == 7
    assert "`mr.metrics.quantus_model`" in PAGE
    for name in functions:
        assert f"`{name}(" in PAGE


def test_defaults_are_those_of_the_functions() -> None:
    options = parsed("deletion")
    assert (options.steps, options.score) == (100, "probability")
    # What they fill with depends on the data, and is no value of the options.
    assert (options.deletion_fill, options.insertion_fill) == (None, None)
    assert {kind: default_of(curve, "fill") for kind, curve in CURVES.items()} == USUAL
    assert USUAL == {"deletion": 0.0, "insertion": "blur"}
    assert parsed("grid").grid == default_of(metrics.grid_pointing_game, "grid") == 2
    assert (parsed("randomization").ssim, parsed("randomization", "--no-ssim").ssim) == (True, False)
    with pytest.raises(TypeError, match="parameter 'maps' of deletion has no default"):
        default_of(metrics.deletion, "maps")


def test_an_argument_tells_its_default_once() -> None:
    parser = ArgumentParser(prog="p")
    for argument in (
        Value("so_many", index, "how many", "N", default=3, low=2),
        Choice("kind", ("a", "b"), "b", "which"),
        Switch("plain", "no colours"),
        Switch("bold", "thin letters", default=True),
    ):
        argument.add(parser)
    told = parser.format_help()
    assert "--so-many N" in told
    assert "how many (default 3)" in told
    assert vars(parser.parse_args([])) == {"so_many": 3, "kind": "b", "plain": False, "bold": True}
    given = parser.parse_args(["--so-many", "5", "--kind", "a", "--plain", "--no-bold"])
    assert vars(given) == {"so_many": 5, "kind": "a", "plain": True, "bold": False}


def test_a_value_below_the_least_is_refused_before_anything_is_read() -> None:
    argument = Value("so_many", index, "how many", "N", default=3, low=2)
    argument.check(Namespace(so_many=2))
    with pytest.raises(InvalidData, match=r"^--so-many must be at least 2, not 1$"):
        argument.check(Namespace(so_many=1))
    assert option_of("so_many") == "--so-many"


def test_a_measure_that_declares_nothing_is_no_measure() -> None:
    with pytest.raises(TypeError, match="Silent does not declare its arguments"):

        class Silent(Measure):
            pass


def test_a_new_measure_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A measure whose arguments stand nowhere but on it."""

    class CountMeasure(Measure):
        arguments = (Value("per", index, "samples a row", "N", default=7),)

        def __init__(self, study: Study) -> None:
            self.title, self.settings = "count", {"per": study.options.per}

        def row(self, name: str) -> Row | None:
            return {"count": 1}

        def table(self, rows: Mapping[str, Row]) -> str:
            return str(dict(rows))

    module: Any = ModuleType("mipin_ref.cli.evaluate.count")
    module.CountMeasure = CountMeasure
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(MEASURES, "count", ("CountMeasure", "how many there are"))
    assert (parsed("count").per, parsed("count", "--per", "3").per) == (7, 3)
    with pytest.raises(SystemExit):
        parsed("count", "--help")
    assert "samples a row (default 7)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parsed("count", "--steps", "3")
    assert "unrecognized arguments: --steps" in capsys.readouterr().err
