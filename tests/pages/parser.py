"""Parses commands with the parsers of the programs themselves, and runs none: `python parser.py COMMANDS`.

COMMANDS: a JSON list of commands as they are written on a page. Prints a JSON list: for each what is wrong with it, or
null. A program is run up to the first time that it parses arguments.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]


class Parsed(BaseException):
    """The arguments were understood."""


def stop_behind(parse: Any) -> Any:
    def parse_args(self: argparse.ArgumentParser, args: Sequence[str] | None = None, namespace: Any = None) -> NoReturn:
        parse(self, args, namespace)
        raise Parsed

    return parse_args


def problem(command: str) -> str | None:
    """What is wrong with a command, None where its program understands it.

    One that only names a program and what it does, as `mipin golden make`, must be understood with --help behind it.
    """
    program, *arguments = shlex.split(command)
    found = parsing_problem(program, arguments)
    names = arguments if program == "mipin" else arguments[1:]
    if found is not None and all(re.fullmatch("[a-z-]*[a-z]", name) and name[0] != "-" for name in names):
        return parsing_problem(program, [*arguments, "--help"])
    return found


def parsing_problem(program: str, arguments: Sequence[str]) -> str | None:
    printed = io.StringIO()
    try:
        with redirect_stderr(printed), redirect_stdout(printed):
            if program == "mipin":
                from mipin_ref.cli import main

                main(list(arguments))
            else:
                script = ROOT / arguments[0]
                if not script.is_file():
                    return f"there is no {arguments[0]}"
                sys.argv = [str(script), *arguments[1:]]
                sys.path[0] = str(script.parent)
                runpy.run_path(str(script), run_name="__main__")
    except Parsed:
        return None
    except SystemExit as end:
        # --help and --version are understood, and end the program.
        return None if end.code in (0, None) else printed.getvalue().strip().splitlines()[-1]
    return "it ended without parsing its arguments"


def main() -> None:
    argparse.ArgumentParser.parse_args = stop_behind(argparse.ArgumentParser.parse_args)  # type: ignore[method-assign]
    commands = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = [problem(command) for command in commands]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
