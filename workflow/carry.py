"""Packs what a run's trainings left into ``carried/``, small enough for the repository.

    python workflow/carry.py --profile study [--data FOLDER] [--weights ROW ... [--looks 2]]
    python workflow/carry.py --profile study --go-on

Every finished row and fold and the search, as far as it has come, are packed, as
``openurine_lib.experiments.carried`` says. A row and fold that is packed already is packed again
only if its predictions are newer. For the rows that ``--weights`` names, the weights are kept too,
with a record of what they find, and the pretraining that they started from. Both get a model card.
With ``--go-on`` nothing is packed: an unfinished search goes back into the run, whose next call
(``make reproduce ROWS=all``) makes the trials that are left.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from openurine_lib import method, open_run, plan  # noqa: E402
from openurine_lib.clinical import model_card, validation  # noqa: E402
from openurine_lib.data.splits import FOLDS  # noqa: E402
from openurine_lib.experiments import carried, packed, search, sizes  # noqa: E402
from openurine_lib.experiments.carried import TRAINED  # noqa: E402
from openurine_lib.experiments.methods import OURS, Method  # noqa: E402
from openurine_lib.experiments.run import Run, first_record  # noqa: E402
from openurine_lib.experiments.steps import trained  # noqa: E402
from openurine_lib.files import atomic_path  # noqa: E402
from openurine_lib.inference import read_predictions  # noqa: E402
from openurine_lib.training.study import JOURNAL  # noqa: E402
from openurine_lib.ways import Way  # noqa: E402


def main() -> None:
    options = _options()
    run = open_run(options.data, options.profile, options.seed)
    if options.go_on:
        search.go_on(run, method(OURS), run.profile.folds[0])
        return
    todo = plan(run.profile)
    kept = [method(name) for name in options.weights]
    # one of the rows that start from a network's encoder, which they share
    encoders = {run.profile.arch(row): row for row in kept if row.ssl}
    for fold in range(FOLDS):
        for row in todo.predict.values():
            target = carried.folder_of(run, "predict", row, fold)
            source = run.predict_dir(row, fold)
            ours = (run.train_dir(row, fold) / TRAINED).exists()  # not restored from a carried one
            # carried weights may have looked in another way than they did when they were carried
            anew = not target.exists() and carried.to_restore(run, "train", row, fold)
            metrics = source / "metrics.csv"
            if (ours or anew) and metrics.exists() and not _is_newer(target, metrics):
                carry(run, row, fold, target, row.id in options.weights, options.looks)
        for row in encoders.values():
            carry_encoder(run, row, fold)
        carry_search(run, method(OURS), fold)


def carry(
    run: Run, row: Method, fold: int, target: Path, with_weights: bool, looks: int = 1
) -> None:
    """Writes one row and fold into ``target``; the weights' record is of so many looks a field."""
    training, predicted = run.train_dir(row, fold), run.predict_dir(row, fold)
    boxes = read_predictions(predicted / "predictions.csv")
    with atomic_path(target / "predictions.npz") as temporary:
        temporary.write_bytes(packed.pack(boxes, run.test_images(fold)))
    images = run.dataset.images
    for file in predicted.glob("cohort-*.csv"):
        boxes = read_predictions(file)
        of_cohort = images[images.image.isin(boxes.image)]
        with atomic_path(target / file.with_suffix(".npz").name) as temporary:
            temporary.write_bytes(packed.pack(boxes, of_cohort, carried.COHORT_LIMIT))
    shutil.copyfile(training / "log.csv", target / "log.csv")
    for name in ("metrics.csv", sizes.FILE):
        shutil.copyfile(predicted / name, target / name)
    if with_weights:
        carried.save_weights(training / "weights.pt", target / carried.WEIGHTS)
        way = Way(uncut=row.sliced, looks=looks)
        record = validation.of_run(run, row, fold, way)
        validation.write(record, target / carried.WEIGHTS)
    valid = carried.valid_for(run, "predict", row, fold)
    who = trained(run, row, fold)
    who.pop("earlier")
    more = {"pretraining": who.pop("pretraining")} if row.ssl else {}
    carried.write_record(target, valid, who, method=row.id, **more)
    if with_weights:
        model_card.write(target)  # it reads the record
    _say(target)


def carry_encoder(run: Run, row: Method, fold: int) -> None:
    """Writes a pretraining: in single precision, as a detector starts from it."""
    source = run.ssl_dir(run.profile.arch(row), fold)
    target = carried.folder_of(run, "ssl", row, fold)
    if target.exists() or not (source / TRAINED).exists():
        return
    target.mkdir(parents=True)
    carried.save_weights(source / "encoder.pt", target / carried.WEIGHTS, half=False)
    shutil.copyfile(source / "log.csv", target / "log.csv")
    carried.pack_examples(source / carried.EXAMPLES, target / carried.EXAMPLES)
    valid = carried.valid_for(run, "ssl", row, fold)
    carried.write_record(
        target, valid, first_record([source / TRAINED]), network=run.profile.arch(row)
    )
    model_card.write(target)  # it reads the record
    _say(target)


def carry_search(run: Run, row: Method, fold: int) -> None:
    """Writes the trials of a search that was made here; one that is packed and newer stays.

    Of an unfinished search, those that have ended, and the journal with which it can go on.
    """
    journal = run.search_dir(row, fold) / JOURNAL
    target = carried.folder_of(run, "search", row, fold)
    if not journal.exists() or _is_newer(target, journal):
        return
    trials = search.so_far(run, row, fold)
    if trials.empty:
        return
    with atomic_path(target / carried.TRIALS) as temporary:
        trials.to_csv(temporary, index=False)
    if len(trials) < run.profile.search["trials"]:
        with atomic_path(target / JOURNAL) as temporary:
            shutil.copyfile(journal, temporary)
    else:
        (target / JOURNAL).unlink(missing_ok=True)
    valid = carried.valid_for(run, "search", row, fold)
    carried.write_record(target, valid, search.record(run, row, fold), method=row.id)
    _say(target)


def _say(target: Path) -> None:
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"{target.relative_to(carried.store().parent)}: {size / 1e6:.2f} MB")


def _is_newer(target: Path, result: Path) -> bool:
    record = target / carried.RECORD
    return record.exists() and record.stat().st_mtime > result.stat().st_mtime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data", default="synthetic", help="'synthetic' or the folder of a data set"
    )
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="ROW", help="rows whose weights are kept"
    )
    parser.add_argument(
        "--looks", type=int, choices=(1, 2), default=1, help="at a field, for the weights' record"
    )
    parser.add_argument(
        "--go-on", action="store_true", help="put an unfinished search back into the run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
