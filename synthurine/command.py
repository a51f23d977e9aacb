"""The command line: ``python -m synthurine``, also reached as ``openurine synthesize``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synthurine.spec import PAPER, spec_for

if TYPE_CHECKING:
    from synthurine.laboratories import Laboratory

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
    about = "a folder of unlabelled fields: light, noise, sharpness and the size of a pixel are "
    about += "learned from them; or the laboratories.yaml that this left, edited"
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--like", type=Path, metavar="FOLDER", help=about)
    about = "so many laboratories with cameras drawn at random, in place of the usual eight"
    whose.add_argument("--laboratories", type=int, metavar="N", help=about)
    about = "with --like: micrometres a pixel, if known (default: as their red cells tell)"
    parser.add_argument("--um-per-px", type=float, help=about)
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
    from synthurine.dataset import LABORATORIES_FILE, write

    chosen = {name: getattr(options, name) for name in CHOSEN}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    spec = spec_for(options.fields, options.full)
    if options.laboratories is not None:
        from synthurine.many import laboratories_at_random

        labs = laboratories_at_random(options.laboratories, options.seed)
        out = write(options.out, spec | chosen, options.seed, options.workers, labs)
    elif options.like is None:
        out = write(options.out, spec | chosen, options.seed, options.workers)
    else:
        labs, like = _like(options, spec["fields"])
        out = write(options.out, spec | chosen | like, options.seed, options.workers, labs)
        print(*(lab.about for lab in labs), sep="\n")
        print(f"To change them, edit {out / LABORATORIES_FILE} and give it to --like")
    spec |= chosen
    drawn = contents.count(out)
    described = [made.write(out, drawn).name for made in (croissant, datasheet)]
    print(
        f"{out}: {spec['fields']} labelled fields, {spec['unlabelled']} unlabelled, "
        f"{spec['cohort']} cohort patients; described in {' and '.join(described)}"
    )


def _like(
    options: argparse.Namespace, fields: int
) -> tuple[tuple[Laboratory, ...], dict[str, int]]:
    """The laboratories of ``--like``, and the sizes of their fields."""
    from synthurine.laboratories import read_laboratories
    from synthurine.likeness import images_in, laboratories_like, spec_like
    from synthurine.look import read_rgb

    if options.field_um is not None:
        raise ValueError("--field-um: with --like the fields tell their size; give --um-per-px")
    if options.like.is_file():
        labs, um = read_laboratories(options.like)
        px = options.field_px or PAPER["field_px"] // 2
    else:
        paths = images_in(options.like)
        labs, um = laboratories_like(paths, options.um_per_px, options.seed)
        px = options.field_px or min(read_rgb(paths[0]).shape[:2])
    size = spec_like(um, fields, px)
    return labs, {name: size[name] for name in ("field_px", "field_um")}
