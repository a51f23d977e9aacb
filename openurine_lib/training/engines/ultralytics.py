"""The ultralytics engine: its own trainer, with the paper's model and an exact resume.

What differs from a plain ``YOLO(...).train()``, and why:

- the model is built here, with the autoencoder's encoder already in it (weights put into a ``YOLO``
  by hand are silently thrown away by its trainer);
- nothing is validated while training: the library would choose ``best.pt`` on the test fold. The
  last moving average of the weights is kept;
- a checkpoint holds everything in full precision, and chance is a function of seed and epoch, so
  that a killed and resumed training ends with the weights of an undisturbed one. (Exact while
  ``nbs <= batch``: gradients that wait across an epoch's end are not kept. On a GPU, kernels add
  noise of their own.)
- several GPUs ("0,1") are the library's own data parallelism; the first process writes the files.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sahi.models.base import DetectionModel as SahiModel
from sahi.models.ultralytics import UltralyticsDetectionModel
from torch.optim.swa_utils import update_bn
from tqdm.auto import tqdm
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.models.rtdetr.predict import RTDETRPredictor
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionTrainer
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import unwrap_model

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import epoch_seed
from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.model.architectures import UnknownArchitecture
from openurine_lib.model.build import build_model
from openurine_lib.speed import processor
from openurine_lib.speed.layers import fuse_activations, ready_to_train
from openurine_lib.speed.parallel import ParallelDetectionModel
from openurine_lib.training.coco_weights import load_matching
from openurine_lib.training.engines import sahi_adapter
from openurine_lib.training.engines.yolo_folder import write_fields
from openurine_lib.training.job import TrainJob
from openurine_lib.training.sampling import sampler_of
from openurine_lib.training.transfer import load_encoder
from openurine_lib.training.weights import Checkpoint, WeightsError, fill, read_weights, write_log

LOGGER.setLevel("WARNING")  # one progress bar is enough

#: Entries of the settings that are ultralytics' own arguments.
ARGUMENTS = (
    "batch", "nbs", "optimizer", "momentum", "lr0", "lrf", "weight_decay", "box", "cls", "dfl",
    "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "close_mosaic",
    "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "mosaic", "mixup", "copy_paste",
)  # fmt: skip


def fit(job: TrainJob) -> Path:
    """Trains; WeightsError if the encoder is of another architecture."""
    overrides = {name: job.settings[name] for name in ARGUMENTS if name in job.settings} | {
        "model": f"{job.arch}.yaml", "data": "frames", "imgsz": job.imgsz, "epochs": job.epochs,
        "seed": job.seed, "device": job.device,
        "project": str(job.dir), "name": "ultralytics", "exist_ok": True,
        "val": False, "plots": False, "patience": 0, "pretrained": False, "verbose": False,
        "amp": processor.gpu_precision(job.device), "workers": processor.loaders(),
        # from memory, mosaic draws from the whole fold; from disk it draws from a history that a
        # resumed training would not have
        "cache": "ram",
    }  # fmt: skip
    _trainer(job)(overrides=overrides).train()
    return job.dir / "weights.pt"


def load_model(weights: Path, device: str = "cpu") -> torch.nn.Module:
    """The trained detector, in evaluation mode."""
    content = read_weights(weights, "ultralytics")
    meta = content["meta"]
    heads = {name: tuple(ids) for name, ids in meta["head_classes"].items()}
    taxonomy = Taxonomy(meta["taxonomy"], tuple(meta["classes"]), heads, {}, {})
    gain = meta.get("objectness_gain", 0.0)
    try:
        model = build_model(meta["arch"], taxonomy, meta["heads"], gain_obj=gain)
    except UnknownArchitecture as e:
        raise WeightsError(f"{weights}: {e}") from e
    fill(model, content["state_dict"], weights)
    return model.to(device).eval()


def detector(weights: Path, conf: float, device: str, imgsz: int, exact: bool = False) -> SahiModel:
    """The trained detector as sahi calls it.

    On a processor, slices are predicted side by side, and in bfloat16 where there are units for
    it. With ``exact`` all is done as sahi does it with a stock ultralytics model.
    """
    meta = read_weights(weights, "ultralytics")["meta"]
    transformer, contrast = meta["arch"].startswith("rtdetr"), meta.get("contrast", 0.0)
    model: Any = load_model(weights, device)
    model.fast = not exact  # see ``ProcessorForward``
    if "cpu" in device and not (exact or transformer):
        processor.keep_memory()
        model = model.fuse(verbose=False).to(memory_format=torch.channels_last)
        fuse_activations(model)  # no way back to training or export
        return ParallelDetectionModel(model, meta["classes"], conf, imgsz, MAX_DETECTIONS, contrast)
    predictor = (RTDETRPredictor if transformer else DetectionPredictor)(overrides={
        "conf": conf, "imgsz": imgsz, "device": device, "max_det": MAX_DETECTIONS,
        "rect": True, "save": False, "verbose": False,  # as ``YOLO.predict`` sets them
    })  # fmt: skip
    predictor.setup_model(model, verbose=False)
    adapter = sahi_adapter(PredictorAdapter, model, meta["classes"], conf, device, imgsz)
    adapter.predictor, adapter.max_det, adapter.contrast = predictor, MAX_DETECTIONS, contrast
    adapter.any_size = not transformer
    if "cpu" in device:
        processor.use_cores()  # the set-up has set the library's own number of threads
    return adapter


class PredictorAdapter(UltralyticsDetectionModel):
    """sahi's adapter, with ultralytics' predictor alone where sahi's own takes a whole ``YOLO``."""

    predictor: DetectionPredictor | RTDETRPredictor
    any_size: bool  # whether ``image_size`` and ``max_det`` may change from call to call
    max_det: int  # boxes a slice or image
    contrast: float  # to which a field is brought first (``contrast``)

    def perform_batch_inference(self, images: list[np.ndarray]) -> None:
        """images: uint8 (H, W, 3) RGB."""
        self.predictor.args.imgsz = self.image_size
        self.predictor.args.max_det = self.max_det
        results = self.predictor([image[..., ::-1] for image in images])  # it takes BGR
        # (N, 6): xyxy, confidence, class
        self._original_predictions = [result.boxes.data for result in results]
        self._original_shapes = [image.shape for image in images]


