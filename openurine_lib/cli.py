"""The command line: ``openurine predict | finetune | adapt | export | check | synthesize | ...``.

Every command reads its options, calls a function of the library, and prints what it gives. An error
is one line, and exit code 2.
"""

from __future__ import annotations

import argparse
import errno
import shlex
import sys
from pathlib import Path

from synthurine import command as synthesize

WRONG = 2
REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "make room on the disk, and give the same command again: what is done is kept",
    ),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM),
        "give a folder that you may write to, and files that you may read",
    ),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "give another folder"),
}
# of ``predict``
FLAGS = {"conf": "--conf", "slice_px": "--slice", "um_per_px": "--um-per-px"}
FLAGS |= {name: f"--{name}" for name in ("room", "looks")}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, FileNotFoundError, NotImplementedError) as error:
        # all that this library raises on bad input
        print(f"openurine: {error}", file=sys.stderr)
        return WRONG
    except OSError as error:  # a disk that is full, a folder that is none
        print(f"openurine: {_of_the_system(error, options)}", file=sys.stderr)
        return WRONG
    return 0


def _of_the_system(error: OSError, options: argparse.Namespace) -> str:
    """One line: the file, what the system says of it, and what to do."""
    # a disk that is full does not say where; it is where the command writes
    place = error.filename or getattr(options, "out", None) or getattr(options, "data", ".")
    remedy = REMEDIES.get(error.errno or 0, "look at the file and its disk")
    return f"{place}: {error.strerror or error}; {remedy}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openurine", description="The OpenUrine paper, rerunnable."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    about = "boxes, pictures and a five-level report of one patient, or of many"
    predict = commands.add_parser("predict", help=about)
    add = predict.add_argument
    about = "images of one patient, or folders of them; with a patients.csv (image,patient) in a "
    about += "folder, of many patients"
    add("fields", nargs="+", type=Path, metavar="FIELD", help=about)
    about = "a weights.pt of this project, or what `openurine export` made of it (default: the "
    about += "detector that comes with it)"
    add("--weights", type=Path, help=about)
    about = "folder for the results (%(default)s)"
    add("--out", type=Path, default=Path("openurine-out"), help=about)
    about = "side of the slices in pixels, 0: none (default: as the paper's 640 px to its training "
    about += "at 960, so 2/3 of the weights'; or as the weights were validated)"
    add("--slice", type=int, dest="slice_px", help=about)
    add("--conf", type=float, default=0.25, help="least confidence (%(default)s)")
    about = "micrometres a pixel: counts are then per high-power field"
    add("--um-per-px", type=float, help=about)
    about = "share of a box that is added on each side (default: 0.095 for a detector of drawn "
    about += "fields, whose boxes are tighter than an annotator's; else 0)"
    add("--room", type=float, help=about)
    about = (
        "1, or 2 at every field, whose finds are fused: mostly a higher AP, in 2.3 times the time "
    )
    about += "(default: as the weights were validated)"
    add("--looks", type=int, help=about)
    about = "further files: report.json, coco.json (boxes to correct), fhir/ (FHIR R4, a file a "
    about += "patient); boxes.csv and report.csv always"
    names = ("csv", "json", "coco", "fhir")
    add("--format", nargs="+", choices=names, default=[], help=about, dest="formats")
    about = "a page a patient, and index.html: fields with their boxes, and levels"
    add("--html", action="store_true", help=about)
    predict.set_defaults(run=_predict)

    about = "trains a detector further on your own fields and classes; says what that gained"
    tune = commands.add_parser("finetune", help=about)
    tune.add_argument("data", type=Path, help="folder: YOLO, COCO, Pascal VOC, LabelMe or CSV")
    about = "folder for the weights and the report (%(default)s)"
    tune.add_argument("--out", type=Path, default=Path("finetuned"), help=about)
    about = "a weights.pt to start from (default: the detector that comes with the project)"
    tune.add_argument("--weights", type=Path, help=about)
    tune.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    about = "passes over the fields at most (default: as many as take some minutes)"
    tune.add_argument("--epochs", type=int, help=about)
    _add_groups(tune)
    tune.set_defaults(run=_finetune)

    about = "trains a detector further for your fields without a box: on drawn ones like them"
    like = commands.add_parser("adapt", help=about)
    about = "images, or folders of them, without boxes"
    like.add_argument("fields", nargs="+", type=Path, metavar="FIELD", help=about)
    about = "folder for the weights, the cameras and the drawn fields (%(default)s)"
    like.add_argument("--out", type=Path, default=Path("adapted"), help=about)
    about = "a weights.pt to start from (default: the detector that comes with the project)"
    like.add_argument("--weights", type=Path, help=about)
    like.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    like.add_argument("--drawn", type=int, default=240, help="fields to draw (%(default)s)")
    about = "micrometres a pixel (default: as patients.csv says, or as red cells tell)"
    like.add_argument("--um-per-px", type=float, help=about)
    about = "passes over the drawn fields at most (default: as many as take some minutes)"
    like.add_argument("--epochs", type=int, help=about)
    like.set_defaults(run=_adapt)

    about = "writes a detector for OpenVINO or ONNX Runtime, to predict faster"
    export = commands.add_parser("export", help=about)
    export.add_argument("weights", type=Path, help="a weights.pt of this project")
    export.add_argument("--to", choices=("openvino", "onnx"), required=True)
    about = "pixels that a slice is brought to (default: as in training)"
    export.add_argument("--imgsz", type=int, help=about)
    export.set_defaults(run=_export)

    check = commands.add_parser("check", help="reads a data set and reports what is wrong with it")
    check.add_argument("data", type=Path, help="folder: YOLO, COCO, Pascal VOC or CSV")
    _add_groups(check)
    check.set_defaults(run=_check)

    about = "two annotators' folders of the same fields: matched boxes, Cohen's kappa by class"
    compare = commands.add_parser("compare", help=about)
    compare.add_argument("one", type=Path, help="folder of a data set")
    compare.add_argument("other", type=Path, help="the other annotator's, with the same fields")
    compare.set_defaults(run=_compare)

    draw = commands.add_parser("synthesize", help="draws a synthetic data set")
    synthesize.add_options(draw)
    draw.set_defaults(run=synthesize.run)

    about = "the rows of Tables 4-6, and how faithful they are"
    commands.add_parser("methods", help=about).set_defaults(run=_methods)
    return parser


