"""Trains the LightningModule of segmentation-models-pytorch's notebooks with a compound loss."""

import segmentation_models_pytorch as smp
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from segloss import CompoundLoss


class Segmentation(LightningModule):
    """A model of smp for one class, with masks (N, 1, H, W)."""

    def __init__(self, **model):
        super().__init__()
        self.model = smp.create_model(**model, classes=1)
        self.loss_fn = CompoundLoss()  # was smp.losses.DiceLoss("binary", from_logits=True)

    def training_step(self, batch, batch_idx):
        """Returns the loss of a batch and its counts, and logs the IoU of each image."""
        logits = self.model(batch["image"])
        loss = self.loss_fn(logits, batch["mask"])
        counts = smp.metrics.get_stats(logits.sigmoid(), batch["mask"], "binary", threshold=0.5)
        self.log("iou", smp.metrics.iou_score(*counts, reduction="micro-imagewise"))
        return {"loss": loss, "counts": counts}

    def configure_optimizers(self):
        """Returns the optimizer."""
        return torch.optim.Adam(self.parameters(), 2e-3)


if __name__ == "__main__":
    masks = torch.randint(0, 2, (8, 1, 64, 64))
    samples = [{"image": torch.randn(3, 64, 64), "mask": mask} for mask in masks]
    module = Segmentation(arch="unet", encoder_name="resnet18", encoder_weights=None)
    Trainer(max_epochs=2).fit(module, DataLoader(samples, batch_size=4))