class _AllEpochsDone(Exception):
    """What was interrupted, or is asked for again, has only its weights left to write."""


class _StopAfter(Exception):
    """As many epochs are done as were asked for."""


_Trainer: Any = object  # whatever the library's trainers bring, for the type checker


class _Frames(_Trainer):
    """What makes ultralytics' trainers ours; mixed into the one for YOLO and that for RT-DETR."""

    job: TrainJob

    def get_dataset(self) -> dict[str, Any]:
        """The fold in the form that the library reads."""
        fields = self.job.dir / "fields"
        if RANK == -1:  # one process of several finds what the one that started them has written
            write_fields(self.job, fields)
        names = dict(enumerate(self.job.taxonomy.classes))
        # the library wants fields to validate on, though nothing is validated
        listings = {"train": str(fields / "train.txt"), "val": str(fields / "one.txt")}
        return {"path": fields, **listings, "names": names, "nc": len(names), "channels": 3}

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> InfiniteDataLoader:
        """The library's loader, which shows in an epoch what our sampler chooses."""
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        sampler = sampler_of(self.job, max(rank, 0), max(self.world_size, 1))
        if mode != "train" or sampler is None:
            return loader
        return InfiniteDataLoader(
            loader.dataset, min(batch_size, len(sampler)), sampler=sampler,
            num_workers=loader.num_workers, prefetch_factor=loader.prefetch_factor,
            pin_memory=loader.pin_memory, collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn, generator=loader.generator,
            drop_last=loader.drop_last,
        )  # fmt: skip

    def get_model(self, *args: Any, **kwargs: Any) -> torch.nn.Module:
        job = self.job
        s = job.settings
        torch.manual_seed(job.seed)  # for the first weights
        model = build_model(job.arch, job.taxonomy, job.heads, s["head_weights"], s.get("obj", 0.0))
        if job.pretrained is not None:
            job.meta["pretrained"] = load_matching(model, job.pretrained)
        if job.encoder is not None:
            load_encoder(model, job.encoder)  # last: it replaces what COCO gave to the backbone
        if job.device == "cpu":
            ready_to_train(model)
        return model

    def _setup_train(self) -> None:
        super()._setup_train()
        processor.ready_for(self.device)  # the library has set its own threads by now
        job = self.job
        self.checkpoint = Checkpoint(
            job.dir, job.signature(), self.device, model=unwrap_model(self.model),
            ema=self.ema.ema, optimizer=self.optimizer, scaler=self.scaler,
        )  # fmt: skip
        state = self.checkpoint.resume()
        self.rows: list[dict[str, float]] = state.get("rows", [])
        if state:
            self.ema.updates = state["updates"]
            self.start_epoch = len(self.rows)
            self.scheduler.last_epoch = self.start_epoch - 1  # it steps as an epoch begins
            criterion = unwrap_model(self.model).init_criterion()
            if hasattr(criterion, "updates"):  # YOLO26's, whose parts change weight by epoch
                criterion.updates = self.start_epoch - 1
                criterion.update()
                unwrap_model(self.model).criterion = criterion
        steps = len(self.train_loader)
        last = job.stop_after or self.epochs
        self.bar = tqdm(
            total=last * steps, initial=self.start_epoch * steps, unit="batch",
            desc=f"train {job.arch} {job.heads}", mininterval=1, disable=RANK > 0,
        )  # fmt: skip
        self.add_callback("on_train_epoch_start", _reseed)
        self.add_callback("on_train_batch_end", lambda trainer: trainer.bar.update())
        if self.start_epoch >= (job.stop_after or self.epochs):
            raise _AllEpochsDone

    def _do_train(self) -> None:
        try:
            super()._do_train()
        except _AllEpochsDone:  # killed after its last epoch; the library would train one more
            if self.start_epoch > self.epochs - self.args.close_mosaic:
                self._close_dataloader_mosaic()  # as the last epochs did
            self.final_eval()
        except _StopAfter:
            self.final_eval()

    def validate(self) -> tuple[dict[str, float], None]:
        return {}, None  # the test fold is not looked at while training

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        losses = {name: float(value) for name, value in self.tloss.items()}
        total = sum(losses.values())
        lr = self.optimizer.param_groups[0]["lr"]
        self.rows.append({"epoch": self.epoch + 1, "loss": total, **losses, "lr": lr})
        self.bar.set_postfix(loss=f"{total:.3g}")
        write_log(self.job.dir / "log.csv", self.rows)

    def save_model(self) -> bool:
        self.checkpoint.save(self.rows, updates=self.ema.updates)
        if len(self.rows) == self.job.stop_after:
            raise _StopAfter
        return True

    def final_eval(self) -> None:
        """The library's last call of a training, here the one that writes what it learned."""
        self.bar.close()
        if RANK > 0:  # the first process writes
            return
        job = self.job
        model = self.ema.ema  # the moving average of the weights
        if job.settings.get("refresh_bn"):
            # The library's batch norm forgets slowly (momentum 0.03): after a short training its
            # statistics are those of the untrained network, and the detector finds nothing. One
            # pass over the training fields sets them.
            self.epoch = self.epochs
            _reseed(self)  # so that a training killed here draws the same fields when it goes on
            update_bn((self.preprocess_batch(batch)["img"] for batch in self.train_loader), model)
        meta = job.meta | job.described("ultralytics")
        meta["objectness_gain"] = job.settings.get("obj", 0.0)
        if self.batch_size != job.settings["batch"]:
            # The GPU's memory was too small, and the library halved the batch (it warns).
            meta["batch"] = self.batch_size
        done = len(self.rows) >= self.epochs
        write = self.checkpoint.finish if done else self.checkpoint.write_weights
        write(model.float().state_dict(), meta)


def _trainer(job: TrainJob) -> type[_Frames]:
    """The trainer's class for this job.

    For several GPUs the library starts processes that get the pickled class, not the instance. A
    class that is defined in a function is pickled as a whole (cloudpickle), with the job in it.
    """
    library: Any = RTDETRTrainer if job.arch.startswith("rtdetr") else DetectionTrainer

    class Trainer(_Frames, library):
        pass

    Trainer.job = job
    return Trainer


def _reseed(trainer: Any) -> None:
    """Makes an epoch's shuffling and augmentation a function of (seed, epoch)."""
    seed = epoch_seed(trainer.args.seed, trainer.epoch, max(RANK, 0))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    trainer.train_loader.generator.manual_seed(seed)
    sampler = trainer.train_loader.sampler
    if hasattr(sampler, "set_epoch"):  # torch's own of a single process has none
        sampler.set_epoch(trainer.epoch)
    # also its worker processes begin anew: they would go on with the chance of an epoch before
    trainer.train_loader.reset()