def _add_groups(command: argparse.ArgumentParser) -> None:
    about = "image: nobody knows the patients, so each image counts as one; scores may then flatter"
    command.add_argument("--groups", choices=("image",), help=about)


def _predict(options: argparse.Namespace) -> None:
    from openurine_lib.data.levels import CUTOFFS
    from openurine_lib.laboratory.predicting import BadOption, predict

    numbers = {name: getattr(options, name) for name in FLAGS}
    formats = [*(name for name in options.formats if name != "csv"), *["html"] * options.html]
    try:
        found = predict(options.fields, options.weights, options.out, **numbers, formats=formats)
    except BadOption as error:
        flag = FLAGS[error.parameter]
        raise ValueError(str(error).replace(error.parameter, flag, 1)) from error
    patients = len(found.remarks)
    if patients > 1:  # a row a patient; report.csv has the counts, and what they rest on
        levels = found.report.pivot(index="patient", columns="component", values="level")
        print(levels[found.report["component"].unique()].rename_axis(columns=None).to_string())
    else:
        print(found.report.drop(columns="patient").round(2).to_string(index=False))
    of_patients = f" of {patients} patients" if patients > 1 else ""
    print(
        f"\n{len(found.boxes)} boxes on {len(found.fields)} fields{of_patients}, "
        f"confidence from {options.conf}; cut-offs: {CUTOFFS}"
    )
    print(f"Detector: {found.trained_on}.")
    said = [(remark, patient) for patient, own in found.remarks.items() for remark in own]
    for remark in dict.fromkeys(remark for remark, _ in said):
        own = [patient for other, patient in said if other == remark]
        more = f" and {len(own) - 1} more" if own[1:] else ""
        whose = f" of {own[0]}{more}" if patients > 1 else ""
        print(f"Beside every level{whose}: {remark}.")
    if not found.per_hpf:
        print("The cut-offs are per high-power field, the counts per image: "
              "give --um-per-px for counts per HPF.")  # fmt: skip
    print("For research, not for diagnosis. "
          f"Pictures, boxes.csv and report.csv: {options.out.resolve()}")  # fmt: skip
    if options.html:
        print(f"Look first at {options.out.resolve() / 'index.html'}")
        print("\nNext, to train it further on your own boxes: openurine finetune FOLDER")
    else:
        given = {"--weights": options.weights, "--out": options.out}
        given |= {FLAGS[name]: value for name, value in numbers.items()}
        again = [w for flag, v in given.items() if v is not None for w in (flag, str(v))]
        print(f"\nNext, for pages to look through: openurine predict FIELD... {shlex.join(again)} "
              "--html")  # fmt: skip


