"""What the pages show runs as shown, and what they name exists.

The rule for a page: a fence with no language, `sh` or `bash` is a command and is run; `python` is run; `json` is read;
`text` is output; `js` is run in tests/export/test_node.py; `cpp` is written to the file that its first line names, for
the commands behind it. No other language is known, so that there is no block which nothing tries. The blocks of a page
run in order, in a folder of their own that holds copies of models_onnx/ and tools/; what one writes the next may read.
Two blocks of README.md are left to `.ci/run`: the ones that set up an environment, behind `<!-- set-up command -->` and
`<!-- test command -->`. A command in a line of text that would take too long, such as that of a table of figures, is
parsed by its own program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.pages.page import (
    JSON,
    MARKERS,
    ROOT,
    SET_UP,
    TEST,
    TEXTS,
    PageError,
    blocks,
    inline_commands,
    links,
    marked,
    name_of,
    prose,
)

LONGEST_README, LONGEST = 150, 300
"""Lines."""
PROVIDED = ("models_onnx", "tools")
RUNNER, PARSER = (Path(__file__).with_name(name) for name in ("runner.py", "parser.py"))


def environment() -> dict[str, str]:
    """One in which `mipin` and `python` are those of the tests, and import this tree."""
    beside = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run_page(name: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The blocks of a page, in `folder`, which holds copies of PROVIDED afterwards."""
    for provided in PROVIDED:
        shutil.copytree(ROOT / provided, folder / provided, ignore=shutil.ignore_patterns("__pycache__"))
    shown = [
        (f"{name}:{block.line}", block.language, block.text)
        for block in blocks(text)
        if block.runs and not (name == "README.md" and block.marker in MARKERS)
    ]
    listed = folder.with_suffix(".json")
    listed.write_text(json.dumps(shown), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(RUNNER), str(listed)], cwd=folder, env=environment(), capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if "```" in text])
def test_every_block_of_a_page_runs_as_printed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    done = run_page(name, TEXTS[name], folder)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize(
    ("page", "place"),
    [
        ("```\nmipin --version\n```\n\n```\nmipin frobnicate\n```\n", "page.md:6"),
        ("```\nfalse\ntrue\n```\n", "page.md:2"),
        ("```sh\nfalse | true\n```\n", "page.md:2"),
        ("```\necho $UNSET_VARIABLE_OF_A_PAGE\n```\n", "page.md:2"),
        ("```python\na = 1\n```\n\n```python\nassert a == 2\n```\n", "page.md:6"),
        ("```python\nraise SystemExit(0)\n```\n", "page.md:2"),
        ("<!-- set-up command -->\n```\nfalse\n```\n", "page.md:3"),
        ("<!-- slow -->\n```\nfalse\n```\n", "page.md:3"),
    ],
)
def test_a_block_that_fails_is_told_with_its_place(page: str, place: str, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    done = run_page("page.md", page, folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"{place}: this block fails"


def test_blocks_run_in_order_and_see_what_those_before_them_left(tmp_path: Path) -> None:
    page = (
        "```python\nn = 3\nopen('a', 'w').write('x' * n)\n```\n"
        "```\ncat a a > b\n```\n"
        "```python\nassert len(open('b').read()) == 2 * n\n```\n"
    )
    folder = tmp_path / "scratch"
    folder.mkdir()
    assert run_page("page.md", page, folder).returncode == 0


def test_cpp_is_written_for_the_commands_behind_it(tmp_path: Path) -> None:
    page = (
        "```cpp\n// three.cpp\nint main() { return 3; }\n```\n\n"
        "```\ng++ three.cpp -o three\n./three || test $? = 3\n```\n"
    )
    folder = tmp_path / "scratch"
    folder.mkdir()
    assert run_page("page.md", page, folder).returncode == 0


@pytest.mark.parametrize(
    "page",
    [
        "```console\nmipin demo\n```\n",
        "```Python\n1\n```\n",
        "~~~\nmipin demo\n~~~\n",
        "  ```\n  mipin demo\n  ```\n",
        "```\nmipin demo\n",
        "```\nmipin demo\n```text\n```\n",
        "    mipin demo -o out\n",
        "    $ python tools/bench.py zoo --samples 2\n",
        "```text\nmipin fit a b\n```\n",
        "```text\n$ mipin fit a b\n```\n",
        "```\n\n```\n",
        "```cpp\nint main() {}\n```\n",
    ],
)
def test_a_block_that_would_not_be_run_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="line"):
        blocks(page)


def test_comments_of_figures_mark_no_block() -> None:
    text = "<!-- figures: a-table -->\n<!-- end -->\n```\nmipin demo\n```\n"
    assert [block.marker for block in blocks(text)] == [None]


@pytest.mark.parametrize("name", TEXTS)
def test_json_blocks_are_json(name: str) -> None:
    for block in blocks(TEXTS[name]):
        if block.language == JSON:
            json.loads(block.text)


def test_only_the_readme_leaves_blocks_to_ci_and_just_two() -> None:
    used = Counter((name, block.marker) for name, text in TEXTS.items() for block in blocks(text) if block.marker)
    assert used == {("README.md", SET_UP): 1, ("README.md", TEST): 1}
    assert marked(TEXTS["README.md"], SET_UP).text.rstrip().endswith("mipin demo")
    assert "pytest" in marked(TEXTS["README.md"], TEST).text


def test_ci_takes_both_commands_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for marker in MARKERS:
        assert script.count(f'"{marker}"') == 1
        assert marked(TEXTS["README.md"], marker).text.strip() not in script


def parsed(commands: list[str], folder: Path) -> list[str | None]:
    """What is wrong with each, by its own program."""
    listed = folder / "commands.json"
    listed.write_text(json.dumps(commands), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(PARSER), str(listed)], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[str | None] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_every_command_in_a_line_of_text_is_one_that_its_program_understands(tmp_path: Path) -> None:
    named = [(name, line, command) for name, text in TEXTS.items() for line, command in inline_commands(text)]
    assert len(named) > 30
    problems = parsed([command for _, _, command in named], tmp_path)
    wrong = [
        f"{name}:{line}: {command}: {problem}"
        for (name, line, command), problem in zip(named, problems, strict=True)
        if problem is not None
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("mipin demo -o out", None),
        ("mipin fit model.onnx x.npz --target 3 -o three.mipin", None),
        ("mipin golden make", None),
        ("mipin golden break", "there is no"),
        ("mipin frobnicate", "there is no"),
        ("mipin fit model.onnx x.npz --target 3 -o three.mipin --rigde 1", "--rigde"),
        ("mipin fit model.onnx", "required"),
        ("python tools/bench.py zoo --samples 2", None),
        ("python tools/bench.py zoo --images 2", "--images"),
        ("python tools/bench.py gram", None),
        ("python tools/bench.py grams", "invalid choice"),
        ("python tools/bench.py gram --pounds 3", "--pounds"),
        ("python tools/reproduce_paper.py table3", "invalid choice"),
        ("python tools/no_such_tool.py", "there is no"),
    ],
)
def test_a_command_that_its_program_does_not_understand_is_found(
    command: str, problem: str | None, tmp_path: Path
) -> None:
    assert inline_commands(f"as `{command}` does") == [(1, command)]
    (found,) = parsed([command], tmp_path)
    assert found is None if problem is None else found is not None and problem in found


