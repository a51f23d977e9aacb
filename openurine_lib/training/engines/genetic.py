"""The genetic engine: a YOLOv5 whose hyperparameters were bred (Suhail and Brindha 2024).

The search runs on the training part alone, on patients held out of it, and the network is then trained on all of it
with the best settings found. What the publication searched, and on which YOLOv5 it reports, could not be read. Here:
the rule of YOLOv5's own evolution (a child is a mutation of one of the five best, the better the likelier), on the
ranges of the paper's search, starting from the job's settings.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import nn

from openurine_lib.training.engines import ultralytics
from openurine_lib.training.engines.composed import stock
from openurine_lib.training.job import TrainJob
from openurine_lib.training.trials import SPACE, best, inner_split, run_trials

SUFFIX = "-ga"  # yolov5m-ga is yolov5m with bred settings
PARENTS, CHANCE, SIGMA = (
    5,
    0.8,
    0.2,
)  # how many may be parents; of a gene to mutate; of the mutation's factor


class Mutation(optuna.samplers.BaseSampler):
    """YOLOv5's evolution as a sampler: every new trial is a mutated copy of one of the best before it.

    (Optuna's own genetic sampler, NSGA-II, leaves out trials with given settings, so it could not start from ours.)
    """

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: Any
    ) -> dict[str, BaseDistribution]:
        return {
            name: FloatDistribution(low, high, log=log) for name, (low, high, log) in SPACE.items()
        }

    def sample_relative(
        self, study: optuna.Study, trial: Any, search_space: Any
    ) -> dict[str, float]:
        """The child's values by name; empty for the first trial, whose values are given."""
        done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        best = sorted(done, key=lambda t: t.value or 0.0, reverse=True)[:PARENTS]
        if not best:
            return {}
        fitness = np.array([t.value or 0.0 for t in best]) + 1e-6
        parent = best[self.rng.choice(len(best), p=fitness / fitness.sum())].params
        child = {}
        for name, (low, high, _) in SPACE.items():
            factor = 1 + (self.rng.random() < CHANCE) * SIGMA * self.rng.standard_normal()
            child[name] = float(np.clip(parent[name] * np.clip(factor, 0.3, 3.0), low, high))
        return child

    def sample_independent(
        self, study: optuna.Study, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        raise AssertionError(f"{param_name} is not in SPACE")


def build(arch: str, n_classes: int, imgsz: int) -> nn.Module:
    """The untrained network, called with a list of images (3, H, W)."""
    return stock(arch.removesuffix(SUFFIX), n_classes)


def fit(job: TrainJob) -> Path:
    """Searches, then trains, or goes on where it was interrupted. Returns ``job.dir / "weights.pt"``.

    job: ``settings["search"]`` holds the number of ``trials`` and the ``epochs`` of one; the first trial has the job's
    own settings. The images need a column ``group``. The weights are of the ultralytics engine, and their
    ``meta["hyperparameters"]`` holds the settings chosen.

    Raises:
        ValueError: the images are of one patient only, so that none can be held out.
    """
    budget = job.settings["search"]
    split = inner_split(job.images, job.seed)
    plain = dataclasses.replace(
        job,
        arch=job.arch.removesuffix(SUFFIX),
        settings={k: v for k, v in job.settings.items() if k != "search"},
    )
    trial = dataclasses.replace(
        plain,
        images=split.train,
        boxes=job.boxes[job.boxes.image.isin(split.train.image)],
        epochs=budget["epochs"],
        dir=job.dir / "search",
    )
    truth = job.boxes[job.boxes.image.isin(split.validation.image)]
    trials = run_trials(trial, "ultralytics", split.validation, truth, budget["trials"], Mutation)
    chosen = {name: float(best(trials)[name]) for name in SPACE}
    final = dataclasses.replace(
        plain,
        settings=plain.settings | chosen,
        meta=job.meta | {"hyperparameters": chosen, "trials": len(trials)},
    )
    return ultralytics.fit(final)


detector = ultralytics.detector
