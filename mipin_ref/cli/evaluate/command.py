"""The command: one row a method, kept as soon as it is there, printed as a table or as JSON."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from mipin_ref.cli.asked import told_of_left_out, told_of_without
from mipin_ref.cli.evaluate.measure import Measure, Row, measure_of
from mipin_ref.cli.evaluate.study import Study, make_study
from mipin_ref.cli.failures import alike
from mipin_ref.cli.files import preprocessing_of, told_of, told_of_turned
from mipin_ref.cli.following import OF_CALIBRATION, OF_DATA, OF_TOKENS, following
from mipin_ref.cli.outputs import claim_file
from mipin_ref.cli.tokens import told_of_ids
from mipin_ref.errors import InvalidData
from mipin_ref.files import written_whole
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.inverse.options import ridge_text
from mipin_ref.panel.registry import fit_is_asked
from mipin_ref.store import packages
from mipin_ref.text import one_line

FORMAT, VERSION = "mipin-evaluation", 1
WIDTH = 100


def evaluate(options: Namespace) -> None:
    """Raises MipinError where nothing can be measured, after telling why each method failed."""
    out = None if options.out is None else claim_file(options, options.out)
    made = measure_of(options.metric)
    for argument in made.arguments:
        argument.check(options)
    study = make_study(options, made.takes, needs_layers=made.needs_layers)
    measure = made(study)
    rows: dict[str, Row] = {}
    complete = False
    try:
        for name in study.panel.names:
            row = measure.row(name)
            if row is not None:
                rows[name] = row
            complete = name == study.panel.names[-1]
            if out is not None:
                _write(out, _document(study, measure, rows, complete))
    finally:
        # What was measured before an error or Ctrl-C is shown all the same.
        if rows or study.panel.failures:
            document = _document(study, measure, rows, complete)
            print(json.dumps(document, indent=1) if options.json else _page(study, measure, rows), flush=True)
        if rows and not options.json:
            keep = (*OF_DATA, *OF_TOKENS, *OF_CALIBRATION, "methods")
            shown = following("compare", options, options.data, keep=keep, more=["-o", "report.html"])
            where = "" if out is None else f"{out}\n"
            print(f"{where}next: the maps beside each other: {shown}")
    if not rows:
        raise InvalidData("no method could be measured; the reasons are listed in the output")


def _page(study: Study, measure: Measure, rows: dict[str, Row]) -> str:
    failures = study.panel.failures
    lines = [fill(line, WIDTH, subsequent_indent="  ") for line in (measure.title, *_told(study))]
    lines.append("")
    if rows:
        lines += [measure.table(rows)]
    if isinstance(study.net, ForwardOnly) and study.without:
        told = one_line(told_of_without(study.without, study.net.reason))
        lines += ["", fill(told, WIDTH, subsequent_indent="  ")]
    if study.left_out:
        lines += ["", fill(told_of_left_out(study.left_out), WIDTH, subsequent_indent="  ")]
    if failures:
        lines += [*([""] if rows else []), "failed:"]
        for names, reason in alike(failures, failures):
            lines.append(fill(f"{names}: {reason}", WIDTH, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines)


def _told(study: Study) -> list[str]:
    """What the numbers of every metric depend on."""
    options = study.options
    plain = preprocessing_of(options, study.net).describe()
    if study.tokens is not None:
        plain = told_of_ids(study.net.input_shape, study.run)
    lines = [f"{options.data}: {plain}"]
    lines += [*told_of(options.data, study.data), *told_of_turned(options.data, study.data)]
    if study.calibrated is not None:
        lines += told_of(options.calibration, study.calibrated)
        lines += [
            f"{name} fitted on {len(study.calibrated)} samples of {options.calibration}: "
            f"ridge {ridge_text(options.ridge)}, conv_bias {options.conv_bias}, fit_on {options.fit_on}"
            for name in fit_is_asked(study.panel.names)
        ]
    return lines


def _document(study: Study, measure: Measure, rows: dict[str, Row], complete: bool) -> dict[str, Any]:
    options, net = study.options, study.net
    told = {name: value for name, value in vars(options).items() if name not in ("command", "json", "out")}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "packages": packages(),
        "metric": options.metric,
        "title": measure.title,
        "complete": complete,
        "model": {"file": options.model, "sha256": net.sha256, "output": net.output, "classes": net.classes},
        "data": {
            "path": options.data,
            "samples": len(study.data),
            "preprocessing": preprocessing_of(options, net).describe(),
        },
        "calibration": None
        if study.calibrated is None
        else {"path": options.calibration, "samples": len(study.calibrated)},
        "options": told,
        "method_options": {name: study.panel.options_of(name) for name in study.panel.names},
        "batch": study.batch,
        "settings": measure.settings,
        "methods": rows,
        "failed": study.panel.failures,
    }
    plain: dict[str, Any] = _plain(document)
    return plain


def _plain(value: Any) -> Any:
    """The same for JSON: arrays as lists, and NaN, which JSON has not, as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write(path: Path, document: dict[str, Any]) -> None:
    with written_whole(path) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())
