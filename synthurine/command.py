"""The command line: ``python -m synthurine``, also reached as ``openurine synthesize``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from synthurine.spec import PAPER, spec_for

CHOSEN = {  # options that replace one number of the spec, and what they mean
    "field_px": "width and height of a field in pixels",
    "field_um": "width and height of a field in micrometres",
    "unlabelled": "unlabelled fields",
    "patients": "patients who share the labelled fields",
    "cohort": "further patients, with a laboratory report each",
}


def main(arguments: list[str] | None = None) -> int:
    """Draws a data set; returns the exit code, 2 if something was wrong with the request."""
    parser = argparse.ArgumentParser(
        prog="synthurine", description="Draws urine sediment fields with labels."
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        run(options)
    except ValueError as error:
        print(f"synthurine: {error}", file=sys.stderr)
        return 2
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a drawing to a parser."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the data set")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--fields", type=int, default=48, help="labelled fields (%(default)s)")
    how_many.add_argument(
        "--full",
        action="store_true",
        help="the paper's set: 790 labelled fields with Table 2's boxes, 5640 unlabelled fields, "
        "84 patients for Table 8",
    )
    usual = spec_for()
    for name, meaning in CHOSEN.items():
        default = "in proportion" if name == "patients" else str(usual[name])
        if usual[name] != PAPER[name]:
            default += f", with --full {PAPER[name]}"
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, help=f"{meaning} (default: {default})")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same fields")
    parser.add_argument(
        "--workers", type=int, help="processes (one a core); the fields do not depend on it"
    )


def run(options: argparse.Namespace) -> None:
    """Draws what the options ask for, describes it in the same folder, and says what was drawn."""
    from synthurine import contents, croissant, datasheet  # here, so that --help is quick
    from synthurine.dataset import write

    chosen = {name: getattr(options, name) for name in CHOSEN}
    spec = spec_for(options.fields, options.full)
    spec |= {name: value for name, value in chosen.items() if value is not None}
    out = write(options.out, spec, options.seed, options.workers)
    drawn = contents.count(out)
    described = [made.write(out, drawn).name for made in (croissant, datasheet)]
    print(
        f"{out}: {spec['fields']} labelled fields, {spec['unlabelled']} unlabelled, "
        f"{spec['cohort']} cohort patients; described in {' and '.join(described)}"
    )
