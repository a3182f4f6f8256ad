"""Trains the SemanticSegmentationTask of terratorch with a compound loss, on a tiny backbone."""

import torch
from lightning.pytorch import Trainer
from terratorch.tasks import SemanticSegmentationTask
from torch.utils.data import DataLoader

from segloss import CompoundLoss


def task_of(loss, **options) -> SemanticSegmentationTask:
    """Returns a task of batches with "image" (N, 3, H, W) and "mask" (N, H, W)."""
    model = {
        "backbone": "timm_test_resnet",
        "backbone_pretrained": False,
        "decoder": "FCNDecoder",
        "decoder_channels": 16,
        "num_classes": 3,
    }
    return SemanticSegmentationTask(model, "EncoderDecoderFactory", loss=loss, **options)


if __name__ == "__main__":
    masks = torch.randint(0, 3, (8, 64, 64))
    samples = [{"image": torch.randn(3, 64, 64), "mask": mask} for mask in masks]
    loader = DataLoader(samples, batch_size=4)
    task = task_of(CompoundLoss(mode="multiclass", ignore_index=255), ignore_index=255)
    Trainer(max_epochs=2).fit(task, loader, loader)
