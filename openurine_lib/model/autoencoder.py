"""The autoencoder of the self-supervised pretraining (Fig. 3A): Xhat = Decoder(Encoder(X)).

The encoder is the detector's own backbone. The paper does not describe the decoder. Here it is
plain (upsample, convolve) and has no skip connections, so that all that it knows of the image has
passed through the encoder's last layer, except three numbers: the image's mean colour. The decoder
draws what differs from that colour.

Why these three go round: the encoder's batch norms subtract the mean over a batch, and with it what
tells a pink field from a grey one. Without them the network learned for twenty minutes to guess
brightness (L1 0.046; the mean colour alone gives 0.024), and no particle.
"""

from __future__ import annotations

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.model.build import backbone_depth, build_model


class Autoencoder(nn.Module):
    """X (B, 3, H, W) in 0..1 -> Xhat of the same shape; H and W are multiples of 32.
    arch: an ultralytics architecture, e.g. ``yolo12m``."""

    def __init__(self, arch: str):
        super().__init__()
        # the head is cut off below: any classes will do
        taxonomy = Taxonomy("none", ("particle",), {"Others": (0,)}, {}, {})
        detector = build_model(arch, taxonomy, "single")
        self.arch = arch
        self.encoder = detector.model[: backbone_depth(detector)]
        # in evaluation mode, so that the trial image leaves the batch norms' averages alone
        with torch.no_grad():
            # (1, C, 2, 2): channels of the last map
            c = self.encoder.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        self.encoder.train()
        layers: list[nn.Module] = []
        for _ in range(5):  # stride 32 -> 1; each step doubles the size and halves the channels
            # no bias: the batch norm behind it has one
            convolution = nn.Conv2d(c, c // 2, 3, padding=1, bias=False)
            layers += [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(c // 2), nn.SiLU()]
            c //= 2
        last = nn.Conv2d(c, 3, 3, padding=1)
        # zeros: the untrained network draws every image in its mean colour
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.decoder = nn.Sequential(*layers, last)

    def forward(self, X: Tensor) -> Tensor:
        colour = X.mean((2, 3), keepdim=True)  # (B, 3, 1, 1)
        return colour + self.decoder(self.encoder(X))  # between them (B, C, H/32, W/32)

    def encoder_state(self) -> dict[str, Tensor]:
        """The encoder's tensors under their names in the detector (``model.0.conv.weight``)."""
        # a detector's chain of layers is called ``model``
        return {f"model.{name}": tensor for name, tensor in self.encoder.state_dict().items()}


def reconstruction_loss(Xhat: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
    """(L1, 1 - SSIM) of images (B, 3, H, W) in 0..1; their sum is the loss of the pretraining."""
    # L1 compares pixel by pixel, SSIM contrast and structure in windows (1 for equal images)
    return (Xhat - X).abs().mean(), 1 - ssim(Xhat, X, data_range=1.0)
