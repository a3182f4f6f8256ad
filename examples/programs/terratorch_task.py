"""Trains the SemanticSegmentationTask of terratorch with a compound loss, on a tiny backbone."""

import torch
from lightning.pytorch import Trainer
from terratorch.tasks import SemanticSegmentationTask
from torch.utils.data import DataLoader

from segloss import CompoundLoss


class CompoundTask(SemanticSegmentationTask):
    """The task of terratorch with a loss that ignores the same pixels as its metrics."""

    def configure_losses(self):
        """Sets the loss of logits (N, C, H, W) and masks (N, H, W)."""
        ignore_index = self.hparams["ignore_index"]
        self.criterion = CompoundLoss(mode="multiclass", ignore_index=ignore_index)


MODEL = {
    "backbone": "timm_test_resnet",
    "backbone_pretrained": False,
    "decoder": "FCNDecoder",
    "decoder_channels": 16,
    "num_classes": 3,
}

if __name__ == "__main__":
    masks = torch.randint(0, 3, (8, 64, 64))
    samples = [{"image": torch.randn(3, 64, 64), "mask": mask} for mask in masks]
    loader = DataLoader(samples, batch_size=4)
    task = CompoundTask(MODEL, "EncoderDecoderFactory", ignore_index=255, plot_on_val=False)
    Trainer(max_epochs=2).fit(task, loader, loader)
