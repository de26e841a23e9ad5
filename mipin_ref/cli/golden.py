"""`mipin golden make` and `mipin golden verify`."""

from __future__ import annotations

import json
from argparse import Namespace
from shlex import quote

import mipin_ref as mr
from mipin_ref.cli.files import open_samples, told_of_turned
from mipin_ref.cli.fit_options import fit_options
from mipin_ref.cli.outputs import claim_folder
from mipin_ref.data import open_labels
from mipin_ref.golden.case import ARRAYS, MANIFEST

CHECK_FAILED = 1


def golden(options: Namespace) -> int:
    """Returns 1 where a candidate is off."""
    return _make(options) if options.action == "make" else _verify(options)


def _make(options: Namespace) -> int:
    claim_folder(options, options.out, (MANIFEST, ARRAYS), pictures=False)
    net = mr.load(options.model, output=options.output)
    data = open_samples(options, options.data, net)
    case = mr.golden.make(
        options.model,
        data,
        options.target,
        options.out,
        labels=None if options.labels is None else open_labels(options.labels)[: options.limit],
        output=options.output,
        progress=True,
        **fit_options(options),
    )
    for line in told_of_turned(options.data, data):
        print(line)
    print(f"{options.out}: {len(case.tensors)} tensors of {case.manifest['samples']} samples")
    print(f"next: mipin golden verify {quote(options.out)} VALUES, with the arrays of another implementation")
    return 0


def _verify(options: Namespace) -> int:
    verified = mr.golden.verify(options.case, options.candidate, stages=options.stage, dtype=options.dtype)
    print(json.dumps(verified.as_dict(), indent=1) if options.json else verified)
    return 0 if verified.ok else CHECK_FAILED
