"""Trains a U-Net of MONAI with its SupervisedTrainer to find balls of three classes in volumes."""

import torch
from monai.data import DataLoader, Dataset, create_test_image_3d
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from monai.transforms import EnsureTyped

from segloss import CompoundLoss


def trainer_of(network, samples, **options) -> SupervisedTrainer:
    """Returns a trainer of samples: an "image" (C, D, H, W), and its "label" map (1, D, H, W)."""
    to_tensors = EnsureTyped(["image", "label"])
    return SupervisedTrainer(
        device=torch.device("cpu"),
        train_data_loader=DataLoader(Dataset(samples, to_tensors), batch_size=2),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 1e-2),
        **options,
    )


def balls(size=32):
    """Returns an image of balls, and its label map, each (1, size, size, size)."""
    size, radius = (size, size, size), size // 4
    image, label = create_test_image_3d(*size, rad_max=radius, num_seg_classes=3, channel_dim=0)
    return {"image": image, "label": label}


if __name__ == "__main__":
    network = UNet(3, in_channels=1, out_channels=4, channels=(8, 16), strides=(2,))
    samples, loss = [balls() for _ in range(4)], CompoundLoss(mode="multiclass")
    trainer = trainer_of(network, samples, loss_function=loss, max_epochs=5)
    trainer.run()
    print(trainer.state.output[0]["loss"])