def _finetune(options: argparse.Namespace) -> None:
    from openurine_lib.laboratory.finetuning import finetune

    done = finetune(
        options.data, options.out, options.weights, options.seed, options.groups, options.epochs
    )
    print(f"{done.about}; {done.minutes:.1f} minutes.\n")
    print("AP50 (%) on the held-out fields, before and after, with 95 % intervals of the gain:")
    print(done.gains.round(1).to_string(index=False))
    print("\nWhat a report may rely on:")
    print(done.components.round(2).to_string(index=False))
    if done.gains["low"].isna().all():
        print("No interval: too few patients or slides are held out.")
    if options.groups:
        print("Patients are unknown: all these numbers may flatter.")
    print(f"\nNext: openurine predict FIELD... {shlex.join(['--weights', str(done.weights)])}")


def _adapt(options: argparse.Namespace) -> None:
    from openurine_lib.laboratory.adapting import adapt

    names = ("out", "weights", "seed", "drawn", "um_per_px", "epochs")
    done = adapt(options.fields, **{name: getattr(options, name) for name in names})
    print("What was learned of the fields:", *done.cameras, sep="\n  ")
    print(f"To change it, edit {done.laboratories} and give the same command again.\n")
    print(f"{done.about}; {done.minutes:.1f} minutes.\n")
    print("AP50 (%) on drawn fields like yours that were held out, before and after:")
    print(done.gains[done.gains["boxes"] > 0].round(1).to_string(index=False))
    print("\nWhat it finds on your real fields was not measured, as they have no boxes: label "
          "some, and `openurine finetune` tells.")  # fmt: skip
    print(f"\nNext: openurine predict FIELD... --weights {done.weights}")


def _export(options: argparse.Namespace) -> None:
    from openurine_lib.training.engines.exported import export

    out = export(options.weights, options.to, options.imgsz)
    print(f"{out}\nopenurine predict field.jpg --weights {out}")


def _compare(options: argparse.Namespace) -> None:
    from openurine_lib.evaluation import annotators

    matched, taxonomy, fields = annotators.compare(options.one, options.other)
    table = annotators.agreement(matched, taxonomy)
    seen = table[(table.boxes > 0) | (table.boxes_other > 0)]
    print(f"{fields} fields that both have; boxes are one particle from IoU {annotators.IOU}")
    print(seen.round(2).to_string(index=False))


def _check(options: argparse.Namespace) -> None:
    from openurine_lib.data import check, readers
    from openurine_lib.data.source import DataError

    if not options.data.is_dir():
        raise FileNotFoundError(f"{options.data}: no such folder")
    try:
        checked = check.check(readers.read(options.data), options.groups)
    except DataError as error:
        if error.proposal:
            print(error.proposal)  # to standard output, where it can go into a file
        raise
    parts = [f"{n} {part} images" for part, n in checked.images.split.value_counts().items()]
    groups = checked.images.group.nunique()
    print(f"{options.data}: taxonomy {checked.taxonomy.name}", *parts,
          f"{len(checked.boxes)} boxes", f"{groups} groups", sep="; ")  # fmt: skip
    print(checked.report.frame().to_string(index=False))


def _methods(options: argparse.Namespace) -> None:
    from openurine_lib.experiments.methods import methods

    for m in methods().values():
        rows = "; ".join(f"Table {number}: {row}" for number, row in m.answers.items())
        print(f"{m.id:22s} {m.fidelity:14s} {rows}")


if __name__ == "__main__":
    sys.exit(main())
