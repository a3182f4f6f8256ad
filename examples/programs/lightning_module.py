"""Trains a LightningModule, which logs the terms of its loss and the loss of each class."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from segloss import SegLoss


class Segmentation(LightningModule):
    """A network with its loss. With several processes, it has the loss of the whole batch."""

    def __init__(self, model, classes, **options):
        super().__init__()
        self.model = model
        self.loss = SegLoss(n_classes=classes, sync_statistics=True, **options)

    def training_step(self, batch, batch_idx):
        """Returns the loss of images (N, 3, H, W) and label maps (N, H, W), and logs its terms."""
        value, info = self.loss(self.model(batch["image"]), batch["label"])
        self.log("loss", value)
        self.log_dict(info)
        return value

    def configure_optimizers(self):
        """Returns the optimizer."""
        return torch.optim.Adam(self.parameters(), 1e-2)


if __name__ == "__main__":
    model = torch.nn.Conv2d(3, 4, 3, padding=1)
    labels = torch.randint(0, 4, (16, 32, 32))
    samples = [{"image": torch.randn(3, 32, 32), "label": label} for label in labels]
    trainer = Trainer(max_epochs=2)
    trainer.fit(Segmentation(model, classes=4), DataLoader(samples, batch_size=4))
    print(trainer.callback_metrics)