@pytest.mark.parametrize(
    "text", ["`mipin fit MODEL DATA`", "`mipin`", "`mipin_ref`", "`python -m tests`", "```\nmipin x y\n```"]
)
def test_forms_with_words_in_capitals_are_no_commands(text: str) -> None:
    assert inline_commands(text) == []


@pytest.mark.parametrize("name", TEXTS)
def test_pages_are_short(name: str) -> None:
    assert len(TEXTS[name].splitlines()) <= (LONGEST_README if name == "README.md" else LONGEST)


@pytest.mark.parametrize("name", TEXTS)
def test_tables_have_as_many_cells_in_every_row(name: str) -> None:
    numbered = [(line, re.sub(r"`[^`]*`", "", row)) for line, row in prose(TEXTS[name])]
    cells = {line: len(re.findall(r"(?<!\\)\|", row)) for line, row in numbered if row.startswith("|")}
    uneven = [f"{name}:{line}" for line, count in cells.items() if cells.get(line - 1, count) != count]
    assert not uneven


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as repositories show them."""
    heads = (re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()) for line in text.splitlines() if line[:1] == "#")
    return {head.replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    missing = []
    for line, target in links(TEXTS[name]):
        path, _, anchor = unquote(target).partition("#")
        place = (ROOT / name).parent / path if path else ROOT / name
        inside = place.resolve().is_relative_to(ROOT.resolve())
        if not (inside and place.exists() and (not anchor or anchor in anchors(place.read_text(encoding="utf-8")))):
            missing.append(f"{name}:{line}: {target}")
    assert not missing


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set(), ["README.md"]
    while new:
        name = new.pop()
        reached.add(name)
        for _, target in links(TEXTS[name]):
            place = ((ROOT / name).parent / unquote(target).partition("#")[0]).resolve()
            if place.suffix == ".md" and name_of(place) not in {*reached, *new}:
                new.append(name_of(place))
    assert set(TEXTS) <= reached


@pytest.mark.parametrize("name", TEXTS)
def test_pages_hold_no_path_of_one_machine(name: str) -> None:
    assert not re.findall(r"(?<![\w.:/}])(?:/(?:home|root|work|tmp|mnt|Users|opt)/|~/|[A-Z]:\\)\S*", TEXTS[name])
