"""The cards of the embedded networks: their commands are understood, and name the tools that are there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mipin_ref.data import builtin, builtin_names
from training.sets import DATA_CARDS

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_every_command_of_a_card_is_understood(tmp_path: Path) -> None:
    listed = tmp_path / "commands.json"
    commands = [builtin(name).card["command"] for name in builtin_names()]
    listed.write_text(json.dumps(commands))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "pages" / "parser.py"), str(listed)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(commands, json.loads(done.stdout), strict=True)) == dict.fromkeys(commands)


@pytest.mark.parametrize("name", builtin_names())
def test_the_tools_that_a_card_names_are_there(name: str) -> None:
    card = builtin(name).card
    told = card["command"] + card["dataset"].get("description", "")
    assert all((ROOT / path).is_file() for path in re.findall(r"tools/[\w/]+\.py", told))


def test_a_card_describes_its_data_as_training_does() -> None:
    card = builtin("rgb32_cnn").card["dataset"]
    assert card == {key: DATA_CARDS["rgb32"][key] for key in card}
