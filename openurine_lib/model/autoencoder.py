"""TODO"""

from __future__ import annotations

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.model.build import backbone_depth, build_model


class Autoencoder(nn.Module):
    """(B, 3, H, W) in 0..1 -> its reconstruction, same shape; H and W multiples of 32.

    Args:
        arch: an ultralytics architecture, e.g. ``yolo12m``.
    """

    def __init__(self, arch: str):
        super().__init__()
        detector = build_model(
            arch, Taxonomy("none", ("particle",), {"Others": (0,)}, {}, {}), "single"
        )
        self.arch = arch
        self.encoder = detector.model[
            : backbone_depth(detector)
        ]  # the detector's own layers 0..n-1
        with torch.no_grad():
            c = self.encoder.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        self.encoder.train()
        layers: list[nn.Module] = []
        for _ in range(5):  # stride 32 -> 1
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(c, c // 2, 3, padding=1, bias=False),
                nn.BatchNorm2d(c // 2),
                nn.SiLU(),
            ]
            c //= 2
        self.decoder = nn.Sequential(*layers, nn.Conv2d(c, 3, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))

    def encoder_state(self) -> dict[str, Tensor]:
        """The encoder's tensors under their names in the detector (``model.0.conv.weight``, ...)."""
        return {f"model.{k}": v for k, v in self.encoder.state_dict().items()}


def reconstruction_loss(xhat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(L1, 1 - SSIM) of images (B, 3, H, W) in 0..1; their sum is the pretext loss."""
    return (xhat - x).abs().mean(), 1 - ssim(xhat, x, data_range=1.0)
