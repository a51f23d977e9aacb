"""The genetic engine: a YOLOv5 whose hyperparameters were bred (Suhail and Brindha 2024).

The search runs on the training part alone, scored on patients held out of it; then the network is
trained on all of it with the best settings. What the publication searched, and on which YOLOv5 it
reports, could not be read. Here: the rule of YOLOv5's own evolution (a child is a mutation of one
of the five best, and the better one is, the likelier), on the ranges of the paper's search.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from torch import nn

from openurine_lib.training.engines import ultralytics
from openurine_lib.training.engines.composed import stock
from openurine_lib.training.job import TrainJob
from openurine_lib.training.trials import SPACE, Search, best, inner_split, run_trials

SUFFIX = "-ga"  # yolov5m-ga is yolov5m with bred settings
PARENTS = 5  # how many may be parents
CHANCE = 0.8  # of a gene to mutate
SIGMA = 0.2  # of the factor by which it does

detector = ultralytics.detector


class Mutation(optuna.samplers.BaseSampler):
    """YOLOv5's evolution as a sampler: a new trial is a mutated copy of one of the best before it.

    (Optuna's NSGA-II leaves out trials with given settings, so it could not start from ours.)"""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        return SPACE

    def sample_relative(self, study: optuna.Study, trial: Any, space: Any) -> dict[str, float]:
        """The child's values by name; empty for the first trial, whose values are given."""
        complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        ranked = sorted(complete, key=lambda t: t.value or 0.0, reverse=True)[:PARENTS]
        if not ranked:
            return {}
        # 1e-6: all may be 0, shares must add up to 1
        fitness = np.array([t.value or 0.0 for t in ranked]) + 1e-6
        parent = ranked[self.rng.choice(len(ranked), p=fitness / fitness.sum())].params
        child = {}
        for name, span in SPACE.items():
            mutates = self.rng.random() < CHANCE
            # 0.3 and 3: YOLOv5's limits to a factor
            factor = np.clip(1 + mutates * SIGMA * self.rng.standard_normal(), 0.3, 3.0)
            child[name] = float(np.clip(parent[name] * factor, span.low, span.high))
        return child

    def sample_independent(self, study: optuna.Study, trial: Any, name: str, span: Any) -> Any:
        raise AssertionError(f"{name} is not in SPACE")  # Optuna samples here what SPACE lacks


def build(arch: str, n_classes: int, imgsz: int) -> nn.Module:
    """The untrained network, called with a list of images (3, H, W)."""
    return stock(arch.removesuffix(SUFFIX), n_classes)


def fit(job: TrainJob) -> Path:
    """Searches, then trains; the weights are of the ultralytics engine.

    ``job.settings["search"]`` holds the number of ``trials`` and the ``epochs`` of one. The images
    need a column ``group``, of more than one patient: ValueError. The weights'
    ``meta["hyperparameters"]`` holds the settings chosen.
    """
    settings = dict(job.settings)
    budget = settings.pop("search")  # settings of the search are none of a training
    train, validation = inner_split(job.images, job.seed)
    plain = dataclasses.replace(job, arch=job.arch.removesuffix(SUFFIX), settings=settings)
    trial = dataclasses.replace(
        plain, images=train, boxes=job.boxes[job.boxes.image.isin(train.image)],
        epochs=budget["epochs"], dir=job.dir / "search",
    )  # fmt: skip
    truth = job.boxes[job.boxes.image.isin(validation.image)]
    search = Search(trial, ultralytics, validation, truth, budget["trials"], Mutation)
    trials = run_trials(search)
    # plain numbers, for the weights file
    chosen = {name: float(best(trials)[name]) for name in SPACE}
    meta = job.meta | {"hyperparameters": chosen, "trials": len(trials)}
    return ultralytics.fit(dataclasses.replace(plain, settings=settings | chosen, meta=meta))
