"""The paper's experiments on this package: each a command that fills a folder of results, and a report of them all.

python tools/reproduce_paper.py table1 --mnist mnist.npz --fashion fashion.npz --results results
python tools/reproduce_paper.py report --results results --out report.html
python tools/reproduce_paper.py depth --model efficientnet_lite0.onnx --photographs folder     a table by itself
python tools/reproduce_paper.py text --networks text                                           another
python tools/reproduce_paper.py rows --mnist mnist.npz --networks text                         another

A part that is there, made with the same options and engine, is not made again; an interruption loses the part in
progress alone.
`report` with --mnist and --fashion (and --model-efficientnet and --photographs) first makes what is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType

import mipin_ref as mr
from paper import depth, mnist_rows, stated, text
from paper.report import EXPERIMENTS, write
from paper.results import Results
from paper.told import tells, told
from training.files import write_json

FIRST = ("study",)
"""Experiments that another one reads."""
ALONE = (depth, text, mnist_rows, stated)
"""Those that are a table by themselves."""


def make_missing(options: argparse.Namespace, results: Results) -> None:
    """Every experiment whose data were given and that lacks parts, with its own default options."""
    for experiment in sorted(EXPERIMENTS, key=lambda one: one.NAME not in FIRST):
        if any(results.read(experiment.NAME, part) is None for part in experiment.expected()):
            arguments = data_arguments(experiment, options)
            if arguments is not None:
                parser = argparse.ArgumentParser()
                experiment.add_arguments(parser)
                experiment.run(parser.parse_args(arguments), results)


def data_arguments(experiment: ModuleType, options: argparse.Namespace) -> list[str] | None:
    """The files that an experiment needs, as arguments; None where one of them was not given."""
    parser = argparse.ArgumentParser()
    experiment.add_arguments(parser)
    given = {
        "mnist": options.mnist,
        "fashion": options.fashion,
        "model": options.model_efficientnet,
        "photographs": options.photographs,
    }
    arguments: list[str] = []
    for action in parser._actions:
        if action.required:
            value = given.get(action.dest) if experiment.NAME != "table2" else None
            if value is None:
                return None
            arguments += [action.option_strings[0], str(value)]
    return arguments


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="reproduce_paper.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for experiment in EXPERIMENTS:
        command = commands.add_parser(experiment.NAME, help=experiment.HELP, description=experiment.__doc__)
        experiment.add_arguments(command)
        command.add_argument("--results", type=Path, required=True, help="the folder that takes the results")
        if tells(experiment):
            command.add_argument("--json", type=Path, help="where rows and values go too, as numbers")
        command.set_defaults(run=experiment.run, experiment=experiment)
    for alone in ALONE:
        command = commands.add_parser(alone.NAME, help=alone.HELP, description=alone.__doc__)
        alone.add_arguments(command)
        command.set_defaults(alone=alone.run)
    report = commands.add_parser("report", help="one self-contained page of the results")
    for name in ("--mnist", "--fashion", "--model-efficientnet", "--photographs"):
        report.add_argument(name, type=Path, help="where given, what is missing is made first")
    report.add_argument("--results", type=Path, required=True)
    report.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    options = parser.parse_args()
    try:
        if "alone" in options:
            options.alone(options)
            return
        results = Results(options.results)
        if options.command == "report":
            make_missing(options, results)
            for line in write(results, options.out):
                print(line, flush=True)
        else:
            options.run(options, results)
            if getattr(options, "json", None) is not None:
                write_json(options.json, told(options.experiment, results, options))
    except (mr.MipinError, ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; what was finished is in the folder of results", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
