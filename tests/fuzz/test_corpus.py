"""Every input that was once a fault is read or refused by a MipinError, and leaves nothing else behind."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mipin_ref.errors import MipinError
from tests.fuzz.parts import CORPUS, kind

INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_dir())
CALLS = json.loads((CORPUS / "calls.json").read_bytes())


@pytest.mark.parametrize("source", INPUTS, ids=[f"{path.parent.name}-{path.name}" for path in INPUTS])
def test_a_file_that_was_a_fault(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    shutil.copytree(source, folder)
    with contextlib.suppress(MipinError):
        kind(source.parent.name).ask(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS, ids=[f"{i}-{call['function']}" for i, call in enumerate(CALLS)])
def test_a_call_that_was_a_fault(call: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "call.json").write_text(json.dumps(call))
    with contextlib.suppress(MipinError):
        kind("value").ask(tmp_path)


def test_there_is_a_corpus() -> None:
    assert len(INPUTS) >= 5
    assert len(CALLS) >= 40
