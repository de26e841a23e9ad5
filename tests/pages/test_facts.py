"""What the pages state of the code is so: operators, methods, options, shares of memory, the version."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import subprocess
import sys
import tomllib

import mipin_ref as mr
from mipin_ref import store
from mipin_ref.cli.dispatch import MODULES
from mipin_ref.cli.evaluate import command
from mipin_ref.cli.evaluate.measure import MEASURES
from mipin_ref.data.presets import PRESETS
from mipin_ref.golden import case
from mipin_ref.graph.fusions.spelled_out import FUSIONS
from mipin_ref.graph.ops import HANDLERS
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes import checkpoint
from mipin_ref.layers import KINDS
from mipin_ref.panel.registry import method_named
from tests.pages.page import README, ROOT, TEXTS
from tests.test_imports import ALLOWED, GROUND, INSIDE


def test_every_operator_that_loads_is_named() -> None:
    table = TEXTS["mipin_ref/graph/README.md"]
    first_cells = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    named = set(re.findall(r"[A-Z][A-Za-z0-9]+", first_cells))
    operators = {op.split(".")[-1] for op in HANDLERS} | {*FUSIONS}
    assert operators <= named


def test_every_method_is_named() -> None:
    cells = [line.split("|")[1] for line in TEXTS["mipin_ref/methods/README.md"].splitlines() if line.startswith("|")]
    assert set(mr.methods()) <= set(re.findall(r"`([a-z+-]+)`", "\n".join(cells)))


def test_every_option_of_a_method_is_in_its_row() -> None:
    """The options of a fit, which MIP-IN takes, stand in the table of these."""
    rows = [line.split("|") for line in TEXTS["mipin_ref/methods/README.md"].splitlines() if line.startswith("| `")]
    told = {name: row[4] for row in rows for name in re.findall(r"`([a-z0-9+-]+)`", row[1])}
    of_a_fit = set(inspect.signature(mr.fit).parameters)
    asked = {name: set(method_named(name).option_names()) for name in mr.methods()}
    missing = {
        (n, o) for n, options in asked.items() for o in options - of_a_fit if not re.search(rf"\b{o}\b", told[n])
    }
    assert sum(map(len, asked.values())) > 30
    assert not missing


def test_every_command_is_in_the_table_of_the_readme() -> None:
    rows = [line.split("|")[1] for line in TEXTS["README.md"].splitlines() if line.startswith("| `mipin ")]
    assert {name for row in rows for name in re.findall(r"`mipin (\w+)", row)} == set(MODULES)


def test_every_preset_and_every_measure_is_named() -> None:
    readme, metrics = TEXTS["README.md"], TEXTS["mipin_ref/metrics/README.md"]
    assert set(PRESETS) <= set(re.findall(r"`(\w+)`", readme[readme.index("`--preprocess PRESET`") :]))
    assert set(MEASURES) == set(re.findall(r"^\| `mipin evaluate (\w+) ", metrics, re.M))


def test_every_kind_of_layer_is_in_the_golden_format() -> None:
    schema = json.loads((ROOT / "mipin_ref/golden/manifest.schema.json").read_text(encoding="utf-8"))
    page = TEXTS["mipin_ref/golden/FORMAT.md"]
    table = page[page.index("### layers") : page.index("### steps")]
    kinds = {kind.kind for kind in KINDS}
    assert set(schema["$defs"]["layer"]["properties"]["kind"]["enum"]) == kinds
    assert set(re.findall(r"^\| ([A-Z]\w+) \|", table, re.M)) == kinds


def test_the_table_of_imports_is_the_one_that_is_tested() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (–|(?:[`*]\w+[`*](?:, )?)+) \|$", TEXTS["CONTRIBUTING.md"], re.M)
    told = {room: set(re.findall(r"[`*](\w+)[`*]", known)) for room, known in rows}
    assert "first ten rooms" in TEXTS["CONTRIBUTING.md"]
    assert {room for room, _ in rows[:10]} == GROUND
    spelt = {room: known - {"ground"} | (GROUND if "ground" in known else set()) for room, known in told.items()}
    package = "mipin_ref"
    assert spelt == {room or package: {name or package for name in known} for room, known in ALLOWED.items()}


def test_the_table_of_rooms_within_rooms_is_the_one_that_is_tested() -> None:
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| (–|(?:`\w+`(?:, )?)+) \|$", TEXTS["CONTRIBUTING.md"], re.M)
    told: dict[str, dict[str, set[str]]] = {}
    for room, inside, known in rows:
        told.setdefault(room, {})[inside] = set(re.findall(r"`(\w+)`", known))
    assert told == INSIDE


def test_formats_are_stated_with_their_versions() -> None:
    told = dict(re.findall(r"\| `(mipin-\w+)` (\d+) \|", TEXTS["CONTRIBUTING.md"]))
    kinds = {
        kind.format: str(kind.version)
        for kind in (store.INVERSE, store.INVERSES, store.PATTERNS, checkpoint.PASS, case.KIND)
    }
    assert told == kinds | {command.FORMAT: str(command.VERSION)}


def test_options_of_a_fit_are_named_with_their_defaults() -> None:
    table = [line for line in TEXTS["mipin_ref/inverse/README.md"].splitlines() if line.startswith("| `")]
    stated = re.findall(r"`(\w+)` \(([^)]+)\)", "\n".join(line.split("|")[1] for line in table))
    options = inspect.signature(mr.fit).parameters
    assert len(stated) > 10
    assert {field.name for field in dataclasses.fields(Options)} <= {name for name, _ in stated}
    for name, default in stated:
        assert options[name].default == ast.literal_eval(default), name


def test_shares_of_memory_are_stated_by_constants_alone() -> None:
    """A number in a sentence outlives the constant that it repeats."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "mipin_ref").rglob("*.py")}
    share = re.compile(r"(\d ?%|\d/\d+|half|third|quarter|tenth) of\s+`{0,2}memory\b")
    stated = [str(place) for place, text in [*sources.items(), *TEXTS.items()] if share.search(text)]
    assert not stated


def test_the_version_is_one_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert re.findall(r"^## (.*)$", TEXTS["CHANGELOG.md"], re.M)[:2] == ["Unreleased", version]
    assert mr.__version__ == version


def test_every_public_name_is_there_without_another_import() -> None:
    """In a process of its own: what is imported elsewhere becomes an attribute of the package."""
    told = "import mipin_ref as mr\nfor name in mr.__all__: print(name, getattr(mr, name) is not None, name in dir(mr))"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [f"{name} True True" for name in mr.__all__]
    assert {"data", "golden", "metrics", "__version__"} <= set(mr.__all__)


def test_the_readme_begins_with_a_picture_of_the_project() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert shown
    assert (ROOT / shown[0]).read_bytes().startswith(b"\x89PNG")
