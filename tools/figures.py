"""Figures on pages: measured by the commands of their tables, and written from what these told.

python tools/figures.py measure                  every table that was not measured on this arithmetic: hours
python tools/figures.py measure benchmarks-gram  one table
python tools/figures.py measure --plan           what that would run, and what each command took last time
python tools/figures.py trace benchmarks-gram    which functions a command calls that was measured untraced
python tools/figures.py write                    the pages from the tables
python tools/figures.py --check                  do the pages say what the tables hold?

A table is a file of tools/measured/tables. What is measured is kept run by run, so that an interruption loses one run
alone; a run that fails is told at the end and the others go on. Several processes may measure beside each other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from measured.arithmetic import arithmetic, changed
from measured.carried import carry
from measured.cells import FiguresError
from measured.engine import Engine
from measured.measure import measure
from measured.pages import differences, tables_in, write_pages
from measured.plan import plan
from measured.typed import typed_in

ROOT = Path(__file__).resolve().parents[1]


SHOWN = 3
"""Functions that a line names, at most."""


def check() -> int:
    """Print what differs, what no table writes, and which tables are of older arithmetic. Gives the exit code."""
    found = [*differences(ROOT), *typed_in(ROOT)]
    for line in found:
        print(line)
    tables, older = tables_in(ROOT), old()
    print(f"{len(tables)} tables of figures, {len(found)} differences")
    if older:
        print("measured before the last change of what they call:")
        print("\n".join(older))
    return 1 if found else 0


def old() -> list[str]:
    """A line for each table of which a run was measured on other arithmetic, with what changed since; the last names
    those of which nobody knows that.
    """
    engine, told, untraced = Engine.of(ROOT), [], []
    for name, table in tables_in(ROOT).items():
        runs = [run for run in table.runs if run.arithmetic != arithmetic(ROOT, run, engine)]
        lists = [changed(ROOT, run, engine) for run in runs]
        names = list(dict.fromkeys(one for some in lists for one in some or ()))
        more = [f"and {len(names) - SHOWN} more"] * (len(names) > SHOWN)
        if names:
            told.append(f"  {name}: {', '.join([*names[:SHOWN], *more])}")
        elif runs:
            untraced.append(name)
    return [*told, *([f"  not traced when they were measured: {', '.join(untraced)}"] if untraced else [])]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="figures.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="compare the pages with the tables; exit code 1 if they differ"
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("write", help="write the figures into the pages")
    measuring = commands.add_parser("measure", help="run the commands of tables, and keep what they tell")
    measuring.add_argument("--again", action="store_true", help="also what was measured on this arithmetic")
    measuring.add_argument("--plan", action="store_true", help="run nothing: list the commands and what each took")
    measuring.add_argument("--untraced", action="store_true", help="what measures time runs once, and is traced later")
    tracing = commands.add_parser(
        "trace", help="run the commands of tables that nobody traced, for what they call alone"
    )
    for one in (measuring, tracing):
        one.add_argument("names", nargs="*", metavar="NAME", help="tables; all where none is named")
        one.add_argument("--data", type=Path, nargs="*", default=[], help="files and folders that commands name")
        one.add_argument("--work", type=Path, default=ROOT / "build" / "figures", help="the folder of their folders")
    options = parser.parse_args(arguments)
    if not options.check and options.command is None:
        parser.error("say measure, write or --check")
    try:
        if options.command in ("measure", "trace"):
            unknown = [name for name in options.names if name not in tables_in(ROOT)]
            if unknown:
                parser.error(f"there is no table of figures {', '.join(unknown)}")
            if options.command == "trace":
                print("\n".join(carry(ROOT, options.names, work=options.work, data=options.data)) or "all traced")
                return 0
            if options.plan:
                print("\n".join(plan(ROOT, options.names, again=options.again)))
                return 0
            failed = measure(
                ROOT,
                options.names,
                work=options.work,
                data=options.data,
                again=options.again,
                timed_alone=options.untraced,
            )
            print("\n".join(failed) or "all measured")
            return 1 if failed else 0
        if options.command == "write":
            print("\n".join(path.relative_to(ROOT).as_posix() for path in write_pages(ROOT)) or "nothing to write")
        return check() if options.check else 0
    except FiguresError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; what was measured is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
