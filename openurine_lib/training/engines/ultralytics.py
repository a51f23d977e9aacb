"""The ultralytics engine: its own trainer, fed from the two frames, with the paper's model and an exact resume.

What differs from a plain ``YOLO(...).train()``, and why:

- the model is built here, with the autoencoder's encoder already in it (weights put into a ``YOLO`` by hand are
  silently thrown away by its trainer);
- nothing is validated while training: the library would choose ``best.pt`` on the test fold. The last average is kept;
- a checkpoint holds everything (model and average in full precision, optimiser, epoch) and the random state is a
  function of seed and epoch, so that a killed and resumed training ends with the same weights as an undisturbed one.
  The library's own keeps a half-precision average only. (Exact while ``nbs <= batch``: gradients that wait across an
  epoch's end are not kept. On a GPU, kernels and loader workers add noise of their own.)

Several GPUs ("0,1") are the library's own data parallelism; the first process writes checkpoint, log and weights.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sahi.models.base import DetectionModel as SahiModel
from sahi.models.ultralytics import UltralyticsDetectionModel
from torch.optim.swa_utils import update_bn
from tqdm.auto import tqdm
from ultralytics import YOLO
from ultralytics.models.rtdetr.model import RTDETR
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import unwrap_model

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.model.build import build_model
from openurine_lib.speed.layers import in_one_pass
from openurine_lib.speed.parallel import SideBySide
from openurine_lib.speed.processor import keep_memory, ready_for, use_cores
from openurine_lib.training.coco_weights import load_matching
from openurine_lib.training.engines.yolo_files import write_fields
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import WeightsError, fill, read_weights, save, write_log

LOGGER.setLevel("WARNING")  # one progress bar is enough

#: Entries of the settings that are ultralytics' own arguments.
ARGUMENTS = (
    *("batch", "nbs", "optimizer", "momentum", "lr0", "lrf", "weight_decay", "box", "cls", "dfl"),
    *("warmup_epochs", "warmup_momentum", "warmup_bias_lr", "close_mosaic"),
    *("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "mosaic"),
)


def fit(job: TrainJob) -> Path:
    """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``.

    Raises:
        WeightsError: the encoder is of another architecture.
    """
    overrides = {k: job.settings[k] for k in ARGUMENTS if k in job.settings} | {
        "model": f"{job.arch}.yaml", "data": "frames", "imgsz": job.imgsz, "epochs": job.epochs, "seed": job.seed,
        "device": job.device, "project": str(job.dir), "name": "ultralytics", "exist_ok": True,
        "val": False, "plots": False, "patience": 0, "pretrained": False, "verbose": False,
        # in memory, mosaic draws from the whole fold; from disk it draws from a history that a resume would not have
        "cache": "ram",
    }  # fmt: skip
    _trainer(job)(overrides=overrides).train()  # type: ignore[call-arg]
    (job.dir / "state.pt").unlink(missing_ok=True)
    return job.dir / "weights.pt"


def load_model(weights: Path, device: str = "cpu") -> torch.nn.Module:
    """The trained detector, in evaluation mode."""
    return _rebuilt(read_weights(weights, "ultralytics"), weights, device)


def _rebuilt(content: dict[str, Any], weights: Path, device: str) -> torch.nn.Module:
    meta = content["meta"]
    heads = {name: tuple(ids) for name, ids in meta["head_classes"].items()}
    taxonomy = Taxonomy(
        name=meta["taxonomy"],
        classes=tuple(meta["classes"]),
        heads=heads,
        aliases={},
        components={},
    )
    try:
        model = build_model(
            meta["arch"], taxonomy, meta["heads"], objectness_gain=meta.get("objectness_gain", 0.0)
        )
    except FileNotFoundError as e:
        raise WeightsError(
            f"{weights}: no architecture {meta['arch']!r} in the installed ultralytics"
        ) from e
    fill(model, content["state_dict"], weights)
    return model.to(device).eval()


def detector(weights: Path, conf: float, device: str, imgsz: int, exact: bool = False) -> SahiModel:
    """The trained detector behind sahi's door; ``imgsz``: the size (pixels) that images or slices are brought to.

    On a CPU slices are predicted side by side, and with units for it in bfloat16, unless ``exact``: then all is done as
    stock sahi does it.
    """
    content = read_weights(weights, "ultralytics")
    meta, model = content["meta"], _rebuilt(content, weights, device)
    model.fast = not exact  # type: ignore[assignment]
    transformer = meta["arch"].startswith("rtdetr")
    if "cpu" in device and not (exact or transformer):
        keep_memory()
        model = model.fuse(verbose=False).to(memory_format=torch.channels_last)  # type: ignore[operator, call-overload]
        return SideBySide(in_one_pass(model), meta["classes"], conf, imgsz)
    wrapper = RTDETR("rtdetr-l.yaml") if transformer else YOLO("yolo12n.yaml")
    wrapper.model = model  # the wrapper only carries it: preprocessing, NMS, results
    wrapper.overrides |= {"max_det": MAX_DETECTIONS, "verbose": False}
    names = {str(i): name for i, name in enumerate(meta["classes"])}
    door = UltralyticsDetectionModel(
        model=wrapper,
        confidence_threshold=conf,
        device=device,
        image_size=imgsz,
        category_mapping=names,
    )
    if "cpu" in device:
        door.perform_inference(
            np.zeros((imgsz, imgsz, 3), np.uint8)
        )  # the library's set-up sets its own threads
        use_cores()
    return door


class _AllEpochsDone(Exception):
    """What was interrupted has only its weights left to write."""


class _Frames:
    """What makes ultralytics' trainers ours; mixed into the one for YOLO and the one for RT-DETR."""

    if TYPE_CHECKING:  # what the trainers bring

        def __getattr__(self, name: str) -> Any: ...

    job: TrainJob
    rows: list[dict[str, float]]

    def get_dataset(self) -> dict[str, Any]:
        """The fold in the form that the library reads: links to the images, a label file each."""
        fields = self.job.dir / "fields"
        if RANK == -1:  # a process of several finds what the one that started them has written
            write_fields(self.job, fields)
        names = dict(enumerate(self.job.taxonomy.classes))
        return {
            "path": fields,
            "train": str(fields / "train.txt"),
            "val": str(fields / "one.txt"),  # the library wants one; nothing is validated
            "names": names,
            "nc": len(names),
            "channels": 3,
        }

    def get_model(
        self, cfg: Any = None, weights: Any = None, verbose: bool = True
    ) -> torch.nn.Module:
        s = self.job.settings
        torch.manual_seed(self.job.seed)
        model = build_model(
            self.job.arch, self.job.taxonomy, self.job.heads, s["head_weights"], s.get("obj", 0.0)
        )
        if self.job.pretrained is not None:
            self.job.meta["pretrained"] = load_matching(model, self.job.pretrained)
        if self.job.encoder is not None:
            load_encoder(model, self.job.encoder)
        return model

    def _setup_train(self) -> None:
        super()._setup_train()  # type: ignore[misc]
        ready_for(self.device)  # the library has set its own threads by now
        self.rows, self.state, self.signature = [], self.job.dir / "state.pt", self.job.signature()
        state = (
            torch.load(self.state, map_location=self.device, weights_only=True)
            if self.state.exists()
            else {}
        )
        if state.get("signature") == self.signature:
            unwrap_model(self.model).load_state_dict(state["model"])
            self.ema.ema.load_state_dict(state["ema"])
            self.ema.updates = state["updates"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.rows, self.start_epoch = state["rows"], len(state["rows"])
            self.scheduler.last_epoch = self.start_epoch - 1
        total, done = (
            self.epochs * len(self.train_loader),
            self.start_epoch * len(self.train_loader),
        )
        self.bar = tqdm(
            total=total, initial=done, desc=f"train {self.job.arch} {self.job.heads}", unit="batch", mininterval=1,
            disable=RANK > 0,
        )  # fmt: skip
        self.add_callback("on_train_epoch_start", _reseed)
        self.add_callback("on_train_batch_end", lambda t: t.bar.update())
        if self.start_epoch >= self.epochs:
            raise _AllEpochsDone

    def _do_train(self) -> None:
        try:
            super()._do_train()  # type: ignore[misc]
        except _AllEpochsDone:  # killed after its last epoch; the library would train one more
            if self.args.close_mosaic:
                self._close_dataloader_mosaic()
            self.final_eval()

    def validate(self) -> tuple[dict[str, float], None]:
        return {}, None  # the test fold is not looked at while training

    def final_eval(self) -> None:
        """The library's last call of a training, here the one that writes what it learned."""
        self.bar.close()
        if RANK > 0:
            return
        model = self.ema.ema
        if self.job.settings.get("refresh_bn"):
            # the library's batch norm forgets slowly (momentum 0.03): after a short training its statistics are those
            # of the untrained network, and the detector finds nothing. One pass over the training fields sets them.
            self.epoch = self.epochs
            _reseed(self)  # so that a training killed here draws the same fields when it goes on
            update_bn((self.preprocess_batch(batch)["img"] for batch in self.train_loader), model)
        job = self.job
        meta = (
            job.meta
            | job.described("ultralytics")
            | {"objectness_gain": job.settings.get("obj", 0.0)}
        )
        save({"state_dict": model.float().state_dict(), "meta": meta}, job.dir / "weights.pt")

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        losses = {k: float(v) for k, v in self.tloss.items()}
        self.rows.append(
            {
                "epoch": self.epoch + 1,
                "loss": sum(losses.values()),
                **losses,
                "lr": self.optimizer.param_groups[0]["lr"],
            }
        )
        self.bar.set_postfix(loss=f"{self.rows[-1]['loss']:.3g}")
        write_log(self.job.dir / "log.csv", self.rows)

    def save_model(self) -> bool:
        state = {
            "model": unwrap_model(self.model).state_dict(),
            "ema": self.ema.ema.state_dict(), "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "rows": self.rows,
            "signature": self.signature,
        }  # fmt: skip
        save(state, self.state)
        return True


class _YOLO(_Frames, DetectionTrainer):
    pass


class _RTDETR(_Frames, RTDETRTrainer):
    pass


def _trainer(job: TrainJob) -> type[_Frames]:
    """The trainer's class for this job.

    The job stands in the class and not in the instance, because for several GPUs the library starts processes that
    make their trainer again from its pickled class and arguments alone; a class that has no place in a module is
    pickled as a whole (cloudpickle).
    """
    return type("Trainer", (_RTDETR if job.arch.startswith("rtdetr") else _YOLO,), {"job": job})


def _reseed(trainer: Any) -> None:
    """Makes an epoch's shuffling and augmentation a function of (seed, epoch), so that a resume draws the same."""
    seed = (trainer.args.seed * 1_000_003 + trainer.epoch + 7919 * max(RANK, 0)) % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    trainer.train_loader.generator.manual_seed(seed)
    if trainer.train_loader.num_workers == 0:
        trainer.train_loader.reset()


def load_encoder(model: torch.nn.Module, encoder: Path) -> None:
    """Puts the autoencoder's encoder into the detector's backbone; WeightsError unless every tensor finds its place."""
    content = read_weights(encoder, needed=("arch",))
    own = model.state_dict()
    wrong = [k for k, v in content["state_dict"].items() if k not in own or own[k].shape != v.shape]
    if wrong:
        raise WeightsError(
            f"{encoder} is the encoder of {content['meta']['arch']}: {wrong[0]} does not fit this backbone"
        )
    model.load_state_dict(content["state_dict"], strict=False)
