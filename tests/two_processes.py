"""Lets ultralytics' data parallelism run on a CPU.

Two processes over gloo take the place of two GPUs over NCCL. As a script, this file is put before
the file that ultralytics starts in each process. Afterwards it leaves what the process has learned
in ``rank0.pt`` and ``rank1.pt``. With DIE_IN_EPOCH set, the first process kills itself in that
epoch.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from ultralytics.engine import trainer as library
from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import unwrap_model

initialise, parallel, do_train = (
    library.BaseTrainer.__init__,
    nn.parallel.DistributedDataParallel,
    library.BaseTrainer._do_train,
)


class OnCPU(parallel):
    def __init__(self, module, device_ids=None, **how):
        super().__init__(module, **how)


def started(self, *args, **kwargs):
    initialise(self, *args, **kwargs)
    self.world_size, self.ddp = 2, LOCAL_RANK == -1  # the library counts GPUs


def trained(self):
    if RANK == 0 and "DIE_IN_EPOCH" in os.environ:
        epoch = int(os.environ["DIE_IN_EPOCH"])
        self.add_callback(
            "on_train_epoch_end",
            lambda t: t.epoch == epoch and os.kill(os.getpid(), signal.SIGKILL),
        )
    do_train(self)
    torch.save(unwrap_model(self.model).state_dict(), Path(self.args.project) / f"rank{RANK}.pt")
    distributed.destroy_process_group()


def patch(set_attribute=setattr):
    """``set_attribute`` may be that of pytest's monkeypatch, so that it ends with the test."""
    set_attribute(library.BaseTrainer, "__init__", started)
    set_attribute(library.BaseTrainer, "_do_train", trained)
    set_attribute(
        library.BaseTrainer,
        "_setup_ddp",
        lambda self: distributed.init_process_group("gloo", rank=RANK, world_size=2),
    )
    set_attribute(nn.parallel, "DistributedDataParallel", OnCPU)


if __name__ == "__main__":
    patch()
    runpy.run_path(sys.argv[1], run_name="__main__")
