"""The command line: ``openurine predict | export | check | synthesize | methods``.

An error is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from openurine_lib import files
from openurine_lib.speed import processor

WRONG = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (
        ValueError,
        FileNotFoundError,
        NotImplementedError,
    ) as error:  # all that this library raises on bad input
        print(f"openurine: {error}", file=sys.stderr)
        return WRONG
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openurine", description="The OpenUrine paper, rerunnable."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict", help="boxes, pictures and a five-level report of one patient"
    )
    predict.add_argument(
        "fields", nargs="+", type=Path, metavar="FIELD", help="images of one patient"
    )
    predict.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="a weights.pt of this project, or what `openurine export` made of it",
    )
    predict.add_argument(
        "--out",
        type=Path,
        default=Path("openurine-out"),
        help="folder for the results (%(default)s)",
    )
    predict.add_argument("--slice", type=int, help="side of the slices in pixels, 0: none "
                         "(default: as the paper's 640 px to its training at 960, so 2/3 of the weights')")  # fmt: skip
    predict.add_argument("--conf", type=float, default=0.25, help="least confidence (%(default)s)")
    predict.add_argument(
        "--um-per-px", type=float, help="micrometres a pixel: counts are then per high-power field"
    )
    predict.set_defaults(run=_predict)

    export = commands.add_parser(
        "export", help="writes a detector for OpenVINO or ONNX Runtime, to predict faster"
    )
    export.add_argument("weights", type=Path, help="a weights.pt of this project")
    export.add_argument("--to", choices=("openvino", "onnx"), required=True)
    export.add_argument(
        "--imgsz", type=int, help="pixels that a slice is brought to (default: as in training)"
    )
    export.set_defaults(run=_export)

    check = commands.add_parser("check", help="reads a data set and reports what is wrong with it")
    check.add_argument("data", type=Path, help="folder: YOLO, COCO, Pascal VOC or CSV")
    check.set_defaults(run=_check)

    synthesize = commands.add_parser("synthesize", help="draws a synthetic data set")
    synthesize.add_argument("--out", type=Path, required=True)
    how_many = synthesize.add_mutually_exclusive_group()
    how_many.add_argument(
        "--fields", type=int, default=48, help="labelled fields of 1800 px (%(default)s)"
    )
    how_many.add_argument(
        "--full",
        action="store_true",
        help="the paper's set: 790 labelled fields with Table 2's boxes, 5640 unlabelled, 84 patients for Table 8",
    )
    synthesize.add_argument("--seed", type=int, default=0)
    synthesize.add_argument(
        "--workers", type=int, help="processes (one a core); the fields do not depend on it"
    )
    synthesize.set_defaults(run=_synthesize)

    commands.add_parser(
        "methods", help="the rows of Tables 4-6 and whether they are built"
    ).set_defaults(run=_methods)
    return parser


def _predict(options: argparse.Namespace) -> None:
    import pandas as pd

    from openurine_lib.clinical import counts
    from openurine_lib.data import levels, taxonomy
    from openurine_lib.data.images import look, read_rgb
    from openurine_lib.data.levels import LEVELS
    from openurine_lib.inference import boxes_on

    names = [field.stem for field in options.fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two fields are called {twice[0]}; their results would overwrite each other, rename one"
        )
    missing = [field for field in options.fields if not field.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: {'a folder, not an' if missing[0].is_dir() else 'no such'} image"
        )
    for field in options.fields:
        look(field)
    if not 0 <= options.conf <= 1:
        raise ValueError(f"--conf {options.conf}: a confidence lies between 0 and 1")
    if options.um_per_px is not None and not 0 < options.um_per_px < math.inf:
        raise ValueError(
            f"--um-per-px {options.um_per_px}: give micrometres a pixel, a number above 0"
        )
    images = pd.DataFrame(
        {"image": names, "path": [str(field) for field in options.fields], "group": "patient"}
    )

    from PIL import Image

    from openurine_lib.experiments.methods import STRIDE
    from openurine_lib.inference import predict_fields
    from openurine_lib.training.engines import engine
    from openurine_lib.training.weights import DETECTOR, WeightsError, check_taxonomy, read_weights

    if options.weights.is_dir():
        from openurine_lib.training.engines import exported

        meta, open_detector = exported.read_meta(options.weights), exported.detector
    else:
        meta = read_weights(options.weights, needed=DETECTOR)["meta"]
        open_detector = engine(meta["engine"]).detector
    try:
        classes = taxonomy.match(meta["classes"])
    except taxonomy.UnknownClass as error:
        raise WeightsError(f"{options.weights} was trained on another taxonomy: {error}") from error
    check_taxonomy(meta, classes, options.weights)
    side = (
        options.slice
        if options.slice is not None
        else -(-meta["imgsz"] * 2 // (3 * STRIDE)) * STRIDE
    )
    if side < 0:
        raise ValueError(f"--slice {side}: give pixels, or 0 for the whole field at once")
    detector = open_detector(options.weights, options.conf, processor.device(), meta["imgsz"])
    boxes = predict_fields(detector, images, side or None, 0.25, options.out / "boxes.csv")
    boxes.insert(1, "class", [classes.classes[c] for c in boxes.cls])
    with files.atomic_path(options.out / "boxes.csv") as temporary:
        boxes.to_csv(temporary, index=False, float_format="%.6g")
    sizes = []
    for row in images.itertuples():
        field = read_rgb(row.path)
        sizes.append(field.shape[1::-1])
        with files.atomic_path(options.out / f"{row.image}.png") as temporary:
            Image.fromarray(boxes_on(field, boxes[boxes.image == row.image], classes)).save(
                temporary
            )
    if options.um_per_px is not None:
        images = images.assign(um_per_px=options.um_per_px).join(
            pd.DataFrame(sizes, columns=["width", "height"])
        )
    means = counts.patient_means(images, boxes, classes)
    unit = "mean per HPF" if counts.per_hpf(images) else "mean per field"
    report = levels.levels(means, levels.read_cutoffs())[["component", "count", "level"]]
    report = report.rename(columns={"count": unit}).assign(
        level=report.level.map(dict(enumerate(LEVELS)))
    )
    with files.atomic_path(options.out / "report.csv") as temporary:
        report.to_csv(temporary, index=False, float_format="%.6g")
    print(report.to_string(index=False))
    print(
        f"\n{len(boxes)} boxes on {len(images)} fields, confidence from {options.conf}; cut-offs: {levels.CUTOFFS}"
    )
    if not counts.per_hpf(images):
        print(
            "The cut-offs are per high-power field, the counts per image: give --um-per-px for counts per HPF."
        )
    print(
        f"For research, not for diagnosis. Pictures, boxes.csv and report.csv: {options.out.resolve()}"
    )


def _export(options: argparse.Namespace) -> None:
    from openurine_lib.training.engines.exported import export

    out = export(options.weights, options.to, options.imgsz)
    print(f"{out}\nopenurine predict field.jpg --weights {out}")


def _check(options: argparse.Namespace) -> None:
    from openurine_lib.data import check, readers

    if not options.data.is_dir():
        raise FileNotFoundError(f"{options.data}: no such folder")
    checked = check.check(readers.read(options.data))
    parts = checked.images.split.value_counts()
    print(f"{options.data}: taxonomy {checked.taxonomy.name}", *(f"{n} {part} images" for part, n in parts.items()),
          f"{len(checked.boxes)} boxes", f"{checked.images.group.nunique()} groups", sep="; ")  # fmt: skip
    print(checked.report.frame().to_string(index=False))


def _synthesize(options: argparse.Namespace) -> None:
    import synthurine
    from openurine_lib.experiments.methods import profile

    spec = profile("paper").synthetic
    if not options.full:
        patients = max(1, round(options.fields * spec["patients"] / spec["fields"]))
        spec = spec | {"fields": options.fields, "patients": patients, "unlabelled": 0, "cohort": 0}
    out = synthurine.write(options.out, spec, options.seed, options.workers)
    print(
        f"{out}: {spec['fields']} labelled fields, {spec['unlabelled']} unlabelled, {spec['cohort']} cohort patients"
    )


def _methods(options: argparse.Namespace) -> None:
    from openurine_lib.experiments.methods import methods

    for m in methods().values():
        rows = "; ".join(f"Table {number}: {row}" for number, row in m.answers.items())
        print(f"{m.id:22s} {m.fidelity if m.built else 'not yet built':14s} {rows}")


if __name__ == "__main__":
    sys.exit(main())
